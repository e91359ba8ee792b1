/* Notices: what is said to the person at the lower edge; one shown at a time, the most serious first. */
const SERIOUSNESS = ["reload", "end", "paused", "error", "unanswered", "full", "lost", "waiting"];
const NOTICE_STYLE = `
  :host { all: initial !important; display: block !important; position: fixed !important;
    inset: auto 0 0 0 !important; z-index: 2147483647 !important; pointer-events: none !important; }
  [role=status] { display: flex; justify-content: center; padding: 16px; }
  .card { color: var(--ink); background: var(--paper);
    display: flex; align-items: center; gap: 12px; box-sizing: border-box; max-width: min(34rem, 100%);
    padding: 10px 16px; font: 14px/1.4 system-ui, sans-serif; overflow-wrap: anywhere;
    border: 1px solid var(--line); border-radius: 10px; box-shadow: 0 8px 24px #0003;
    opacity: 0; visibility: hidden; transition: opacity .2s, visibility .2s; }
  .card.shown { opacity: 1; visibility: visible; pointer-events: auto; }
  .dot { flex: none; width: 8px; height: 8px; border-radius: 50%; background: var(--red); }
  .lost .dot, .unanswered .dot { background: var(--amber); }
  .waiting .dot, .reload .dot { background: var(--blue); }
  .text { white-space: pre-line; }
  button { margin: -4px -8px -4px 0; }
  @media (max-width: 480px) { .card { flex-wrap: wrap; justify-content: end; } .text { flex: 1 0 80%; }
    button { margin: 0; } }
  @media (prefers-reduced-motion: reduce) { .card { transition: none; } }`;
const NOTICE_HTML =
  `<div role="status" aria-live="polite"><div class="card">` +
  `<span class="dot"></span><span class="text"></span><button type="button"></button></div></div>`;

class Notices {
  #shown = new Map(); // kind -> {text, label, act}; a text may be a function, asked whenever it is shown
  #timers = new Timers(); // of the kind's name
  #host = document.createElement("htagweb-notice");
  #card = null;

  show(kind, text, label = "", act = null) {
    this.#timers.cancel(kind);
    this.#shown.set(kind, { text, label, act });
    this.#render();
  }

  /* Show it for a while, unless it is dismissed before; both call `gone`. */
  showFor(duration_ms, kind, text, gone = () => {}) {
    const dismiss = () => (this.hide(kind), gone());
    this.show(kind, text, "Dismiss", dismiss);
    this.#timers.after(kind, duration_ms, dismiss);
  }

  /* Show it after a while, unless it is shown or hidden before. */
  showLater(delay_ms, kind, text, label = "", act = null) {
    if (this.#shown.has(kind) || this.#timers.has(kind)) return;
    this.#timers.after(kind, delay_ms, () => this.show(kind, text, label, act));
  }

  hide(...kinds) {
    this.#timers.cancel(...kinds);
    kinds.forEach((kind) => this.#shown.delete(kind));
    this.#render();
  }

  refresh() {
    if (this.#shown.size) this.#render();
  }

  pulse() {
    this.#render();
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!still) this.#card.animate([{ opacity: 0.3 }, { opacity: 1 }], 400);
  }

  #render() {
    const kind = SERIOUSNESS.find((each) => this.#shown.has(each));
    this.#card ??= makeRoot(this.#host, NOTICE_STYLE, NOTICE_HTML).querySelector(".card");
    attach(this.#host);
    this.#card.classList.toggle("shown", Boolean(kind));
    if (!kind) return;
    const { text, label, act } = this.#shown.get(kind);
    const [, line, button] = this.#card.children; // after the dot
    const words = typeof text === "function" ? text() : text;
    // Written only when changed: a screen reader would say it again.
    if (line.textContent !== words) line.textContent = words;
    if (button.textContent !== label) button.textContent = label;
    button.hidden = !label;
    button.onclick = act;
    this.#card.className = `card ${kind} shown`;
  }
}

/* Overlay: the whole text of an app's error, above the page. For debug mode alone: it may be a traceback. */
const OVERLAY_STYLE = `
  :host { all: initial !important; display: block !important; }
  dialog { color-scheme: light dark; box-sizing: border-box; padding: 0;
    width: min(60rem, 100% - 32px); max-height: calc(100% - 32px);
    color: var(--ink); background: var(--paper); border: 1px solid var(--line);
    border-top: 4px solid var(--red); border-radius: 10px; box-shadow: 0 8px 24px #0003;
    font: 14px/1.4 system-ui, sans-serif; }
  dialog[open] { display: flex; flex-direction: column; }
  dialog::backdrop { background: #0006; }
  header { display: flex; align-items: center; gap: 12px; padding: 10px 16px; }
  h1 { flex: 1; margin: 0; font-size: 16px; }
  pre { flex: 0 1 auto; min-height: 0; overflow: auto; margin: 0; padding: 12px 16px; tab-size: 4;
    font: 13px/1.5 ui-monospace, monospace; background: var(--soft); border-radius: 0 0 9px 9px; }
  pre:focus-visible { outline-offset: -2px; }`;
const OVERLAY_HTML =
  `<dialog aria-labelledby="title"><header><h1 id="title">The app raised an error</h1>` +
  `<button type="button">Dismiss</button></header>` +
  `<pre tabindex="0" autofocus aria-labelledby="title"></pre></dialog>`;

class Overlay {
  #host = document.createElement("htagweb-error");
  #dialog = null;

  /* Show the newest text. Escape closes, as in every modal dialog; the focus goes back to where it was. */
  show(text) {
    this.#dialog ??= this.#make();
    attach(this.#host);
    const pre = this.#dialog.querySelector("pre");
    pre.textContent = text;
    // A dialog that left the document with its host is open, but not seen.
    if (this.#dialog.open && !this.#dialog.matches(":modal")) this.#dialog.close();
    if (!this.#dialog.open) this.#dialog.showModal();
    pre.scrollTop = pre.scrollHeight; // a traceback ends with what went wrong
  }

  #make() {
    const dialog = makeRoot(this.#host, OVERLAY_STYLE, OVERLAY_HTML).querySelector("dialog");
    dialog.querySelector("button").onclick = () => dialog.close();
    return dialog;
  }
}

/* The connection: one line after the other, as long as the page is there, and the pulse of each. */
const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 10_000;
const CONNECT_LIMIT_MS = 10_000;
const TELL_LOST_AFTER_MS = 1_000;
const OFFER_RETRY_OVER_MS = 2_000;
const PING_MS = config.ping_s * 1_000;
const PONG_LIMIT_MS = 10_000;
const QUICK_PONG_LIMIT_MS = 3_000;
const TICK_MS = Math.max(1_000, PING_MS / 10);
const STEADY_MS = 30_000;
const PAUSE_MS = [15_000, 30_000];
const LOST = "Connection lost. Reconnecting\u2026";
const WAITING = "Waiting for the server\u2026";

class Connection {
  state = "loading"; // connecting, catching up, ready; retrying, paused; away (in the browser's cache); ended
  #open;
  #notices;
  #handlers;
  #line = null;
  #timers = new Timers();
  #off = false; // from a lost line until the next ready
  #failures = 0;
  #heard_ms = 0;
  #ticked_ms = 0;
  #pongDue_ms = 0;

  /* `open(events)` makes a line. Handlers: `received(message)`, `closed({code, reason})` decides how to go
     on, `steady()` when a line has been ready for a while, `kept()` tells how much waits for the next. */
  constructor(open, notices, handlers) {
    this.#open = open;
    this.#notices = notices;
    this.#handlers = handlers;
  }

  connect() {
    this.#timers.cancel("retry");
    this.state = "connecting";
    this.#timers.after("connect", CONNECT_LIMIT_MS, () => this.retry());
    this.#line = this.#open({
      opened: () => this.#handleOpened(),
      received: (message) => this.#handleReceived(message),
      waiting: (isSo) => this.showWaiting(isSo),
      closed: (event) => this.#handlers.closed(event),
    });
  }

  /* Send these texts, if a line is ready; else they are for the next `becomeReady`. */
  send(...texts) {
    if (this.state !== "ready") return this.#notices.refresh();
    if (!this.#line.expecting) this.#heard_ms = Date.now(); // silence means something from now on
    texts.forEach((text) => this.#line.send(text));
  }

  becomeReady(texts) {
    this.state = "ready";
    this.#failures = 0;
    this.#off = false;
    this.markBody();
    this.#notices.hide("lost", "paused");
    this.#timers.after("steady", STEADY_MS, this.#handlers.steady);
    this.send(...texts);
  }

  retry() {
    this.#disconnect("retrying");
    const wait_ms = backedOff(FIRST_RETRY_MS, LONGEST_RETRY_MS, this.#failures);
    this.#failures += 1;
    this.#timers.after("retry", wait_ms, () => this.connect());
    this.#notices.hide("paused");
    this.#markOff();
    // The button stays from the first long wait until ready: it would flicker and lose the focus.
    if (wait_ms <= OFFER_RETRY_OVER_MS) return;
    this.#notices.show("lost", this.#tellLost, "Try now", () => this.#connectNow());
  }

  /* No line for a long while, or until somebody asks for it; what is asked meanwhile waits. */
  pause(text) {
    this.#disconnect("paused");
    this.#setOff(true);
    this.#notices.hide("lost", "waiting");
    this.#notices.show("paused", text, "Try again", () => this.#connectNow());
    this.#timers.after("retry", jittered(PAUSE_MS), () => this.connect());
  }

  end() {
    this.#disconnect("ended");
    this.#setOff(true);
  }

  leave() {
    if (this.state !== "ended" && this.state !== "paused") this.#disconnect("away");
  }

  /* Back from the browser's cache: the document, its token and its queue are as they were. */
  comeBack() {
    if (this.state !== "away") return;
    this.#markOff();
    this.connect();
  }

  wake() {
    if (this.state === "ready" || this.state === "catching up") this.#ping(QUICK_PONG_LIMIT_MS);
    else this.#connectNow();
  }

  /* The worker is there and goes on by itself, so the connection is not what is missing. */
  showWaiting(isSo, text = WAITING) {
    if (!isSo) return this.#notices.hide("waiting");
    this.#notices.hide("lost");
    this.#notices.show("waiting", text);
  }

  markBody() {
    document.body?.classList.toggle("htagoff", this.#off);
  }

  #handleOpened() {
    this.state = "catching up";
    this.#timers.cancel("connect");
    this.#notices.hide("waiting"); // the worker says it again if it is still so
    this.#heard_ms = this.#ticked_ms = Date.now();
    this.#timers.after("tick", TICK_MS, () => this.#tick());
  }

  #handleReceived(message) {
    this.#heard_ms = Date.now();
    this.#timers.cancel("pong");
    this.#handlers.received(message);
  }

  #connectNow() {
    if (this.state !== "retrying" && this.state !== "paused") return;
    this.#notices.hide("paused"); // said again if it is still so
    this.connect();
  }

  #disconnect(newState) {
    this.state = newState;
    this.#timers.cancel("connect", "tick", "pong", "steady", "retry");
    this.#line?.close();
    this.#line = null;
  }

  #markOff() {
    this.#setOff(true);
    this.#notices.showLater(TELL_LOST_AFTER_MS, "lost", this.#tellLost);
  }

  #tellLost = () => {
    const count = this.#handlers.kept();
    if (!count) return LOST;
    return `${LOST}\nYour last ${count === 1 ? "action is" : `${count} actions are`} kept until then.`;
  };

  #setOff(off) {
    this.#off = off;
    this.markBody();
  }

  /* A late tick means the computer slept or the page was frozen: is the line alive? */
  #tick() {
    const now_ms = Date.now();
    const gap_ms = now_ms - this.#ticked_ms;
    this.#ticked_ms = now_ms;
    this.#timers.after("tick", TICK_MS, () => this.#tick());
    if (gap_ms > 2 * TICK_MS || gap_ms < 0) this.#ping(QUICK_PONG_LIMIT_MS);
    else if (this.#line.expecting && now_ms - this.#heard_ms >= PING_MS) this.#ping(PONG_LIMIT_MS);
  }

  /* A pending deadline is only brought forward: a hidden tab's ticks all come late, and would put it off. */
  #ping(limit_ms) {
    const due_ms = Date.now() + limit_ms;
    if (this.#timers.has("pong") && this.#pongDue_ms <= due_ms) return;
    this.#pongDue_ms = due_ms;
    this.#line.ping();
    this.#timers.after("pong", limit_ms, () => this.retry());
  }
}

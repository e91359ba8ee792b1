/*
 * The browser's side of htagweb: carries this page's interactions to the app process, and its actions back.
 *
 * page         one load of the document; its token is made here and never shared
 * interaction  what the page asks (`interact(o)`), numbered 1, 2, 3.. and kept until it is answered
 * action       what the app answers or sends by itself; the numbered ones are applied in order, each once
 * generation   one life of the app process; the page was rendered by one, and belongs to it until reloaded
 *
 * Defines `window.interact` (called by htag's tags) and `window.htagweb` (read-only, for inspection).
 */
(() => {
  "use strict"; // and ASCII only: the page decides the encoding this file is read in

  const config = JSON.parse(document.getElementById("htagweb-config").textContent);

  const FIRST_RETRY_MS = 250;
  const LONGEST_RETRY_MS = 10_000;
  const CONNECT_LIMIT_MS = 10_000;
  const TELL_LOST_AFTER_MS = 1_000;
  const OFFER_RETRY_OVER_MS = 2_000;
  const PING_MS = config.ping_s * 1_000;
  const PONG_LIMIT_MS = 10_000;
  const QUICK_PONG_LIMIT_MS = 3_000;
  const TICK_MS = Math.max(1_000, PING_MS / 10);
  const LONGEST_QUEUE = 100;
  const ERROR_SHOWN_MS = 10_000;
  const END_RELOAD_MS = [200, 1_500]; // jitter: the pages of one dead host must not come back at once
  const STALE_RELOAD_MS = [0, 300];
  const MOST_RELOADS = 5;
  const RELOADS_WITHIN_MS = 60_000;
  const RELOADS_KEY = `htagweb.reloads:${config.url}`;
  const STEADY_MS = 30_000;
  const CLOSE = { badHello: 4400, forbidden: 4403, gone: 4404, tooBig: 1009 };

  // A token of the document's own: one kept in storage would be copied with a duplicated tab, and two pages
  // with one token would answer each other's interactions.
  const page = randomToken(22);
  const unanswered = new Map(); // number -> the exact text, in the order issued
  let last = config.last; // the number of the last action applied
  let state = "loading"; // connecting, catching up, ready; retrying; away (in the browser's cache); ended
  let off = false; // from a lost connection until the next ready
  let socket = null;
  let [issued, failures, pings] = [0, 0, 0];
  let [heard_ms, ticked_ms, pongDue_ms] = [0, 0, 0];

  function randomToken(length) {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    return Array.from(crypto.getRandomValues(new Uint8Array(length)), (byte) => alphabet[byte & 63]).join("");
  }

  const between = ([low, high]) => low + Math.random() * (high - low);
  const sizeOf = (text) => new TextEncoder().encode(text).length;

  function guarded(call) {
    try {
      call();
    } catch (error) {
      console.error("htagweb:", error);
    }
  }

  // --- timers: one of each name
  const timers = new Map();

  function after(name, delay_ms, act) {
    cancel(name);
    timers.set(name, setTimeout(() => (timers.delete(name), act()), delay_ms));
  }

  function cancel(name) {
    clearTimeout(timers.get(name));
    timers.delete(name);
  }

  // --- notices: one shown at a time, the most serious first
  const SERIOUSNESS = ["end", "error", "full", "lost", "waiting"];
  const NOTICE_STYLE = `
    :host { all: initial !important; display: block !important; position: fixed !important;
      inset: auto 0 0 0 !important; z-index: 2147483647 !important; pointer-events: none !important; }
    [role=status] { display: flex; justify-content: center; padding: 16px; }
    .card { --ink: #1f2328; --paper: #fff; --line: #d0d7de; --link: #0550ae; --tint: #ddf4ff;
      --red: #cf222e; --amber: #bf8700; --blue: #0969da; color: var(--ink); background: var(--paper);
      display: flex; align-items: center; gap: 12px; box-sizing: border-box; max-width: min(34rem, 100%);
      padding: 10px 16px; font: 14px/1.4 system-ui, sans-serif; overflow-wrap: anywhere;
      border: 1px solid var(--line); border-radius: 10px; box-shadow: 0 8px 24px #0003;
      opacity: 0; visibility: hidden; transition: opacity .2s, visibility .2s; }
    .card.shown { opacity: 1; visibility: visible; pointer-events: auto; }
    .dot { flex: none; width: 8px; height: 8px; border-radius: 50%; background: var(--red); }
    .lost .dot { background: var(--amber); } .waiting .dot { background: var(--blue); }
    .text { white-space: pre-line; }
    button { all: unset; flex: none; margin: -4px -8px -4px 0; padding: 4px 12px; border-radius: 6px;
      font-weight: 600; color: var(--link); background: var(--tint); cursor: pointer; }
    button:hover { text-decoration: underline; } button[hidden] { display: none; }
    button:focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
    @media (max-width: 480px) { .card { flex-wrap: wrap; justify-content: end; } .text { flex: 1 0 80%; }
      button { margin: 0; } }
    @media (prefers-color-scheme: dark) { .card { --ink: #e6edf3; --paper: #22272e; --line: #444c56;
      --link: #a5d0ff; --tint: #1f3a5f; --red: #f85149; --amber: #d29922; --blue: #58a6ff; } }
    @media (prefers-reduced-motion: reduce) { .card { transition: none; } }
    @media print { :host { display: none !important; } }`;
  const notices = new Map(); // kind -> {text, label, act}
  const host = document.createElement("htagweb-notice");
  let card = null;

  function show(kind, text, label = "", act = null) {
    notices.set(kind, { text, label, act });
    renderNotice();
  }

  function hide(...kinds) {
    kinds.forEach(cancel); // a notice's timer has its name
    kinds.forEach((kind) => notices.delete(kind));
    renderNotice();
  }

  function renderNotice() {
    const kind = SERIOUSNESS.find((each) => notices.has(each));
    card ??= makeCard();
    // Not in the body, which an update may replace as a whole; again if the app cleared the document.
    if (!host.isConnected) document.documentElement.append(host);
    card.classList.toggle("shown", Boolean(kind));
    if (!kind) return;
    const { text, label, act } = notices.get(kind);
    const [, line, button] = card.children; // after the dot
    // Written only when changed: a screen reader would say it again.
    if (line.textContent !== text) line.textContent = text;
    if (button.textContent !== label) button.textContent = label;
    button.hidden = !label;
    button.onclick = act;
    card.className = `card ${kind} shown`;
  }

  function makeCard() {
    host.lang = "en";
    const root = host.attachShadow({ mode: "open" });
    root.innerHTML =
      `<style>${NOTICE_STYLE}</style><div role="status" aria-live="polite"><div class="card">` +
      `<span class="dot"></span><span class="text"></span><button type="button"></button></div></div>`;
    return root.querySelector(".card");
  }

  function pulseNotice() {
    renderNotice();
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!still) card.animate([{ opacity: 0.3 }, { opacity: 1 }], 400);
  }

  // --- interactions
  /* Send one interaction, now or when the connection is back; what JSON cannot hold throws to the caller.
     The promise says only that it was taken: callers of htagweb 1.0 awaited an async function. */
  function interact(o) {
    const text = JSON.stringify({ ...o, htagweb: { n: issued + 1 } });
    if (accepts(text)) {
      issued += 1;
      unanswered.set(issued, text);
      if (state === "ready") socket.send(text);
    }
    return Promise.resolve();
  }

  function accepts(text) {
    const limit = config.max_message_bytes ?? Infinity;
    if (state === "ended") pulseNotice();
    else if (sizeOf(text) > limit) showTooLarge(`${sizeOf(text)} bytes; the limit is ${limit}`);
    else if (unanswered.size >= LONGEST_QUEUE) show("full", "Too many clicks are waiting for an answer.");
    else return true;
    return false;
  }

  function showTooLarge(detail) {
    const dismiss = () => hide("error");
    show("error", `This message is too large (${detail}).`, "Dismiss", dismiss);
    after("error", ERROR_SHOWN_MS, dismiss);
  }

  /* After close code 1009: take back the largest interaction, or it would break every next connection too.
     Those issued after it were never read, as the server stops at a message too big: they can move up. */
  function refuseLargest() {
    const kept = [...unanswered];
    const [refused, text] = kept.reduce((a, b) => (sizeOf(b[1]) > sizeOf(a[1]) ? b : a));
    unanswered.clear();
    for (const [n, each] of kept) {
      if (n < refused) unanswered.set(n, each);
      if (n > refused) unanswered.set(n - 1, JSON.stringify({ ...JSON.parse(each), htagweb: { n: n - 1 } }));
    }
    issued -= 1;
    hide("full");
    showTooLarge(`${sizeOf(text)} bytes`);
  }

  // --- actions
  function receive(text) {
    heard_ms = Date.now();
    cancel("pong");
    let message = text; // what is not JSON goes to htag's action() as it is, which tells about it
    guarded(() => (message = JSON.parse(text)));
    if (message?.htagweb) handleNumbered(message, message.htagweb);
    else apply(message);
  }

  function handleNumbered(message, control) {
    if (control.n > last + 1) return retry(); // a gap: the server sends again what is missing
    if (control.page === page && unanswered.delete(control.answers)) hide("full");
    if (control.n <= last) return;
    if (control.n) last = control.n; // even if applying throws: it was this action's turn
    if (Object.keys(message).length > 1) apply(message);
    handleControl(control);
  }

  function apply(message) {
    guarded(() => window.action(message));
    markBody(); // the update may have replaced the body
  }

  function handleControl({ ready, waiting, text, reload, end }) {
    if (end) handleEnd(end);
    else if (reload) handleReload();
    else if (ready) handleReady();
    if (waiting && state !== "ended") {
      // The worker is there and goes on by itself, so the connection is not what is missing.
      hide("lost");
      show("waiting", text || "Waiting for the server\u2026");
    } else if (waiting === false) hide("waiting");
  }

  function handleReady() {
    state = "ready";
    failures = 0;
    off = false;
    markBody();
    hide("lost");
    after("steady", STEADY_MS, forgetReloads);
    unanswered.forEach((text) => socket.send(text));
  }

  const markBody = () => document.body?.classList.toggle("htagoff", off);

  // --- the connection
  function address() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const query = new URLSearchParams({ page, generation: config.generation, last });
    return `${scheme}//${location.host}${config.url}?${query}`;
  }

  function connect() {
    cancel("retry");
    state = "connecting";
    socket = new WebSocket(address());
    socket.onopen = handleOpen;
    socket.onmessage = (event) => receive(event.data);
    socket.onclose = handleClose;
    after("connect", CONNECT_LIMIT_MS, retry);
  }

  function handleOpen() {
    state = "catching up";
    cancel("connect");
    hide("waiting"); // the worker says it again if it is still so
    heard_ms = ticked_ms = Date.now();
    after("tick", TICK_MS, tick);
  }

  function handleClose({ code, reason }) {
    if (code === CLOSE.gone) return handleReload();
    if (code === CLOSE.badHello || code === CLOSE.forbidden) {
      return stop(reason || "This page cannot be connected.", "Reload");
    }
    // Before ready nothing was sent, so nothing of this page was too big.
    if (code === CLOSE.tooBig && state === "ready" && unanswered.size) refuseLargest();
    retry();
  }

  /* Forget the socket at once: on a dead network its own close event comes a minute late. */
  function disconnect(newState) {
    state = newState;
    ["connect", "tick", "pong", "steady", "retry"].forEach(cancel);
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    socket = null;
  }

  function retry() {
    disconnect("retrying");
    const step_ms = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** failures);
    const wait_ms = between([step_ms / 2, step_ms]);
    failures += 1;
    after("retry", wait_ms, connect);
    markOff();
    if (wait_ms > OFFER_RETRY_OVER_MS) tellLost("Try now");
  }

  function markOff() {
    off = true;
    markBody();
    if (!timers.has("lost") && !notices.has("lost")) after("lost", TELL_LOST_AFTER_MS, tellLost);
  }

  /* The button stays from the first long wait until ready: it would flicker and lose the focus. */
  function tellLost(label = notices.get("lost")?.label) {
    cancel("lost");
    show("lost", "Connection lost. Reconnecting\u2026", label, connectNow);
  }

  const connectNow = () => state === "retrying" && connect();

  // --- its pulse
  /* A late tick means the computer slept or the page was frozen: is the connection alive? */
  function tick() {
    const now_ms = Date.now();
    const gap_ms = now_ms - ticked_ms;
    ticked_ms = now_ms;
    after("tick", TICK_MS, tick);
    if (gap_ms > 2 * TICK_MS || gap_ms < 0) ping(QUICK_PONG_LIMIT_MS);
    else if (now_ms - heard_ms >= PING_MS) ping(PONG_LIMIT_MS);
  }

  /* A pending deadline is only brought forward: a hidden tab's ticks all come late, and would put it off. */
  function ping(limit_ms) {
    const due_ms = Date.now() + limit_ms;
    if (timers.has("pong") && pongDue_ms <= due_ms) return;
    pongDue_ms = due_ms;
    socket.send(JSON.stringify({ htagweb: { ping: ++pings } }));
    after("pong", limit_ms, retry);
  }

  function handleWake() {
    if (state === "ready" || state === "catching up") ping(QUICK_PONG_LIMIT_MS);
    else connectNow();
  }

  // --- endings
  function handleEnd({ text, restart }) {
    // "May": whether what was in flight was carried out before the end is not known.
    const actions = unanswered.size === 1 ? "action" : `${unanswered.size} actions`;
    const lines = unanswered.size ? `${text}\nYour last ${actions} may not have been carried out.` : text;
    if (restart === "auto" && countReload()) {
      stop(lines);
      after("reload", between(END_RELOAD_MS), reload);
    } else stop(lines, "Start again");
  }

  function handleReload() {
    if (countReload()) {
      stop();
      after("reload", between(STALE_RELOAD_MS), reload);
    } else stop("This page could not be brought up to date by itself.", "Reload");
  }

  const reload = () => location.reload();
  /* No connection and no interaction from here on; a text without a button goes with the coming reload. */
  function stop(text = "", label = "") {
    disconnect("ended");
    unanswered.clear();
    off = true;
    markBody();
    hide("error", "full", "lost", "waiting");
    if (text) show("end", text, label, reload);
  }

  /* Return whether the page may reload by itself again: not without storage, a loop would go unnoticed. */
  function countReload() {
    try {
      const now_ms = Date.now();
      const times = JSON.parse(sessionStorage.getItem(RELOADS_KEY) ?? "[]");
      const recent = times.filter((time_ms) => now_ms - time_ms < RELOADS_WITHIN_MS);
      if (recent.length >= MOST_RELOADS) return false;
      sessionStorage.setItem(RELOADS_KEY, JSON.stringify([...recent, now_ms]));
      return true;
    } catch {
      return false;
    }
  }

  const forgetReloads = () => guarded(() => sessionStorage.removeItem(RELOADS_KEY));

  // --- page life
  function handleLoaded() {
    guarded(() => window.start());
    connect();
  }

  /* Back from the browser's cache: the document, its token and its queue are as they were. */
  function handlePageShow(event) {
    if (!event.persisted || state !== "away") return;
    markOff();
    connect();
  }

  window.interact = interact;
  const inspect = () => ({ state, last, unanswered: [...unanswered.keys()] });
  window.htagweb = Object.freeze({ page, inspect });

  document.addEventListener("DOMContentLoaded", handleLoaded);
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && handleWake());
  window.addEventListener("online", handleWake);
  window.addEventListener("pagehide", () => state !== "ended" && disconnect("away"));
  window.addEventListener("pageshow", handlePageShow);
})();

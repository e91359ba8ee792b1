/* The page: puts the parts together. */
const NOT_SEALED = "What came from the server was altered on its way, several times in a row.";
const REFUSED = "This page cannot be connected.";
const TOO_MANY = "Too many pages are open. Close some of them.";
const MOST_NOT_SEALED = 3;

const notices = new Notices();
const overlay = new Overlay();
const reloads = new Reloads(notices);
const unanswered = new Unanswered(notices);
const interactions = new Interactions(notices);
const actions = new Actions({
  missed: () => connection.retry(), // the server sends again what is missing
  answered: (n) => interactions.settle(n),
  apply,
  control: handleControl,
});
const position = () => ({ page, generation: config.generation, last: actions.last });
const connection = new Connection((events) => openLine(position, events), notices, {
  received: (message) => actions.receive(message),
  closed: handleClosed,
  steady: handleSteady,
  kept: () => interactions.asked,
});
let reopensOnClick = false;
let notSealed = 0; // lines closed for it since one was steady

/* Send one interaction, now or when the connection is back; what JSON cannot hold throws to the caller.
   The promise says only that it was taken: callers of htagweb 1.0 awaited an async function. */
function interact(o) {
  if (connection.state === "ended") handleClickAfterEnd();
  else {
    const text = interactions.add(o);
    if (text !== null) connection.send(text);
  }
  return Promise.resolve();
}

function handleClickAfterEnd() {
  if (reopensOnClick) reloads.now();
  else notices.pulse();
}

function apply(message) {
  guarded(() => window.action(message));
  connection.markBody(); // the update may have replaced the body
  const { err, htagweb: control } = message ?? {};
  if (!err || control?.reload) return; // a reload says enough
  // Without a number the web worker says it, of an interaction that it could not pass on; "refused" is the
  // supervisor's word. Of what the app raises, htag tells in its own way.
  if (control && (!control.n || control.refused)) notices.showFor(ERROR_SHOWN_MS, "error", String(err));
  else if (config.debug) overlay.show(String(err));
}

function handleControl({ ready, waiting, text, reload, end }) {
  if (end) handleEnd(end);
  else if (reload) handleStale();
  else if (ready) connection.becomeReady(interactions.texts);
  if (waiting !== undefined && connection.state !== "ended") connection.showWaiting(waiting, text);
}

function handleClosed({ code, reason }) {
  if (code === CLOSE.gone) return handleStale();
  if (code === CLOSE.badHello) return reloadLater(END_RELOAD_MS, reason || REFUSED); // of another version?
  if (code === CLOSE.forbidden) return stop(reason || REFUSED, "Reload");
  if (code === CLOSE.cannotSeal) return stop(reason);
  if (code === CLOSE.tooMany) return connection.pause(reason || TOO_MANY);
  if (code === CLOSE.notSealed) {
    notSealed += 1;
    if (notSealed >= MOST_NOT_SEALED) return stop(NOT_SEALED, "Reload");
  }
  // Before ready nothing was sent, so nothing of this page was too big.
  const wasSent = connection.state === "ready" && interactions.size > 0;
  if (code === CLOSE.tooBig && wasSent) interactions.refuseLargest();
  connection.retry();
}

function handleSteady() {
  reloads.forget();
  notSealed = 0;
}

// --- endings
function handleEnd({ reason, text, restart }) {
  // A page without a WebSocket hears of the end by a click.
  const wasClick = restart === "click" && config.http_only && interactions.size;
  if (reason === "changed" || wasClick) {
    stop(text);
    reloads.now(); // not counted: a developer saves more often than the brake allows
  } else if (restart === "auto") reloadLater(END_RELOAD_MS, text);
  else {
    stop(text, "Start again");
    reopensOnClick = restart === "click";
  }
}

const handleStale = () => reloadLater(STALE_RELOAD_MS);

function reloadLater(range_ms, text = "") {
  stop(text);
  reloads.later(range_ms);
}

/* No connection and no interaction from here on; a text without a button goes with the coming reload, or
   says what to do. */
function stop(text = "", label = "") {
  const count = interactions.asked;
  connection.end();
  interactions.clear();
  notices.hide("paused", "error", "full", "lost", "waiting");
  if (!label) unanswered.add(count);
  const lines = [text, unansweredText(count)].filter(Boolean).join("\n");
  if (lines) notices.show("end", lines, label, () => reloads.now());
}

// --- page life
function handleLoaded() {
  const htags = window.jevent;
  // Not one that the app has put in the place of htag's.
  if (!htags || String(htags).includes("toUpperCase()")) window.jevent = (event) => eventData(event, htags);
  guarded(() => window.start());
  interactions.markStarted();
  unanswered.tell();
  connection.connect();
}

function wake() {
  connection.wake();
  reloads.wake();
}

window.interact = interact;
const inspect = () => ({ state: connection.state, last: actions.last, unanswered: interactions.numbers });
window.htagweb = Object.freeze({ page, inspect });

document.addEventListener("DOMContentLoaded", handleLoaded);
document.addEventListener("visibilitychange", () => document.hidden || wake());
window.addEventListener("online", wake);
window.addEventListener("pagehide", () => connection.leave());
window.addEventListener("pageshow", (event) => event.persisted && connection.comeBack());

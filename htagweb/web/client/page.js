/* The page: puts the parts together. */
const ENDED_TOO_OFTEN = "This page could not be brought up to date by itself.";
const NOT_SEALED = "What came from the server was altered on its way, several times in a row.";
const TOO_MANY = "Too many pages are open. Close some of them.";
const MOST_NOT_SEALED = 3;

const notices = new Notices();
const overlay = new Overlay();
const reloads = new Reloads();
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
  // Not the news that this page is reloaded: the app is not wrong.
  if (config.debug && message?.err && !message.htagweb?.reload) overlay.show(String(message.err));
}

function handleControl({ ready, waiting, text, reload, end }) {
  if (end) handleEnd(end);
  else if (reload) handleStale();
  else if (ready) connection.becomeReady(interactions.texts);
  if (waiting !== undefined && connection.state !== "ended") connection.showWaiting(waiting, text);
}

function handleClosed({ code, reason }) {
  if (code === CLOSE.gone) return handleStale();
  if (code === CLOSE.badHello || code === CLOSE.forbidden) {
    return stop(reason || "This page cannot be connected.", "Reload");
  }
  if (code === CLOSE.cannotSeal) return stop(reason);
  if (code === CLOSE.tooMany) return pause(reason || TOO_MANY);
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
  // "May": whether what was in flight was carried out before the end is not known.
  const count = interactions.size;
  const what = count === 1 ? "action" : `${count} actions`;
  const lines = count ? `${text}\nYour last ${what} may not have been carried out.` : text;
  const wasClick = restart === "click" && config.http_only && count; // such a page hears of the end by it
  if (reason === "changed" || wasClick) {
    stop(lines);
    reloads.now(); // not counted: a developer saves more often than the brake allows
  } else if (restart === "auto" && reloads.count()) {
    stop(lines);
    reloads.after(END_RELOAD_MS);
  } else {
    stop(lines, "Start again");
    reopensOnClick = restart === "click";
  }
}

function handleStale() {
  if (reloads.count()) {
    stop();
    reloads.after(STALE_RELOAD_MS);
  } else stop(ENDED_TOO_OFTEN, "Reload");
}

/* No connection and no interaction from here on; a text without a button goes with the coming reload, or
   says what to do. */
function stop(text = "", label = "") {
  connection.end();
  interactions.clear();
  notices.hide("error", "full", "lost", "waiting");
  if (text) notices.show("end", text, label, reloads.now);
}

/* No connection until somebody asks for it. */
function pause(text) {
  connection.pause();
  notices.show("end", text, "Try again", () => {
    notices.hide("end");
    connection.connect();
  });
}

// --- page life
function handleLoaded() {
  guarded(() => window.start());
  connection.connect();
}

window.interact = interact;
const inspect = () => ({ state: connection.state, last: actions.last, unanswered: interactions.numbers });
window.htagweb = Object.freeze({ page, inspect });

document.addEventListener("DOMContentLoaded", handleLoaded);
document.addEventListener("visibilitychange", () => document.hidden || connection.wake());
window.addEventListener("online", () => connection.wake());
window.addEventListener("pagehide", () => connection.leave());
window.addEventListener("pageshow", (event) => event.persisted && connection.comeBack());

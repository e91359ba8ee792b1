/*
 * The browser's side of htagweb: carries this page's interactions to the app process, and its actions back.
 *
 * page         one load of the document; its token is made here and never shared
 * interaction  what the page asks (`interact(o)`), numbered 1, 2, 3.. and kept until it is answered
 * action       what the app answers or sends by itself; the numbered ones are applied in order, each once
 * generation   one life of the app process; the page was rendered by one, and belongs to it until reloaded
 * line         what carries messages between page and web worker until it breaks: a WebSocket, or POSTs;
 *              either may be sealed
 *
 * The server joins the files of this folder into one script, in the order that script.py says: each is one
 * noun, page.js puts them together. Defines `window.interact` (called by htag's tags) and `window.htagweb`
 * (read-only, for inspection). ASCII only: the page decides the encoding that this is read in.
 */

/* What the server says to this page: url, generation, last, ping_s, max_message_bytes; http_only, parano,
   ssl, debug where they are true. */
const config = JSON.parse(document.getElementById("htagweb-config").textContent);

// A token of the document's own: one kept in storage would be copied with a duplicated tab, and two pages
// with one token would answer each other's interactions.
const page = randomToken(22);

function randomToken(length) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  return Array.from(crypto.getRandomValues(new Uint8Array(length)), (byte) => alphabet[byte & 63]).join("");
}

function guarded(call) {
  try {
    call();
  } catch (error) {
    console.error("htagweb:", error);
  }
}

/*
 * A line carries messages between this page and the web worker. It opens at once and is never mended: when it
 * breaks, the next one goes on where it ended. SocketLine and PostLine have the same face:
 *
 *   send(text)   an interaction's text, in the order of the calls; only after "ready" was received
 *   ping()       ask for a sign of life: something is received, if the worker is there
 *   expecting    whether silence may mean that the line is dead
 *   close()      no event comes after it
 *
 * and call these events, none of them before the constructor has returned:
 *
 *   opened()                  the worker is there; what was missed follows, then "ready"
 *   received(message)         one message: an object, or the text of what is not JSON
 *   waiting(is_so)            the worker is there, but what is behind it is slow
 *   closed({code, reason})    broken; once, and the last
 */

/* Why a line closed: close codes of the web worker's sockets, which POSTs translate their status to. */
const CLOSE = {
  restarting: 1012,
  tooBig: 1009,
  badHello: 4400,
  forbidden: 4403,
  gone: 4404,
  notSealed: 4422, // a frame was altered, repeated or in clear text
  tooMany: 4429,
  cannotSeal: "cannot seal", // said by this page alone
};

/* Breaks the line that it is thrown in. */
class LineError extends Error {
  constructor(code, reason = "") {
    super(reason);
    this.code = code;
  }
}

/* Other errors are the network's. */
function closingOf(error) {
  if (error instanceof LineError) return { code: error.code, reason: error.message };
  return { code: CLOSE.restarting, reason: "" };
}

/* Whether a status is of a server, or of a proxy before it, that may answer otherwise in a while. */
const isPassing = (status) => status >= 502 || [408, 425, 429].includes(status);

/* `position()` tells the worker where this page is: page, generation, last. */
function openLine(position, events) {
  if (config.http_only) {
    return new PostLine(config.parano ? new SealedPosts() : new ClearPosts(), position, events);
  }
  return new SocketLine(config.parano ? new SealedSocket(position()) : openSocket(position()), events);
}

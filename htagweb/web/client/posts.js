/*
 * A line over POSTs, where no WebSocket may be. It begins with a hello, whose answer is what was missed.
 * Then each interaction is a POST; its answer is every action up to the interaction's own.
 *
 * The headers of an answer come when the interaction is taken, its body when the app has answered. So the
 * next POST goes out at the headers: order is kept, and a long handler does not block a click on "cancel".
 */
const MOST_OPEN_POSTS = 5; // browsers open six connections to one host: one is left for a hello
const HEADERS_LIMIT_MS = 45_000; // longer than the worker's patience with an absent broker
const SLOW_HEADERS_MS = 3_000;
const CLOSES = {
  403: CLOSE.forbidden,
  404: CLOSE.gone,
  413: CLOSE.tooBig,
  422: CLOSE.notSealed,
};

class PostLine {
  #posts;
  #position;
  #events;
  #abort = new AbortController();
  #timers = new Timers();
  #turn = Promise.resolve(); // until the headers of the POST before
  #queue = []; // texts of interactions that were not sent yet
  #open = 0; // interactions without their answer's end
  #pings = 0;

  constructor(posts, position, events) {
    this.#posts = posts;
    this.#position = position;
    this.#events = events;
    this.#post({}, [{ htagweb: { ready: true } }], () => this.#tell("opened"));
  }

  get expecting() {
    return this.#open > 0;
  }

  send(text) {
    this.#queue.push(text);
    this.#sendQueued();
  }

  ping() {
    this.#pings += 1;
    this.#post({}, [{ htagweb: { pong: this.#pings } }]);
  }

  close() {
    this.#timers.cancel("headers", "slow");
    this.#abort.abort();
  }

  #sendQueued() {
    while (this.#queue.length && this.#open < MOST_OPEN_POSTS) {
      this.#open += 1;
      this.#post(JSON.parse(this.#queue.shift())).finally(() => {
        this.#open -= 1;
        this.#sendQueued();
      });
    }
  }

  /* Send one message and tell what its answer holds, then `last`, as a socket would say it. */
  async #post(message, last = [], handleTaken = () => {}) {
    const turn = this.#turn.then(() => this.#orBreak(this.#ask(message)));
    this.#turn = turn;
    const answer = await turn;
    if (!answer) return;
    handleTaken();
    const messages = await this.#orBreak(answer.messages());
    for (const each of messages ? [...messages, ...last] : []) this.#tell("received", each);
  }

  /* Resolve when the worker has taken the message, or refused it: before that no other may be sent. */
  async #ask(message) {
    this.#timers.after("headers", HEADERS_LIMIT_MS, () => this.#break(new LineError(CLOSE.restarting)));
    this.#timers.after("slow", SLOW_HEADERS_MS, () => this.#tell("waiting", true));
    const text = JSON.stringify({ ...message, htagweb: { ...message.htagweb, ...this.#position() } });
    const { status, read, readReason } = await this.#posts.ask(text, this.#abort.signal);
    if (!this.#timers.has("slow")) this.#tell("waiting", false);
    const taken = { messages: async () => [JSON.parse(await read())].flat() };
    const answer = status === 200 ? taken : this.#refused(status, await readReason(), message.htagweb?.n);
    this.#timers.cancel("headers", "slow");
    return answer;
  }

  /* Return what takes the place of an answer. An interaction that is refused for what it is gets that: sent
     again it would be refused again. */
  #refused(status, reason, n) {
    if (status in CLOSES) throw new LineError(CLOSES[status], reason);
    // Sent again, with the same number, on the next line.
    if (status === 409 || isPassing(status)) throw new LineError(CLOSE.restarting);
    if (n === undefined) throw new LineError(status === 400 ? CLOSE.badHello : CLOSE.restarting, reason);
    const refusal = { err: reason || `The server answered ${status}.`, htagweb: { page, answers: n } };
    return { messages: async () => [refusal] };
  }

  async #orBreak(promise) {
    try {
      return await promise;
    } catch (error) {
      return this.#break(error);
    }
  }

  #break(error) {
    this.#tell("closed", closingOf(error));
    this.close();
  }

  #tell(event, data) {
    if (!this.#abort.signal.aborted) this.#events[event](data);
  }
}

/* POSTs in clear text: `ask` resolves at the headers, to the status and functions that read the body. */
class ClearPosts {
  async ask(text, signal) {
    const response = await post(text, { "content-type": "application/json" }, signal);
    return { status: response.status, read: () => response.text(), readReason: () => response.text() };
  }
}

const post = (body, headers, signal) =>
  fetch(config.url, { method: "POST", body, headers, signal, credentials: "same-origin", cache: "no-store" });

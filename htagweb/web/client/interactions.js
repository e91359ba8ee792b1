/* Interactions: those that wait for an answer, numbered, in the order they were asked. */
const LONGEST_QUEUE = 100;
const ERROR_SHOWN_MS = 10_000;
const MOST_BYTES = 3; // of one code unit, in UTF-8

class Interactions {
  #texts = new Map(); // number -> the exact text
  #issued = 0;
  #started = 0; // the last one that the page asked by itself while it started
  #notices;

  constructor(notices) {
    this.#notices = notices;
  }

  get size() {
    return this.#texts.size;
  }

  /* How many a person may have asked for; what the page asks at its start, the next load asks again. */
  get asked() {
    return this.numbers.filter((n) => n > this.#started).length;
  }

  get numbers() {
    return [...this.#texts.keys()];
  }

  get texts() {
    return [...this.#texts.values()];
  }

  /* Keep it until it is settled, and return its text; null, and a notice, where it is too much.
     What JSON cannot hold throws to the caller. */
  add(o) {
    const text = JSON.stringify({ ...o, htagweb: { n: this.#issued + 1 } });
    if (!this.#accepts(text)) return null;
    this.#issued += 1;
    this.#texts.set(this.#issued, text);
    return text;
  }

  markStarted() {
    this.#started = this.#issued;
  }

  settle(n) {
    if (this.#texts.delete(n)) this.#notices.hide("full");
  }

  clear() {
    this.#texts.clear();
  }

  /* After "too big": take back the largest, or it would break every next line too. Those asked after it were
     never read, as the server stops at a message too big: they can move up. */
  refuseLargest() {
    const kept = [...this.#texts];
    const [refused, text] = kept.reduce((a, b) => (sizeOf(b[1]) > sizeOf(a[1]) ? b : a));
    this.#texts.clear();
    for (const [n, each] of kept) {
      if (n < refused) this.#texts.set(n, each);
      if (n > refused) this.#texts.set(n - 1, JSON.stringify({ ...JSON.parse(each), htagweb: { n: n - 1 } }));
    }
    this.#issued -= 1;
    if (refused <= this.#started) this.#started -= 1;
    this.#notices.hide("full");
    this.#showTooLarge(`${sizeOf(text)} bytes`);
  }

  #accepts(text) {
    const limit = config.max_message_bytes ?? Infinity;
    const isSmall = text.length * MOST_BYTES <= limit; // to count bytes would make each click wait
    if (!isSmall && sizeOf(text) > limit) this.#showTooLarge(`${sizeOf(text)} bytes; the limit is ${limit}`);
    else if (this.size < LONGEST_QUEUE) return true;
    else this.#notices.show("full", "Too many clicks are waiting for an answer.");
    return false;
  }

  #showTooLarge(detail) {
    this.#notices.showFor(ERROR_SHOWN_MS, "error", `This message is too large (${detail}).`);
  }
}

const sizeOf = (text) => new TextEncoder().encode(text).length;

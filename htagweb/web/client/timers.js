/* Timers: one of each name. */
class Timers {
  #running = new Map();

  after(name, delay_ms, act) {
    this.cancel(name);
    this.#running.set(name, setTimeout(() => (this.#running.delete(name), act()), delay_ms));
  }

  cancel(...names) {
    for (const name of names) {
      clearTimeout(this.#running.get(name));
      this.#running.delete(name);
    }
  }

  has(name) {
    return this.#running.has(name);
  }
}

/* Pages of one dead host must not come back all at once. */
const jittered = ([low, high]) => low + Math.random() * (high - low);

/* A wait that doubles with each time, up to a longest one. */
function backedOff(first_ms, longest_ms, times) {
  const step_ms = Math.min(longest_ms, first_ms * 2 ** times);
  return jittered([step_ms / 2, step_ms]);
}

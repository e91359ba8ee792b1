/* Actions: applied in the order of their numbers, each once. */
class Actions {
  last = config.last; // the number of the last one applied
  #handlers;

  /* Handlers: `missed()` when one before is missing, `answered(n)` when an interaction of this page is,
     `apply(message)` for what htag has to do, `control(data)` for what is said beside it. */
  constructor(handlers) {
    this.#handlers = handlers;
  }

  receive(message) {
    if (message?.htagweb) this.#receiveNumbered(message, message.htagweb);
    else this.#handlers.apply(message);
  }

  #receiveNumbered(message, control) {
    if (control.n > this.last + 1) return this.#handlers.missed();
    if (control.page === page) this.#handlers.answered(control.answers);
    if (control.n <= this.last) return;
    if (control.n) this.last = control.n; // even if applying throws: it was this action's turn
    if (Object.keys(message).length > 1) this.#handlers.apply(message);
    this.#handlers.control(control);
  }
}

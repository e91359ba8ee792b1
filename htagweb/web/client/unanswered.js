/* Unanswered: what was asked by earlier loads of this page, and never answered. A reload comes too soon for
   it to be read there, so the next load says it too. */
const UNANSWERED_SHOWN_MS = 10_000;

class Unanswered {
  #key = `htagweb.unanswered:${config.url}`;
  #notices;

  constructor(notices) {
    this.#notices = notices;
  }

  add(count) {
    if (count) guarded(() => sessionStorage.setItem(this.#key, this.#count() + count));
  }

  /* Say it once somebody looks. It is kept until it was read: this load may be as short as the last. */
  tell() {
    const count = this.#count();
    if (!count) return;
    if (document.hidden) {
      document.addEventListener("visibilitychange", () => this.tell(), { once: true });
    } else {
      const forget = () => guarded(() => sessionStorage.removeItem(this.#key));
      this.#notices.showFor(UNANSWERED_SHOWN_MS, "unanswered", unansweredText(count), forget);
    }
  }

  #count() {
    try {
      return Number(sessionStorage.getItem(this.#key)) || 0;
    } catch {
      return 0; // no storage
    }
  }
}

/* "May": whether it was carried out before the end is not known. */
function unansweredText(count) {
  if (!count) return "";
  return `Your last ${count === 1 ? "action" : `${count} actions`} may not have been carried out.`;
}

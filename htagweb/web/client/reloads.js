/* Reloads: the page is loaded anew when the server has a page to give. Before that a reload would put the
   browser's own error page in its place, or a proxy's, which never come back by themselves. */
const END_RELOAD_MS = [200, 1_500];
const STALE_RELOAD_MS = [0, 300];
const QUICK_RELOADS = 5;
const FIRST_BRAKE_MS = 5_000;
const LONGEST_BRAKE_MS = 60_000;
const ASK_LIMIT_MS = 15_000;

class Reloads {
  #key = `htagweb.reloads:${config.url}`;
  #notices;
  #timers = new Timers();
  #asking = false;
  #failures = 0;

  constructor(notices) {
    this.#notices = notices;
  }

  /* Reload after such a wait, a growing one when that did not help several times in a row. */
  later(range_ms) {
    const wait_ms = this.#brake_ms() ?? jittered(range_ms);
    this.#timers.after("reload", wait_ms, () => this.now());
    if (wait_ms > OFFER_RETRY_OVER_MS) {
      this.#show(`This page is loaded anew in ${Math.round(wait_ms / 1_000)} s.`, "Reload now");
    }
  }

  /* Reload as soon as the server has a page to give. */
  async now() {
    if (this.#asking) return;
    this.#asking = true;
    this.#timers.cancel("reload");
    this.#timers.after("tell", TELL_LOST_AFTER_MS, () => this.#show(WAITING));
    const obstacle = await this.#ask();
    this.#timers.cancel("tell");
    this.#asking = false;
    if (!obstacle) return location.reload();
    this.#show(obstacle, "Try now");
    const wait_ms = backedOff(FIRST_RETRY_MS, LONGEST_RETRY_MS, this.#failures);
    this.#failures += 1;
    this.#timers.after("reload", wait_ms, () => this.now());
  }

  wake() {
    if (this.#failures && this.#timers.has("reload")) this.now();
  }

  /* The page is well: its next reload is the first one again. */
  forget() {
    guarded(() => sessionStorage.removeItem(this.#key));
  }

  /* Return what to say while there is no page; "" when there is one. Nothing but the page's own address is
     known to pass every proxy, and to say whether the app can be opened. */
  async #ask() {
    const abort = new AbortController();
    this.#timers.after("limit", ASK_LIMIT_MS, () => abort.abort());
    try {
      // A sign-in page of another site could not be read: that is for the reload.
      const options = { cache: "no-store", redirect: "manual", signal: abort.signal };
      const { status, headers } = await fetch(location.href, options);
      if (!isPassing(status)) return "";
      const problem = headers.get("x-htagweb-problem");
      return problem ? `${problem}. This page comes back by itself.` : WAITING;
    } catch {
      return WAITING;
    } finally {
      this.#timers.cancel("limit");
      abort.abort(); // its body is for the reload
    }
  }

  /* Return how long to wait if quick reloads do not help, or cannot be counted: a loop would go unnoticed. */
  #brake_ms() {
    try {
      const count = Number(sessionStorage.getItem(this.#key)) || 0;
      sessionStorage.setItem(this.#key, count + 1);
      if (count < QUICK_RELOADS) return null;
      return backedOff(FIRST_BRAKE_MS, LONGEST_BRAKE_MS, count - QUICK_RELOADS);
    } catch {
      return LONGEST_BRAKE_MS;
    }
  }

  #show(text, label = "") {
    this.#notices.show("reload", text, label, () => this.now());
  }
}

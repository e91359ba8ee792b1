/* Reloads: the page loads itself anew, but not for ever. */
const END_RELOAD_MS = [200, 1_500];
const STALE_RELOAD_MS = [0, 300];
const MOST_RELOADS = 5;
const RELOADS_WITHIN_MS = 60_000;

class Reloads {
  #key = `htagweb.reloads:${config.url}`;
  #timers = new Timers();

  now = () => location.reload();

  after(range_ms) {
    this.#timers.after("reload", jittered(range_ms), this.now);
  }

  /* Return whether the page may reload by itself again: not without storage, a loop would go unnoticed. */
  count() {
    try {
      const now_ms = Date.now();
      const times = JSON.parse(sessionStorage.getItem(this.#key) ?? "[]");
      const recent = times.filter((time_ms) => now_ms - time_ms < RELOADS_WITHIN_MS);
      if (recent.length >= MOST_RELOADS) return false;
      sessionStorage.setItem(this.#key, JSON.stringify([...recent, now_ms]));
      return true;
    } catch {
      return false;
    }
  }

  forget() {
    guarded(() => sessionStorage.removeItem(this.#key));
  }
}

/* Clicks the page's button "+1" and waits until the page shows the next number; gives seconds.

   The clock is the page's, started just before the click and stopped by the observer of the change, so that
   it holds all that a person's click costs, the page's script included, and nothing of who measures. */
() => {
  const isButton = (each) => each.textContent.trim() === "+1";
  const find = () => [...document.querySelectorAll("button")].find(isButton);
  const texts = (node) =>
    node.nodeType === Node.TEXT_NODE ? [node.data.trim()] : [...node.childNodes].flatMap(texts);
  const numberIn = (node) => Math.max(...texts(node).filter((text) => /^\d+$/.test(text)));
  const changed = ({ type, target, addedNodes }) => (type === "characterData" ? [target] : [...addedNodes]);

  /* When the page showed one of these; null if it did not within this time. */
  const shown = (isIt, limit_ms) =>
    new Promise((resolve) => {
      const end = (at) => (observer.disconnect(), clearTimeout(limit), resolve(at));
      const observer = new MutationObserver((records) => {
        if (records.flatMap(changed).flatMap(texts).some(isIt)) end(performance.now());
      });
      const limit = setTimeout(() => end(null), limit_ms);
      observer.observe(document, { subtree: true, childList: true, characterData: true });
    });

  /* A frame, and then a pause: what the last click painted must not burden the next one. */
  const rest = (pause_ms) =>
    new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, pause_ms)));

  const clickOnce = async (limit_ms) => {
    const next = String(numberIn(document.body) + 1);
    const change = shown((text) => text === next, limit_ms);
    const started = performance.now();
    find().click();
    const at = await change;
    if (at === null) throw new Error(`the page did not show ${next} within ${limit_ms} ms of its click`);
    return (at - started) / 1000;
  };

  return {
    async click(limit_ms, clicks, pause_ms) {
      const waits = [];
      while (waits.length < clicks) {
        await rest(pause_ms);
        waits.push(await clickOnce(limit_ms));
      }
      return waits;
    },

    /* Click until the page answers: some lose what is clicked before their connection is there. */
    async wake(limit_ms, retry_ms = 300) {
      const deadline = performance.now() + limit_ms;
      for (let at = null; at === null; ) {
        if (performance.now() > deadline) throw new Error(`no click on "+1" did anything in ${limit_ms} ms`);
        const answer = shown((text) => /^[1-9]\d*$/.test(text), retry_ms);
        find()?.click();
        at = await answer;
      }
      await rest(retry_ms); // two answers may come, if the first click was only late
    },
  };
}

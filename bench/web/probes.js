// Looks at a page from inside, from before its first script on: what blocks it, what arrives, what is drawn when.
// All times are in ms since the page's navigation began.
(() => {
  const probe = { tasks: [], ticks: [], keys: [], frames: [], entries: 0, synced: null, clicked: null, shown: {} };
  window.probe = probe;

  // Tasks of more than 50 ms.
  new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) probe.tasks.push([startTime, duration]);
  }).observe({ type: "longtask", buffered: true });

  // How late a timer of 100 ms is.
  const EVERY_MS = 100;
  let due = performance.now() + EVERY_MS;
  setInterval(() => {
    const now = performance.now();
    probe.ticks.push([now, Math.max(0, now - due)]);
    due = now + EVERY_MS;
  }, EVERY_MS);

  // After the next frame was handed over for drawing.
  const drawn = (then) =>
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => then(performance.now());
      port2.postMessage(null);
    });

  // From a press of a key, as the browser noted it, to the frame with its letter.
  addEventListener("keydown", ({ timeStamp }) => drawn((now) => probe.keys.push([timeStamp, now - timeStamp])), true);
  addEventListener("click", ({ timeStamp }) => (probe.clicked = timeStamp), true);

  // What the server pushes. The page's own handler runs after this one, a timer after both.
  const Native = window.WebSocket;
  window.WebSocket = class WebSocket extends Native {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", ({ data }) => {
        const head = typeof data === "string" ? data.slice(0, 160) : "";
        if (head.includes('"new_message"')) probe.entries += 1;
        // A conversation's own topic has one too.
        else if (head.includes('"user:') && head.includes('"sync_complete"')) setTimeout(() => (probe.synced = performance.now()));
      });
    }
  };

  const inView = (element) => {
    const { top, bottom } = element.getBoundingClientRect();
    return bottom > 0 && top < innerHeight;
  };
  const looks = {
    synced: () => probe.synced !== null,
    list: () => document.querySelector(".wh-conversations:not(:empty) .wh-conversation time") !== null,
    thread: () => [...document.querySelectorAll("article .wh-text")].some((text) => text.textContent !== "" && inView(text)),
  };

  // Resolves with the time of the frame in which something is on screen, and of the last look before it.
  probe.until = (name) =>
    new Promise((resolve) => {
      const look = () => (looks[name]() ? drawn((now) => resolve((probe.shown[name] ??= now))) : requestAnimationFrame(look));
      look();
    });
  for (const name of ["list", "thread"]) document.addEventListener("DOMContentLoaded", () => void probe.until(name));

  // The times between frames, from now on, until it is called again.
  probe.watchFrames = () => {
    const frames = [];
    const run = (probe.run = {});
    let last = null;
    const frame = (now) => {
      if (probe.run !== run) return;
      if (last !== null) frames.push(now - last);
      last = now;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    probe.frames = frames;
  };
  probe.takeFrames = () => {
    probe.run = null;
    return probe.frames;
  };

  // What happened between two times.
  probe.between = (from, to) => {
    const within = (list) => list.filter(([at]) => at >= from && at <= to).map(([, ms]) => ms);
    return { tasks: within(probe.tasks), ticks: within(probe.ticks), keys: within(probe.keys) };
  };
})();

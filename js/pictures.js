// Small pictures of tiles, asked for through the widget's own channel a few at a time, and kept for when they are seen again.

const BATCH = 15; // pictures in one message
const ON_THE_WAY = 2; // messages not yet answered: what waits behind them can still be given up
const KEEP = 800; // pictures, more than two pages and the loupe show
const PATIENCE = 60000; // milliseconds until an answer counts as lost

export function pictureStore(model, onArrival) {
  const view = Math.random().toString(36).slice(2); // answers go to all views of a widget, which all may use them
  const kept = new Map(); // "key/px" -> { url } or { wrong }, the one used last at the end
  const asked = new Map(); // number of a message -> its keys and timer
  let wishes = [], last = 0;

  const name = (key, px) => `${key}/${px}`;

  function ask() {
    while (wishes.length && asked.size < ON_THE_WAY) {
      const { px } = wishes[0], keys = [];
      wishes = wishes.filter((wish) => wish.px !== px || keys.length === BATCH || !keys.push(wish.key));
      const number = ++last;
      asked.set(number, { px, keys, timer: setTimeout(() => settle(number), PATIENCE) });
      model.send({ type: "pictures", view, number, px, keys });
    }
  }

  function settle(number) {
    clearTimeout(asked.get(number)?.timer);
    asked.delete(number);
    ask();
  }

  function keep(key, px, picture) {
    const old = kept.get(name(key, px));
    if (old?.url) return picture.url && URL.revokeObjectURL(picture.url);
    kept.set(name(key, px), picture);
    for (const [first, { url }] of kept) {
      if (kept.size <= KEEP) break;
      if (url) URL.revokeObjectURL(url);
      kept.delete(first);
    }
  }

  function receive(message, buffers) {
    if (message.type !== "pictures") return;
    message.keys.forEach((key, i) => {
      keep(key, message.px, { url: URL.createObjectURL(new Blob([buffers[i]], { type: "image/jpeg" })) });
    });
    for (const [key, wrong] of Object.entries(message.wrong)) keep(Number(key), message.px, { wrong });
    onArrival();
    if (message.view === view) settle(message.number);
  }

  function get(key, px) { // what is known of a picture, or undefined
    const found = kept.get(name(key, px));
    if (found) { kept.delete(name(key, px)); kept.set(name(key, px), found); }
    return found;
  }

  function want(list) { // pairs of key and px, the most urgent first; earlier wishes that were not asked for are dropped
    const coming = new Set([...asked.values()].flatMap(({ px, keys }) => keys.map((key) => name(key, px))));
    wishes = list.filter(({ key, px }) => !kept.has(name(key, px)) && !coming.has(name(key, px)));
    ask();
  }

  function forgive() { // what could not be read may be tried again
    for (const [one, { wrong }] of kept) if (wrong) kept.delete(one);
  }

  function stop() {
    model.off("msg:custom", receive);
    for (const { timer } of asked.values()) clearTimeout(timer);
    for (const { url } of kept.values()) if (url) URL.revokeObjectURL(url);
  }

  model.on("msg:custom", receive);
  return { view, get, want, forgive, stop };
}

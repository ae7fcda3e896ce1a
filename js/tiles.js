// The slide as an OpenSeadragon tile source: tiles come through the widget's own channel, several to a message.
import OpenSeadragon from "openseadragon";

const BATCH = 8; // tiles in one message
const ON_THE_WAY = 16; // tiles asked for and not yet here: what waits behind them can still be given up
const PATIENCE = 30000; // milliseconds until a tile counts as lost

export function tileSource(model, onError, onTile) {
  const { width, height, tile, overlap, downsamples } = model.get("slide");
  const source = new OpenSeadragon.TileSource({
    width, height, tileSize: tile, tileOverlap: overlap, minLevel: 0, maxLevel: downsamples.length - 1,
  });
  const view = Math.random().toString(36).slice(2); // answers go to all views of a widget: which are ours?
  const waiting = []; // jobs not yet asked for
  const asked = new Map(); // number -> job
  let last = 0, planned = false;

  function ask() {
    planned = false;
    while (waiting.length && asked.size < ON_THE_WAY) {
      const tiles = waiting.splice(-BATCH).reverse().map((job) => { // the newest first: the reader looks there
        asked.set(++last, job);
        const number = last;
        job.userData.timer = setTimeout(() => settle(number)?.fail("the tile did not come in time", null), PATIENCE);
        return [number, job.tile.level, job.tile.x, job.tile.y];
      });
      model.send({ type: "tiles", view, tiles });
    }
  }

  function plan() {
    if (!planned) { planned = true; setTimeout(ask); }
  }

  function settle(number) { // the job of that number, no longer waited for
    const job = asked.get(number);
    if (job) { asked.delete(number); clearTimeout(job.userData.timer); plan(); }
    return job;
  }

  function receive(message, buffers) {
    if (message.type !== "tile" || message.view !== view) return;
    const job = settle(message.number);
    if (!job || job.userData.givenUp) return;
    if (message.error) {
      onError(message.error);
      job.fail(message.error, null);
    } else {
      onTile(performance.now() - job.userData.start);
      job.finish(new Blob([buffers[0]], { type: "image/jpeg" }), null, "rasterBlob");
    }
  }

  source.getLevelScale = (level) => 1 / downsamples[level];
  source.getTileUrl = (level, x, y) => `${level}/${x}/${y}`;
  source.downloadTileStart = (job) => { job.userData.start = performance.now(); waiting.push(job); plan(); };
  source.downloadTileAbort = (job) => {
    const place = waiting.indexOf(job);
    if (place >= 0) waiting.splice(place, 1);
    job.userData.givenUp = true;
  };
  model.on("msg:custom", receive);
  source.stop = () => {
    model.off("msg:custom", receive);
    for (const job of asked.values()) clearTimeout(job.userData.timer);
    waiting.length = 0;
  };
  return source;
}

"""Whole-slide prediction against the network's own rate on the same tiles in memory.

    python tests/bench/bench_prediction.py [SLIDE]

SLIDE takes the place of a JPEG pyramid that is made of the synthetic samples. The limit is the best of several ways
to run the same network on pixels that lie in memory: each core with batches of its own, and PyTorch's threads in
each layer, with several sizes of batch. Three rounds find it, of which the first only warms up. It then takes turns
with whole-slide prediction, which opens the slides with nothing in memory: a round of each, now this one first and
now that. Between any two is a pause, in which PyTorch's threads stop to wait busily for more work. The ratio is the
median of the ratios within a round, since the machine's own speed drifts between rounds."""

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
import torch
from cold import forget
from PIL import Image

from deepslide_nb.prediction import ahead, core_threads, cores, predict_slides
from deepslide_nb.samples import sample_slides
from deepslide_nb.settings import load_settings
from deepslide_nb.slides import open_slide, read_slides
from deepslide_nb.tiles import slide_tiles
from deepslide_nb.training import make_network

ROUNDS, SIDE = 15, 8192
GPU = torch.cuda.is_available()
META = {"classes": list("abc"), "mean": [0.7, 0.5, 0.7], "std": [0.2, 0.2, 0.15]}


def make_pyramid(path, row):
    "A tiled JPEG pyramid of SIDE x SIDE pixels at 0.5 mpp: a sample slide's level 0, again and again."
    with open_slide(row.path) as slide:
        w, h = slide.dimensions
        once = slide.area(0, 0, w, h, w, h)
    pixels = np.tile(once, (-(-SIDE // h), -(-SIDE // w), 1))[:SIDE, :SIDE]
    kind = dict(tile=(256, 256), photometric="rgb", compression="jpeg", compressionargs={"level": 85}, resolutionunit=3)
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for k in range(3):
            level = np.asarray(Image.fromarray(pixels).reduce(2**k))
            tif.write(level, resolution=(20000 / 2**k,) * 2, subfiletype=int(k > 0), **kind)


def in_memory(model, pixels, batch, each_core):
    "Seconds of the network on all pixels: normalised as in `predict_tiles`, in float32 (a GPU: float16)."
    device = next(model.parameters()).device
    mean, std = (torch.tensor(META[k], device=device).view(1, 3, 1, 1) for k in ("mean", "std"))

    @torch.inference_mode()
    def judge(start):
        x = pixels[start : start + batch].to(device, non_blocking=True).permute(0, 3, 1, 2).float()
        with torch.autocast("cuda", torch.float16, enabled=GPU):
            return model(x.mul_(1 / (255 * std)).sub_(mean / std)).float().softmax(1)

    begin, starts = time.perf_counter(), range(0, len(pixels), batch)
    found = ahead(judge, starts, cores(), core_threads(os.getpid(), cores())) if each_core else map(judge, starts)
    torch.cat(list(found)).cpu()
    return time.perf_counter() - begin


def compare(name, slides, tiles, px):
    "Print the rates for a network on the tiles of each slide, and the ratio."
    torch.set_num_threads(cores())
    model = make_network("resnet18", 3).eval().to("cuda" if GPU else "cpu", memory_format=torch.channels_last)
    found = [slide.read(*map(int, t), px) for slide, own in zip(slides, tiles) for t in own[["x", "y", "size"]].to_numpy()]
    pixels = torch.from_numpy(np.stack(found))
    pixels = pixels.pin_memory() if GPU else pixels
    meta = {**META, "tile_px": px, "weights_sha256": ""}
    ids = [f"slide {i}" for i in range(len(slides))]
    table = pd.DataFrame({"slide_id": ids, "path": [str(s.path) for s in slides]})
    every = pd.concat([own.assign(slide_id=i) for i, own in zip(ids, tiles)], ignore_index=True)

    def whole():
        forget()
        begin = time.perf_counter()
        predictions, failures = predict_slides(model, meta, every, table)
        assert len(predictions) == len(pixels) and failures.empty
        return time.perf_counter() - begin

    own = max(4, 2**18 // px**2)
    ways = {f"each core batches of {n}": (n, True) for n in (own, 16)} | {f"threads in layers, {n}": (n, False) for n in (16, 64)}
    ways = {"batches of 128": (128, False)} if GPU else ways
    works = {"from the slide": whole, **{n: lambda way=way: in_memory(model, pixels, *way) for n, way in ways.items()}}

    def spent(work):
        "Seconds on the wall and of the processor, with those of a pause before left out."
        time.sleep(0.5)
        cpu, taken = time.process_time(), work()
        return taken, time.process_time() - cpu

    tried = [{n: spent(work)[0] for n, work in works.items()} for _ in range(3)][1:]
    limit = min(ways, key=lambda n: min(t[n] for t in tried))
    for n in ways:
        print(f"{name}, {px} px: {n:32} {len(pixels) / min(t[n] for t in tried):6.0f} tiles/s", flush=True)
    rounds = {n: [] for n in (limit, "from the slide")}
    for k in range(ROUNDS):
        for n in list(rounds)[:: (-1) ** k]:
            rounds[n].append(spent(works[n]))
    memory, whole_slide = (np.array(r) for r in rounds.values())  # (rounds, wall processor)
    for n, r in rounds.items():
        print(f"{name}, {px} px: {n:32} rounds {[round(len(pixels) / t) for t, _ in r]} tiles/s")
    ratio = np.median(memory / whole_slide, 0)
    if not GPU:
        print(f"{name}, {px} px: processor seconds in memory / from the slide {ratio[1]:.3f}", flush=True)
    print(f"ratio whole-slide prediction / in-memory rate, {name}, {px} px {ratio[0]:.3f}", flush=True)


def main():
    print(f"{cores()} cores, {torch.cuda.get_device_name() if GPU else 'no GPU'}, PyTorch {torch.__version__}")
    samples = read_slides(sample_slides())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1] if len(sys.argv) > 1 else Path(folder) / "pyramid.tif")
        if len(sys.argv) < 2:
            make_pyramid(path, samples.iloc[0])
        for px, mpp, most in (96, 1.0, 1200), (224, 0.5, 300):
            settings = load_settings(tile_px=px, mpp=mpp, tiles_per_slide=0)
            with open_slide(path) as slide:
                own = slide_tiles(slide, "s", settings)
                own = own.head(most * (10 if GPU else 1))
                compare("JPEG pyramid" if len(sys.argv) < 2 else path.stem, [slide], [own], px)
            if px == 96 and len(sys.argv) < 2:
                chosen = [open_slide(p) for p in samples["path"].iloc[::3]]
                parts = [slide_tiles(s, "s", settings) for s in chosen]
                compare(f"{len(chosen)} sample slides", chosen, [pd.DataFrame(p) for p in parts], px)


if __name__ == "__main__":
    main()

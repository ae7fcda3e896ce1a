"""Peak memory against the size of the slide: tiling, predicting, features and overlay, each in a fresh process.

    python tests/bench/bench_memory.py [SIDE ...]      25000 50000 100000 by default; 200000x100000 is understood as well

The slides are pyramids of four JPEG tiles of noisy synthetic tissue, stored again and again: a slide of 100,000 px has
30 GB of pixels and some 1.2 GB on disk. All of it is tissue. Every window is read, decoded and goes through a network.
ResNet-18 would take long for the largest slides on a CPU, so all tiles go through a network of two small layers (what is
measured is the toolkit, not the network), and the first 2,000 through a ResNet-18. Features are 512 numbers a tile. The
peak is that of the step's own fresh process and its children; importing PyTorch and fastai is part of it and stands apart
as `imports alone`. `ratio` lines divide the peak at the largest slide by that at the smallest, for each step."""
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

SIDES = ["25000", "50000", "100000"]
STEPS = ["imports alone", "tiling", "predict small net", "predict resnet18", "features small net", "overlay"]
TILE = 256


def encoded(seed, amount=4):
    "A few JPEG tiles of noisy synthetic tissue, as a TIFF stores them, with their tables inside."
    import io

    from PIL import Image

    rng, tiles = np.random.default_rng(seed), []
    for _ in range(amount):
        coarse = np.kron(rng.normal(0, 30, (TILE // 8, TILE // 8, 1)), np.ones((8, 8, 1)))
        pixels = np.array([190, 110, 170]) + coarse + rng.normal(0, 12, (TILE, TILE, 3))
        file = io.BytesIO()
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=60, subsampling=2)
        tiles.append(file.getvalue())
    return tiles


def write_slide(path, w, h):
    "A pyramid of repeated JPEG tiles."
    import tifffile

    stored = encoded(0)
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        downsample = 1
        while downsample == 1 or max(w, h) // downsample > 700:
            level_w, level_h = w // downsample, h // downsample
            cells = -(-level_w // TILE) * -(-level_h // TILE)
            tif.write((stored[i % len(stored)] for i in range(cells)), shape=(level_h, level_w, 3), dtype=np.uint8,
                      tile=(TILE, TILE), photometric="ycbcr", subsampling=(2, 2), compression="jpeg",
                      subfiletype=int(downsample > 1), resolution=(20000 / downsample,) * 2, resolutionunit="CENTIMETER")  # fmt: skip
            downsample *= 4


def small_net(classes):
    "The mean colour and two linear layers: 512 features and an answer, in next to no time."
    from torch import nn

    class Small(nn.Sequential):
        fc = property(lambda self: self[-1])

    return Small(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 512), nn.Linear(512, classes))


def work(step, path, folder):
    "One step, as a run does it; the number of tiles."
    import pandas as pd

    from deepslide_nb.settings import load_settings
    from deepslide_nb.slides import open_slide, read_table, write_table
    from deepslide_nb.tiles import make_tiles

    if step == "imports alone":
        import deepslide_nb.attention  # noqa: F401

        return 0
    settings = load_settings(profile="full", tile_px=224, mpp=0.5, overlap=0.0, workers=1)
    slides = pd.DataFrame({"slide_id": ["slide"], "path": [str(path)], "mpp": [0.5]})
    if step == "tiling":
        tiles, failures = make_tiles(slides, settings, folder / "tiles")
        assert len(failures) == 0, failures.error[0]
        write_table(tiles, folder / "tiles.parquet")
        return len(tiles)
    tiles = read_table(folder / "tiles.parquet")
    if step == "overlay":
        from deepslide_nb.overlays import plot_overlay, write_heatmap

        predictions = read_table(folder / "predictions.parquet")
        with open_slide(path) as slide:
            plot_overlay(slide, predictions)
            write_heatmap(slide, predictions, folder / "map.tif", downsample=32)
        return len(predictions)

    import torch

    from deepslide_nb.attention import bag_features
    from deepslide_nb.prediction import predict_slides
    from deepslide_nb.training import make_network

    classes = ["a", "b", "c"]
    meta = {"classes": classes, "tile_px": 224, "mean": [0.7, 0.5, 0.7], "std": [0.2] * 3, "weights_sha256": step}
    if step == "predict resnet18":
        tiles = tiles[:2000]
    model = make_network("resnet18", 3) if step == "predict resnet18" else small_net(3)
    model = model.eval().to(memory_format=torch.channels_last)  # as `load_model` gives it
    if step == "features small net":
        features, failures = bag_features(model, meta, tiles, slides, folder / "features")
        assert len(features["slide"]) == len(tiles)
    else:
        predictions, failures = predict_slides(model, meta, tiles, slides, folder / "parts")
        write_table(predictions, folder / ("predictions.parquet" if step == "predict small net" else "resnet.parquet"))
    assert len(failures) == 0, failures.error[0]
    return len(tiles)


def child(step, path, folder):
    "Run one step here and print tiles, seconds and the peak of this process and its children, MB."
    import psutil

    me, peak, done = psutil.Process(), [0], threading.Event()

    def watch():
        while not done.wait(0.05):
            family = [me, *me.children(recursive=True)]
            peak[0] = max(peak[0], sum(p.memory_info().rss for p in family if p.is_running()))

    threading.Thread(target=watch, daemon=True).start()
    start = time.time()
    tiles = work(step, Path(path), Path(folder))
    done.set()
    print(json.dumps({"tiles": tiles, "seconds": round(time.time() - start, 1), "peak_mb": round(peak[0] / 2**20)}))


def measure(side, peaks):
    w, h = map(int, (side if "x" in side else f"{side}x{side}").split("x"))
    with tempfile.TemporaryDirectory() as folder:
        slide = Path(folder) / "slide.tif"
        write_slide(slide, w, h)
        print(f"{side}: {slide.stat().st_size / 2**20:,.0f} MB on disk", flush=True)
        for step in STEPS:
            command = [sys.executable, __file__, "--child", step, slide, folder]
            done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"MPLBACKEND": "Agg"})
            if done.returncode:
                sys.exit(done.stderr[-2000:])
            found = json.loads(done.stdout.splitlines()[-1])
            print(f"  {step:20} {found['tiles']:>9,} tiles {found['seconds']:>8.1f} s {found['peak_mb']:>6,} MB", flush=True)
            peaks.setdefault(step, []).append(found["peak_mb"])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        peaks = {}
        for side in sys.argv[1:] or SIDES:
            measure(side, peaks)
        for step, mb in peaks.items():
            print(f"ratio peak memory at the largest / smallest slide, {step} {mb[-1] / mb[0]:.2f}")
        most = max(map(max, peaks.values()))
        print(f"ratio highest peak / 1.5 GB {most / 1536:.2f}")
        sys.exit(most > 1536)

"""Tiles per CPU-second: our reader, openslide-python, pyvips, and libjpeg-turbo alone, on the same windows.

    python tests/bench/bench_reader.py [SLIDE] [--windows 2000] [--identical 10000]
    make bench-reader BENCH_SLIDE=FILE

Without SLIDE a synthetic sample slide, a large pyramid made of it and, where `DEEPSLIDE_REAL` (or ../shared/real)
has them, the real CMU slide, a large pyramid made of that, and the JPEG 2000 slide are measured.

Every window is 256 x 256 pixels of level 0. First `--identical` random windows (also over the edges) are read by
us and by OpenSlide and must be the same to the bit; a difference ends the benchmark with exit code 1. Then the
four readers take turns, five rounds (up to 25 where the windows are few), forwards and backwards, each with cold
memory and a newly opened file (opening is timed apart), on

- a walk: windows side by side, row by row, over as many rows as `--windows` allows, as tiling and prediction read;
- random places, as training reads, where windows share little and every reader decodes what it then cuts off.

CPU-seconds are those of the whole process, threads included. Rates are medians of the rounds; ratios are medians of
the ratios within a round, as the machine's own speed drifts between rounds. The limit is
libjpeg-turbo (simplejpeg) decoding, once each and from memory, the stored tiles that the windows touch: what no
reader that decodes whole tiles can beat. `ratio R` at the end is ours over openslide-python's on the walk.
"""
import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import openslide
import pyvips
import tifffile
from cold import forget
from simplejpeg import decode_jpeg

from deepslide_nb import slides as S
from deepslide_nb.settings import InputError

SIDE = 256


def big_pyramid(source, path, times):
    "A tiled JPEG pyramid of `times` x `times` copies of a slide's level 0."
    pixels = pyvips.Image.tiffload(str(source))[:3].replicate(times, times).copy(xres=2000, yres=2000)
    pixels.tiffsave(str(path), tile=True, pyramid=True, compression="jpeg", Q=80, tile_width=256, tile_height=256, bigtiff=True)
    return path


def walk(dimensions, n):
    "Corners of windows side by side, row by row, n at most, from the middle rows of the slide."
    columns, rows = (max(1, length // SIDE) for length in dimensions)
    taken = min(rows, max(1, n // columns))
    first = (rows - taken) // 2
    return [(x * SIDE, y * SIDE) for y in range(first, first + taken) for x in range(columns)][:n]


def scattered(dimensions, n, beyond=0):
    "Random corners, `beyond` pixels over the edges at most."
    rng = np.random.default_rng(0)
    most = np.maximum(1, np.array(dimensions) - SIDE + beyond)
    return rng.integers(-beyond, most, (n, 2)).tolist()


def theirs(slide, x, y):
    return np.asarray(slide.read_region((x, y), 0, (SIDE, SIDE)).convert("RGB"))


def by_openslide(path):
    slide = openslide.OpenSlide(path)
    return lambda x, y: theirs(slide, x, y)


def by_us(path):
    forget()
    slide = S.open_slide(path)
    return lambda x, y: slide.read(x, y, SIDE, SIDE)


def by_vips(path):
    region = pyvips.Region.new(pyvips.Image.tiffload(str(path)))
    return lambda x, y: np.frombuffer(region.fetch(x, y, SIDE, SIDE), np.uint8).reshape(SIDE, SIDE, -1)


def stored(path, places):
    "The streams of the stored tiles that the windows touch, each once."
    with S.open_slide(path) as slide:
        if 0 not in slide.direct:
            return []
        s = slide.direct[0]
        touched = {
            (row, column)
            for x, y in places
            for row in range(y // s.tile[1], (min(y + SIDE, s.size[1]) - 1) // s.tile[1] + 1)
            for column in range(x // s.tile[0], (min(x + SIDE, s.size[0]) - 1) // s.tile[0] + 1)
        }
    with open(path, "rb") as f:
        found = []
        for place in sorted(touched):
            f.seek(s.offsets[place])
            found.append(s.head + S._bare(f.read(int(s.counts[place]))))
    return found


def cpu_seconds(read, places):
    "CPU-seconds of this process for all calls."
    start = time.process_time()
    for place in places:
        read(*place)
    return time.process_time() - start


def rates(path, places):
    "Tiles per CPU-second of each reader, an array of rounds each."
    streams = [(stream,) for stream in stored(path, places)]
    readers = {"openslide-python": lambda: (by_openslide(path), places), "deepslide_nb": lambda: (by_us(path), places)}
    with tifffile.TiffFile(path) as tif:
        if tif.pages[0].compression == 7:
            readers["pyvips"] = lambda: (by_vips(path), places)
    if streams:
        readers["libjpeg-turbo alone"] = lambda: (decode_jpeg, streams)
    found = {name: [] for name in readers}
    for k in range(min(25, max(5, 5000 // len(places)))):
        for name in list(readers)[:: (-1) ** k]:
            found[name].append(len(places) / cpu_seconds(*readers[name]()))
    return {name: np.array(rounds) for name, rounds in found.items()}


def opening(path):
    "Milliseconds to open the file, ours (which compares pixels) and OpenSlide's, medians."
    times = {S.open_slide: [], openslide.OpenSlide: []}
    for _ in range(7):
        for how, spent in times.items():
            start = time.perf_counter()
            how(path).close()
            spent.append(1000 * (time.perf_counter() - start))
    return [statistics.median(v) for v in times.values()]


def identical(path, n):
    "Compare n random windows; the number that differ."
    with S.open_slide(path) as ours, openslide.OpenSlide(path) as other:
        wrong = 0
        for x, y in scattered(ours.dimensions, n, beyond=64):
            truth = np.asarray(S.on_white(other.read_region((max(x, 0), max(y, 0)), 0, (SIDE - max(-x, 0), SIDE - max(-y, 0)))))
            mine = ours.read(x, y, SIDE, SIDE)
            wrong += not (mine[max(-y, 0) :, max(-x, 0) :] == truth).all()
        return wrong, sorted(ours.direct)


def bench(name, path, n, n_identical):
    "Measure one slide, print it; ratio to openslide-python and to the limit on the walk."
    wrong, direct = identical(path, n_identical)
    with S.open_slide(path) as slide:
        print(f"\n{name}: {slide}; levels read directly: {direct or 'none'}; {wrong} of {n_identical} random windows differ")
        plans = {"walk": walk(slide.dimensions, n), "random": scattered(slide.dimensions, n)}
    print("  opening: {:.0f} ms, openslide-python {:.0f} ms".format(*opening(path)))
    if wrong:
        sys.exit(f"{path}: pixels differ from OpenSlide's")
    result = {}
    for plan, places in plans.items():
        rounds = rates(path, places)
        found = {k: np.median(v) for k, v in rounds.items()}
        limits = [rounds.get(k) for k in ("openslide-python", "libjpeg-turbo alone")]
        result[plan] = [None if v is None else np.median(rounds["deepslide_nb"] / v) for v in limits]
        print(f"  {plan:7} {len(places):5} windows: " + ", ".join(f"{k} {v:,.0f}" for k, v in found.items()) + " tiles per CPU-second")
        print(f"ratio reader / openslide-python, {name}, {plan} {result[plan][0]:.2f}")
        if result[plan][1] and found["libjpeg-turbo alone"] > 3 * found["pyvips"]:
            print("  (few stored tiles for many windows: here memory is the limit, not decoding)")
        elif result[plan][1]:
            print(f"ratio reader / libjpeg-turbo alone, {name}, {plan} {result[plan][1]:.2f}")
    return result["walk"][0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", nargs="?", type=Path)
    parser.add_argument("--windows", type=int, default=2000)
    parser.add_argument("--identical", type=int, default=10_000)
    args = parser.parse_args()
    if args.slide:
        try:
            print(f"ratio {bench(args.slide.name, args.slide, args.windows, args.identical):.2f}")
        except (InputError, openslide.OpenSlideError) as e:
            sys.exit(str(e))
        return
    from deepslide_nb.samples import sample_slides

    real = Path(os.environ.get("DEEPSLIDE_REAL", Path(__file__).parents[3] / "shared/real")) / "slides"
    sample = sorted((sample_slides().parent / "slides").glob("*.tif"))[0]
    with tempfile.TemporaryDirectory() as folder:
        todo = {"synthetic sample slide": sample, "large pyramid of synthetic slide": big_pyramid(sample, Path(folder) / "synthetic.tif", 6)}
        cmu = real / "CMU-1-Small-Region.svs"
        if cmu.exists():
            todo |= {"CMU (real, SVS)": cmu, "large pyramid of CMU": big_pyramid(cmu, Path(folder) / "cmu.tif", 10)}
            todo["TCGA (real, JPEG 2000)"] = real / "TCGA-CR-7395-01A-01-TS1_small.svs"
        for name, path in todo.items():
            bench(name, path, args.windows, args.identical if "2000" not in name else 200)


if __name__ == "__main__":
    main()

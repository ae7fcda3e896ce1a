"""Tiles: parity with DeepSlide's windows, every choice of settings, parallel and resumed making of the table."""
import errno
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import openslide
import pandas as pd
import pytest
import tifffile
from PIL import Image

from deepslide_nb import tiles as T
from deepslide_nb.settings import InputError, load_settings
from deepslide_nb.slides import TiledSlide, open_slide, read_slides
from deepslide_nb.tiles import (deepslide_starts, export_tiles, factor_to_overlap, make_tiles, read_tile, read_tiles,
                                slide_tiles, window_starts)

PURPLE, GLASS = (150, 80, 160), (243, 242, 244)


def settings(**changes):
    return load_settings(**{"tile_px": 96, "mpp": 1.0, "overlap": 0.0, "border": "cover", "tissue": "otsu",
                            "tissue_min": 0.5, "workers": 1} | changes)


def picture(path, w, h, tissue=None):
    "A white slide with a noisy purple rectangle (x, y, w, h)."
    pixels = np.full((h, w, 3), GLASS, np.uint8)
    if tissue:
        x, y, a, b = tissue
        noise = np.random.default_rng(0).integers(-50, 50, (b, a, 1))
        pixels[y : y + b, x : x + a] = np.clip(np.array(PURPLE) + noise, 0, 255)
    Image.fromarray(pixels).save(path)
    return str(path)


@pytest.fixture
def cohort(tmp_path):
    "Four pictures (one all glass) and a broken one, as a table of slides; not in the order of their names."
    rows = [("b", picture(tmp_path / "b.png", 2000, 1500, (300, 200, 900, 1000))),
            ("é/a", picture(tmp_path / "a.png", 1500, 2000, (0, 0, 700, 2000))),
            ("glass", picture(tmp_path / "glass.png", 1500, 1500)),
            ("broken", str(tmp_path / "broken.svs")),
            ("whole", picture(tmp_path / "c.png", 1200, 1100, (0, 0, 1200, 1100)))]
    Path(rows[3][1]).write_bytes(b"x")
    return pd.DataFrame(rows, columns=["slide_id", "path"]).assign(mpp=0.5)


def naive_deepslide(length, size, factor):
    "The formula of facts.md as a loop."
    step, starts = int(size / factor), []
    for i in range(int((length - size) / size * factor) + 1):
        starts.append(i * step)
    return starts


@pytest.mark.parametrize("factor,step", [(1, 224), (1.5, 149), (2, 112), (3, 74)])
def test_deepslide_windows(factor, step):
    for length in [224, 225, 447, 448, 1000, 4443, 20000]:
        ours = deepslide_starts(length, 224, factor)
        assert list(ours) == naive_deepslide(length, 224, factor)
        assert (np.diff(ours) == step).all() and ours[-1] + 224 <= length
        same = window_starts(length, 224, factor_to_overlap(factor), "drop")
        assert list(same[: len(ours)]) == list(ours)
    assert len(deepslide_starts(1000, 224, 1.5)) == 6


@pytest.mark.parametrize("overlap", [0, 0.1, 0.33, 1 / 3, 0.5, 2 / 3, 0.99])
def test_window_starts(overlap):
    for length in range(50, 700, 3):
        cover, drop = (window_starts(length, 96, overlap, b) for b in ("cover", "drop"))
        seen = np.zeros(max(length, 96), bool)
        for s in cover:
            seen[s : s + 96] = True
        assert seen.all() and cover[0] == 0 and (np.diff(cover) > 0).all()
        assert cover[-1] == max(0, length - 96)
        assert list(drop) == [s for s in cover if s + 96 <= length][: len(drop)]
        assert len(cover) - len(drop) in (0, 1)


def test_windows_cover_the_border(tmp_path):
    path = picture(tmp_path / "a.png", 1500, 1100, (0, 0, 1500, 1100))
    for border, ends in (("cover", (1500, 1100)), ("drop", (1344, 960))):
        t = slide_tiles(open_slide(path, 0.5), "a", settings(border=border))
        assert ((t.x + t["size"]).max(), (t.y + t["size"]).max()) == ends
        assert t.x.is_monotonic_increasing is False and t.y.is_monotonic_increasing


def test_tissue_stands_where_it_is(tmp_path):
    path = picture(tmp_path / "a.png", 2400, 1200, (1400, 100, 800, 500))
    t = slide_tiles(open_slide(path, 1.0), "a", settings())
    centres = t.x + 48, t.y + 48
    assert len(t) > 20 and centres[0].between(1400, 2200).all() and centres[1].between(100, 600).all()


def test_tissue_choices(tmp_path):
    path = picture(tmp_path / "a.png", 1500, 1500, (200, 200, 900, 900))
    with open_slide(path, 1.0) as slide:
        none = slide_tiles(slide, "a", settings(tissue="none"))
        purple = slide_tiles(slide, "a", settings(tissue="purple", tissue_min=1.0))
        otsu = slide_tiles(slide, "a", settings(tissue_min=0.0))
    assert (none.tissue == 1).all() and len(none) == len(otsu) == 16**2
    assert (purple.tissue > 100 / 256).all() and 50 < len(purple) < 120
    for t in (none, purple, otsu):
        assert dict(t.dtypes) == dict(none.dtypes) and t.tissue.between(0, 1).all()


@pytest.mark.parametrize("own,wanted,size", [(0.5, 1.0, 192), (0.25, 1.0, 384), (0.499, 1.0, 192), (1.0, 0.5, 48)])
def test_window_size(tmp_path, own, wanted, size):
    path = picture(tmp_path / "a.png", 1100, 1100, (0, 0, 1100, 1100))
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        t = slide_tiles(open_slide(path, own), "a", settings(mpp=wanted))
    assert (t["size"] == size).all() and np.allclose(t.mpp, size * own / 96)
    assert bool(noted) == (wanted < own) and all("a.png" in str(n.message) for n in noted)


def test_unknown_mpp(tmp_path):
    large = open_slide(picture(tmp_path / "a.png", 1100, 300, (0, 0, 500, 300)))
    with pytest.raises(InputError, match="slide_mpp"):
        slide_tiles(large, "a", settings())
    small = slide_tiles(open_slide(picture(tmp_path / "b.png", 700, 460)), "b", settings())
    assert small[["x", "y", "size"]].values.tolist() == [[0, 0, 460], [240, 0, 460]] and small.mpp.isna().all()


def test_what_is_smaller_than_a_window_gives_one_tile(tmp_path):
    slide = open_slide(picture(tmp_path / "a.png", 150, 100, (0, 0, 50, 50)), 0.5)
    t = slide_tiles(slide, "a", settings())
    assert t[["x", "y", "size"]].values.tolist() == [[0, 0, 192]]
    pixels = slide.read(0, 0, 192, 192)
    assert (pixels[100:] == 255).all() and (pixels[:, 150:] == 255).all()


def test_bags(real):
    path = real / "breakhis_bags/benign/fibroadenoma_14134E"
    t = slide_tiles(open_slide(path), "bag", settings())
    assert len(t) == 21 and (t["size"] == 224).all() and t.mpp.isna().all() and t.tissue.between(0, 1).all()
    assert np.allclose(slide_tiles(open_slide(path, 0.5), "bag", settings()).mpp, 0.5 * 224 / 96)


def test_real_slides(real):
    rows = [("slides/CMU-1-Small-Region.svs", np.nan), ("slides/TCGA-CR-7395-01A-01-TS1_small.svs", 0.25),
            ("idc_slide/slide_14306.tif", np.nan), ("slides/broken.svs", np.nan), ("pcam/images/1.png", np.nan)]
    slides = pd.DataFrame([(p, str(real / p), m) for p, m in rows], columns=["slide_id", "path", "mpp"])
    with pytest.warns(UserWarning, match="slide_14306.tif"):
        t, failures = make_tiles(slides, settings(mpp=2.0))
    assert list(failures.slide_id) == ["slides/broken.svs"]
    assert set(t.slide_id) == set(slides.slide_id) - {"slides/broken.svs"}


def test_make_tiles(cohort, tmp_path):
    one, failures = make_tiles(cohort, settings())
    assert list(one.slide_id.unique()) == ["b", "é/a", "whole"] and list(failures.slide_id) == ["broken"]
    assert "broken.svs" in failures.error[0] and one.index.equals(pd.RangeIndex(len(one)))
    two, again = make_tiles(cohort, settings(workers=2), folder=tmp_path / "parts")
    pd.testing.assert_frame_equal(one, two)
    pd.testing.assert_frame_equal(failures, again)
    names = os.listdir(tmp_path / "parts")
    assert len(names) == 4 and all(n.endswith(".parquet") for n in names)


def test_empty(cohort):
    full, _ = make_tiles(cohort[:1], settings())
    for slides in (cohort[cohort.slide_id == "glass"], cohort[:0], cohort[cohort.slide_id == "broken"]):
        t, failures = make_tiles(slides, settings())
        assert len(t) == 0 and (t.dtypes == full.dtypes).all() and list(failures) == ["slide_id", "error"]


def test_only_what_changed_is_done_again(cohort, tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(T, "slide_tiles", lambda s, i, *a, f=T.slide_tiles: done.append(i) or f(s, i, *a))
    parts = tmp_path / "parts"
    good = cohort[cohort.slide_id != "broken"]

    def make(**changes):
        done.clear()
        return make_tiles(good, settings(tissue="purple", **changes), parts)[0], list(done)

    first, made = make()
    assert made == list(good.slide_id)
    assert make()[1] == [] and make(epochs=3)[1] == []
    again, made = make(overlap=0.5)
    assert made == list(good.slide_id) and len(again) > 2 * len(first)
    assert make()[1] == made
    picture(good.path.iloc[0], 2000, 1500)
    changed, made = make()
    assert made == ["b"] and "b" not in set(changed.slide_id)
    next(parts.glob("glass*")).write_bytes(b"half a par")
    assert make()[1] == ["glass"]


def test_a_full_disk_is_no_fault_of_a_slide(cohort, tmp_path, monkeypatch):
    def full(*a, **k):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(T.pq, "write_table", full)
    with pytest.raises(OSError, match="No space"):
        make_tiles(cohort, settings(), tmp_path / "parts")
    assert os.listdir(tmp_path / "parts") == []


@pytest.mark.parametrize("workers,how", [(1, signal.SIGINT), (2, signal.SIGINT), (2, signal.SIGKILL)])
def test_stopped_and_resumed(tmp_path, workers, how):
    rows = [(f"s{i}", picture(tmp_path / f"{i}.png", 900, 700, (0, 0, 500, 700)), 0.5) for i in range(16)]
    slides = pd.DataFrame(rows, columns=["slide_id", "path", "mpp"])
    slides.to_csv(tmp_path / "slides.csv", index=False)
    code = ("import sys, pandas as pd; from deepslide_nb.tiles import make_tiles; "
            "from deepslide_nb.settings import load_settings; "
            "make_tiles(pd.read_csv('slides.csv'), load_settings(tile_px=96, mpp=1.0, overlap=0.0, border='cover', "
            f"tissue='purple', workers={workers}), 'parts')")
    quiet = dict(stderr=subprocess.DEVNULL, start_new_session=True)
    run = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, **quiet)
    parts, end = tmp_path / "parts", time.time() + 60
    while len(list(parts.glob("s*.parquet"))) < 2 and time.time() < end:
        time.sleep(0.01)
    os.killpg(run.pid, how)
    run.wait(30)
    whole = list(parts.glob("s*.parquet"))
    assert 2 <= len(whole) <= 16
    for part in whole:
        pd.read_parquet(part)
    if how == signal.SIGINT:
        assert set(os.listdir(parts)) == {p.name for p in whole}
    resumed, _ = make_tiles(slides, settings(tissue="purple"), parts)
    assert len(resumed) > 100
    pd.testing.assert_frame_equal(resumed, make_tiles(slides, settings(tissue="purple"))[0])


@pytest.mark.parametrize("kind", ["jpeg", "deflate"])
def test_tissue_tiles_are_known_before_full_resolution_is_read(tmp_path, kind, monkeypatch):
    "Neither our reader (JPEG) nor OpenSlide (anything else) touches level 0; opening, which compares the two, is before."
    pixels = np.asarray(Image.open(picture(tmp_path / "big.png", 4800, 4800, (600, 1200, 3000, 2400))))
    with tifffile.TiffWriter(tmp_path / "big.tif") as tif:
        for k in (1, 4):
            level = np.asarray(Image.fromarray(pixels).reduce(k))
            tif.write(level, tile=(128, 128), photometric="rgb", compression=kind, subfiletype=int(k > 1),
                      resolution=(20000 / k,) * 2, resolutionunit="CENTIMETER")  # fmt: skip
    seen, stored, read = set(), TiledSlide._tile, openslide.OpenSlide.read_region
    with open_slide(tmp_path / "big.tif") as slide:
        assert len(slide.level_dimensions) == 2 and bool(slide.direct) == (kind == "jpeg")
        monkeypatch.setattr(TiledSlide, "_tile", lambda self, level, *rest: (seen.add(level), stored(self, level, *rest))[1])
        monkeypatch.setattr(openslide.OpenSlide, "read_region", lambda self, at, level, size: (seen.add(level), read(self, at, level, size))[1])
        tiles = slide_tiles(slide, "big", settings())
        assert len(tiles) > 50 and seen == {1}
        slide.read(*map(int, tiles.loc[0, ["x", "y", "size"]]), 192)
        assert seen == {0, 1}


def test_pixels(cohort):
    t, _ = make_tiles(cohort, settings())
    some = t.sample(6, random_state=0)
    pixels = read_tiles(some, cohort, 48)
    assert pixels.shape == (6, 48, 48, 3) and pixels.dtype == np.uint8
    for row, series, tile in zip(some.itertuples(), some.iloc, pixels):
        assert (read_tile(row, cohort, 48) == tile).all() and (read_tile(series, cohort, 48) == tile).all()


def test_export_stays_in_its_folder(cohort, tmp_path):
    slides = cohort[:1].assign(slide_id="../../o h/é:\\x")
    t, _ = make_tiles(slides, settings())
    out = tmp_path / "deep" / "er"
    written = export_tiles(t[:3], slides, out, 64)
    files = [p for p in out.rglob("*") if p.is_file()]
    names = sorted(p.relative_to(out).as_posix() for p in files)
    assert names == sorted([*written.file, "tiles.csv"]) and len(names) == 4
    assert list(pd.read_csv(out / "tiles.csv").slide_id.unique()) == ["../../o h/é:\\x"]
    assert Image.open(out / written.file[0]).size == (64, 64)
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", "b.png", "c.png", "glass.png", "broken.svs", "deep"}


def test_import_is_quick_and_without_torch():
    code = "import deepslide_nb.tiles, sys, time; print(time.process_time()); sys.exit('torch' in sys.modules)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    assert min(float(r.stdout) for r in runs) < 1.5


def test_class_folders_to_tiles(real):
    slides = read_slides(real / "breakhis_bags").groupby("label").head(1)
    t, failures = make_tiles(slides, settings())
    assert len(failures) == 0 and list(t.slide_id.unique()) == list(slides.slide_id)

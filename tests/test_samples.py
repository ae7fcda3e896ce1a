"The synthetic slides: the same for the same seed, whole or not there, honest truth; and downloads that are checked."
import hashlib
import http.server
import json
import threading
from functools import partial

import numpy as np
import openslide
import pandas as pd
import pytest
import shapely

from deepslide_nb import samples
from deepslide_nb.samples import (
    CLASSES,
    READERS,
    fetch,
    fill,
    make_samples,
    make_slide,
    plan_slides,
    public_slides,
    tissue_shape,
    tumour_regions,
)
from deepslide_nb.settings import InputError


def digests(folder):
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    "Three slides, one of each class, and their folder."
    folder = tmp_path_factory.mktemp("made")
    return make_samples(folder, seed=5, n_per_class=1, workers=2), folder


def test_same_seed_same_files_whatever_the_workers(made, tmp_path):
    make_samples(tmp_path, seed=5, n_per_class=1, workers=1)
    assert digests(tmp_path) == digests(made[1])


def test_another_seed_gives_other_slides():
    assert plan_slides(0, 2).share.tolist() != plan_slides(1, 2).share.tolist()
    one, other = (np.random.default_rng([s, 2, 0]) for s in (0, 1))
    assert (tissue_shape(one, (300, 300)) != tissue_shape(other, (300, 300))).any()


def test_interrupted_making_goes_on(made, tmp_path, monkeypatch):
    write, done = samples.write_slide, []

    def fails_on_the_third(path, rgb):
        if len(done) == 2:
            raise OSError(28, "No space left on device")
        done.append(path)
        write(path, rgb)

    monkeypatch.setattr(samples, "write_slide", fails_on_the_third)
    with pytest.raises(OSError):
        make_samples(tmp_path, seed=5, n_per_class=1, workers=1)
    assert not (tmp_path / "slides.csv").exists()
    assert not list(tmp_path.rglob(".part-*"))
    before = done[0].stat().st_mtime_ns
    monkeypatch.setattr(samples, "write_slide", write)
    make_samples(tmp_path, seed=5, n_per_class=1, workers=1)
    assert done[0].stat().st_mtime_ns == before
    assert digests(tmp_path) == digests(made[1])


def test_table_files_and_truth_agree(made):
    made, folder = made
    table = pd.read_csv(folder / "slides.csv")
    assert table.columns.tolist() == [
        "slide_id", "path", "label", "patient_id", "annotations", "laboratory", "artefacts", *READERS]
    assert sorted(table.label) == sorted(CLASSES)
    for s in table.itertuples():
        slide = openslide.OpenSlide(str(folder / s.path))
        assert slide.properties["openslide.mpp-x"] == "0.5"
        assert slide.level_downsamples == (1, 2, 4, 8)
        assert max(slide.dimensions) <= 2600
        if s.label == "normal":
            assert pd.isna(s.annotations)
            continue
        features = json.loads((folder / s.annotations).read_text())["features"]
        shapes = [shapely.geometry.shape(f["geometry"]) for f in features]
        assert all(p.is_valid and p.area > 0 for p in shapes)
        assert {f["properties"]["classification"]["name"] for f in features} == {s.label}
        frame = shapely.box(0, 0, *slide.dimensions)
        assert all(frame.buffer(20).covers(p) for p in shapes)


def test_tumour_is_15_to_70_percent_of_the_tissue_and_the_label_is_predominant():
    "For every tumour slide of the default set, measured on its own tissue."
    plan = plan_slides()
    for number, s in enumerate(plan.itertuples()):
        if not s.patterns:
            continue
        rng = np.random.default_rng([0, 2, number])
        shape = tuple(4 * int(v) for v in (rng.integers(190, 240), rng.integers(230, 300)))
        tissue = tissue_shape(rng, shape)
        area = dict.fromkeys(s.patterns, 0)
        for name, xy in tumour_regions(rng, tissue, s.share, s.patterns):
            assert shapely.Polygon(xy).is_valid
            area[name] += (fill([xy], shape) & tissue).sum() / tissue.sum()
        assert 0.15 <= sum(area.values()) <= 0.70, (s.slide_id, area)
        assert max(area, key=area.get) == s.label
        assert min(area.values()) > 0.04


def test_plan_is_fair():
    plan = plan_slides()
    assert plan.label.value_counts().tolist() == [14, 14, 14]
    assert (plan.groupby("label").patient_id.nunique() >= 8).all()
    assert (plan.groupby("patient_id").laboratory.nunique() == 1).all()
    labs = pd.crosstab(plan.label, plan.laboratory)
    assert (labs.A == labs.B).all()
    both = plan.groupby("patient_id").label.nunique() > 1
    assert 2 <= both.sum() < len(both) / 2
    assert (plan.patterns.str.len() == 2).sum() >= 4
    for reader, rate in READERS.items():
        assert (plan[reader] != plan.label).sum() == round(rate * len(plan))


def test_artefacts_change_the_picture():
    clean, _ = make_slide(0, 0)
    for name in samples.ARTEFACTS:
        rgb = samples.spoil(np.random.default_rng(0), clean, (name,))
        assert rgb.shape == clean.shape and (rgb != clean).any(axis=-1).mean() > 0.002, name


def test_foreign_folders_are_left_alone(tmp_path):
    (tmp_path / "slides.csv").write_text("slide_id,path,label\n")
    with pytest.raises(InputError, match="not made here"):
        make_samples(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["slides.csv"]


def test_other_seed_is_refused_and_older_look_is_replaced(made, tmp_path):
    mark = dict(version=samples.VERSION, seed=6, n_per_class=1)
    (tmp_path / "samples.json").write_text(json.dumps(mark))
    with pytest.raises(InputError, match="another seed"):
        make_samples(tmp_path, seed=5, n_per_class=1)
    (tmp_path / "samples.json").write_text(json.dumps(mark | {"seed": 5, "version": 0}))
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "sample_01.tif").write_bytes(b"old")
    (tmp_path / "slides.csv").write_text("old")
    make_samples(tmp_path, seed=5, n_per_class=1, workers=1)
    assert digests(tmp_path) == digests(made[1])


@pytest.fixture
def served(tmp_path):
    "A local web server: its address, the SHA-256 of its file `slide.bin`, and the list of its requests."
    source, asked = tmp_path / "source", []
    source.mkdir()
    (source / "slide.bin").write_bytes(b"tissue" * 1000)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(args)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=source))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", hashlib.sha256(b"tissue" * 1000).hexdigest(), asked
    server.shutdown()
    server.server_close()


def test_fetch_once_and_checked(served, tmp_path):
    address, right, asked = served
    got = fetch(f"{address}/slide.bin?size=full", right, tmp_path / "here")
    assert got.name == "slide.bin" and got.read_bytes() == b"tissue" * 1000
    n = len(asked)
    assert fetch(f"{address}/slide.bin", right, tmp_path / "here") == got and len(asked) == n


@pytest.mark.parametrize("path, digest, sentence", [
    ("slide.bin", "0" * 64, "SHA-256"),
    ("nowhere.bin", None, "cannot be downloaded"),
])
def test_fetch_refuses(served, tmp_path, path, digest, sentence):
    address, right, _ = served
    with pytest.raises(InputError, match=sentence):
        fetch(f"{address}/{path}", digest or right, tmp_path / "here")
    assert not list((tmp_path / "here").glob("*"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/slide.bin", "slide.bin", "gopher://x/slide.bin"])
def test_fetch_offline_or_nonsense_is_one_sentence(tmp_path, url):
    with pytest.raises(InputError, match=url):
        fetch(url, "0" * 64, tmp_path)


def test_registry_is_what_we_hold(real):
    table = public_slides()
    assert table.columns.tolist() == ["name", "url", "sha256", "megabytes", "licence", "what"]
    for entry in table.itertuples():
        path = real / "slides" / entry.name
        assert hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256
        assert entry.url.startswith("https://") and entry.url.endswith(entry.name)

"Prediction on tiny bags and pictures: values, resume, failures, flat memory."
import os
import signal
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from deepslide_nb import prediction
from deepslide_nb.prediction import ahead, predict_new, predict_slides, predict_tiles
from deepslide_nb.settings import InputError, load_settings
from deepslide_nb.slides import open_slide, read_slides
from deepslide_nb.tiles import make_tiles
from deepslide_nb.training import load_model, make_network, save_model

CLASSES = ["normal", "a/b_ü <x>"]


def info(mpp=None):
    settings = load_settings(tile_px=32, mpp=mpp or 1.0, labels="slide", workers=1, tissue="none").model_dump(mode="json")
    return dict(arch="resnet18", classes=CLASSES, tile_px=32, mpp=mpp, mean=[0.6] * 3, std=[0.2] * 3, settings=settings, metrics={})


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    save_model(make_network("resnet18", 2), info(), folder)
    return folder


@pytest.fixture
def bags(tmp_path):
    "Three bags of 5, 1 and 7 tiles; their slide_ids are no file names."
    rng, rows = np.random.default_rng(0), []
    for name, n in {"a/b c": 5, "a/b?c": 1, "ü" * 300: 7}.items():
        folder = tmp_path / f"bag{n}"
        folder.mkdir()
        for i in range(n):
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / f"{i}.png")
        rows.append((name, str(folder), CLASSES[n % 2]))
    pd.DataFrame(rows, columns=["slide_id", "path", "label"]).to_csv(tmp_path / "slides.csv", index=False)
    slides = read_slides(tmp_path / "slides.csv")
    tiles, _ = make_tiles(slides, load_settings(tile_px=32, workers=1))
    return slides, tiles.assign(label="normal")


def test_probabilities_are_the_networks(model_folder, bags):
    slides, tiles = bags
    model, meta = load_model(model_folder, "cpu")
    predictions, failures = predict_slides(model, meta, tiles, slides)
    assert list(predictions) == ["slide_id", "x", "y", "size", "prob_normal", "prob_a/b_ü <x>", "label"]
    assert len(predictions) == 13 and not len(failures) and (predictions["label"] == "normal").all()
    probs = predictions.filter(like="prob_").to_numpy()
    assert probs.dtype == np.float32 and np.allclose(probs.sum(1), 1, atol=1e-6)
    row = predictions.iloc[2]
    pixels = open_slide(slides["path"].iloc[0]).read(row["x"], row["y"], 32, 32)
    x = (torch.from_numpy(pixels / 255).permute(2, 0, 1)[None].float() - 0.6) / 0.2
    with torch.no_grad():
        assert np.allclose(model(x).softmax(1)[0], probs[2], atol=1e-5)


def test_batches_do_not_matter(model_folder, bags):
    slides, tiles = bags
    model, meta = load_model(model_folder, "cpu")
    one, _ = predict_slides(model, meta, tiles, slides, batch=2)
    two, _ = predict_slides(model, meta, tiles, slides, batch=64)
    pd.testing.assert_frame_equal(one, two, atol=1e-5)


def test_a_broken_slide_is_listed_and_the_others_are_done(model_folder, bags):
    slides, tiles = bags
    slides.loc[1, "path"] = "/nowhere.svs"
    predictions, failures = predict_slides(*load_model(model_folder), tiles, slides)
    assert predictions["slide_id"].nunique() == 2
    assert failures["slide_id"].tolist() == ["a/b?c"] and "/nowhere.svs" in failures["error"][0]


def test_no_tiles_give_an_empty_table(model_folder, bags, tmp_path):
    slides, tiles = bags
    some, _ = predict_slides(*load_model(model_folder), tiles, slides)
    none, failures = predict_slides(*load_model(model_folder), tiles.iloc[:0], slides, tmp_path / "parts")
    assert list(none) == list(some) and len(none) == 0 and len(failures) == 0
    assert none.dtypes.equals(some.dtypes)
    _, meta = load_model(model_folder)
    empty = predict_tiles(load_model(model_folder)[0], meta, open_slide(slides["path"].iloc[0]), tiles.iloc[:0])
    assert list(empty) == list(some) and len(empty) == 0


def test_a_killed_prediction_goes_on(model_folder, bags, tmp_path, monkeypatch):
    slides, tiles = bags
    model, meta = load_model(model_folder)
    calm, _ = predict_slides(model, meta, tiles, slides)
    done, predict = [], prediction.predict_tiles

    def dies(model, meta, slide, *rest):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(slide.path)
        return predict(model, meta, slide, *rest)

    monkeypatch.setattr(prediction, "predict_tiles", dies)
    with pytest.raises(KeyboardInterrupt):
        predict_slides(model, meta, tiles, slides, tmp_path / "parts")
    done.clear()
    again, _ = predict_slides(model, meta, tiles, slides, tmp_path / "parts")
    assert len(done) == 1
    pd.testing.assert_frame_equal(again, calm)


def test_stale_parts_are_not_believed(model_folder, bags, tmp_path):
    slides, tiles = bags
    model, meta = load_model(model_folder)
    first, _ = predict_slides(model, meta, tiles, slides, tmp_path / "parts")
    torch.manual_seed(1)
    save_model(make_network("resnet18", 2), info(), tmp_path / "other")
    other, _ = predict_slides(*load_model(tmp_path / "other"), tiles, slides, tmp_path / "parts")
    assert not np.allclose(first["prob_normal"], other["prob_normal"])
    fewer, _ = predict_slides(*load_model(tmp_path / "other"), tiles.iloc[1:], slides, tmp_path / "parts")
    assert len(fewer) == 12
    for part in (tmp_path / "parts").iterdir():
        part.write_bytes(b"half")
    back, _ = predict_slides(*load_model(tmp_path / "other"), tiles, slides, tmp_path / "parts")
    pd.testing.assert_frame_equal(back, other)


def test_disk_full_is_not_the_slides_fault(model_folder, bags, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    slides, tiles = bags
    monkeypatch.setattr(prediction.pq, "write_table", full)
    with pytest.raises(OSError, match="No space"):
        predict_slides(*load_model(model_folder), tiles, slides, tmp_path / "parts")
    assert not list((tmp_path / "parts").iterdir())


def test_a_new_bag_and_a_new_slide(model_folder, bags, tmp_path):
    slides, _ = bags
    assert len(predict_new(model_folder, slides["path"].iloc[0])) == 5
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (1200, 1500, 3), dtype=np.uint8)).save(tmp_path / "new slide.png")
    with pytest.raises(InputError, match="images of unknown scale"):
        predict_new(model_folder, tmp_path / "new slide.png", slide_mpp=1.0)
    save_model(make_network("resnet18", 2), info(mpp=8.0), tmp_path / "scaled")
    with pytest.raises(InputError, match="microns per pixel"):
        predict_new(tmp_path / "scaled", tmp_path / "new slide.png")
    predictions = predict_new(tmp_path / "scaled", tmp_path / "new slide.png", slide_mpp=2.0)
    assert (predictions["size"] == 128).all() and predictions["label"].isna().all()
    assert (predictions["slide_id"] == "new slide").all()


def test_ahead_keeps_order_and_passes_errors_on():
    assert list(ahead(lambda i: i * i, range(5))) == [0, 1, 4, 9, 16] and list(ahead(str, [])) == []
    got = []
    with pytest.raises(ZeroDivisionError):
        for value in ahead(lambda i: 1 / i, [2, 1, 0, 5]):
            got.append(value)
    assert got == [0.5, 1.0]


def test_memory_does_not_grow_with_the_slide(bags):
    class Endless:
        def read(self, x, y, size, px):
            return np.zeros((px, px, 3), np.uint8)

    class Half(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return torch.zeros(len(x), 2)

    def peak(n):
        tiles = pd.DataFrame({"slide_id": "s", "x": range(n), "y": 0, "size": 32})
        tracemalloc.start()
        predict_tiles(Half(), {**info(), "tile_px": 64}, Endless(), tiles)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(64)
    assert peak(6400) < peak(640) + 2e6


def test_a_cluster_gives_the_same_table_though_a_worker_dies(model_folder, bags, tmp_path):
    distributed = pytest.importorskip("distributed")
    slides, tiles = bags
    slides.loc[1, "path"] = "/nowhere.svs"
    model, meta = load_model(model_folder, "cpu")
    calm, failed = predict_slides(model, meta, tiles, slides)
    with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster, distributed.Client(cluster) as client:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(prediction, "predict_there", die_once)
            there, errors = predict_slides(model, meta, tiles, slides, tmp_path / "parts", client=client)
    pd.testing.assert_frame_equal(there, calm, check_exact=True)
    pd.testing.assert_frame_equal(errors, failed)
    assert (tmp_path / "parts" / "died").exists() and len(list((tmp_path / "parts").glob("*.parquet"))) == 2


def die_once(model, meta, path, mpp, tiles, batch):
    "`predict_there`, but the first worker that gets the last slide is killed."
    mark = Path(path).parent / "parts" / "died"
    if len(tiles) == 7 and not mark.exists():
        mark.parent.mkdir(exist_ok=True)
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return prediction.predict_one(model, meta, path, mpp, tiles, batch)


def test_threads_do_not_matter(model_folder, bags, monkeypatch):
    slides, tiles = bags
    model, meta = load_model(model_folder, "cpu")
    tables = []
    for n in "1", "3":
        monkeypatch.setenv("OMP_NUM_THREADS", n)
        tables.append(predict_slides(model, meta, tiles, slides, batch=2)[0])
    pd.testing.assert_frame_equal(*tables, check_exact=True)

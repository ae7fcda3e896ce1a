"Training on tiny bags: exact resume after a real kill, best epoch, recipes, saved models."
import json
import os
import signal
import subprocess
import sys
import time
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.optimizer import OptimWrapper
from PIL import Image
from safetensors.torch import load_file

from deepslide_nb import training
from deepslide_nb.annotations import label_tiles
from deepslide_nb.datasets import split_slides, tile_loaders
from deepslide_nb.settings import InputError, load_settings
from deepslide_nb.slides import read_slides
from deepslide_nb.tiles import make_tiles
from deepslide_nb.training import find_lr, load_model, make_learner, make_network, save_model, train

CLASSES = ["normal", "a/b_ü <x>"]
META = dict(arch="resnet18", classes=CLASSES, tile_px=32, mpp=None, mean=[0.5] * 3, std=[0.2] * 3, settings={}, metrics={})


def make_bags(folder):
    "slides.csv of twelve bags of six 32 px tiles, two classes."
    rng, rows = np.random.default_rng(0), []
    for c, name in enumerate(CLASSES):
        for p in range(6):
            (folder / f"{c}{p}").mkdir(parents=True)
            for i in range(6):
                pixels = rng.normal(150, 40, (32, 32, 3)) + np.eye(3)[c] * 40
                Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(folder / f"{c}{p}" / f"{i}.png")
            rows.append((f"{name} {p}", f"{c}{p}", name, f"P{c}{p}"))
    pd.DataFrame(rows, columns=["slide_id", "path", "label", "patient_id"]).to_csv(folder / "slides.csv", index=False)


def inputs(folder, **changes):
    "What `train` takes, from a folder of `make_bags`."
    settings = load_settings(**{"tile_px": 32, "batch": 8, "labels": "slide", "workers": 1, "epochs": 4, "tiles_per_slide": 0,
                                "lr": 0.003, **changes})
    slides = split_slides(read_slides(folder / "slides.csv"))
    tiles, _ = make_tiles(slides, settings)
    return label_tiles(tiles, slides, "slide"), slides, CLASSES, settings


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bags")
    make_bags(folder)
    return folder


def same(a, b):
    a, b = load_file(a / "weights.safetensors"), load_file(b / "weights.safetensors")
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def log(folder):
    return pd.read_csv(folder / "log.csv").drop(columns="seconds")


# ---------------------------------------------------------------- resume

KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_training import inputs
from deepslide_nb import training
after_batch = training.Keeper.after_batch
def die(self):
    after_batch(self)
    if self.training and self.epoch == {epoch} and len(self.losses) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
training.Keeper.after_batch = die
training.train(*inputs(Path({bags!r}), recipe={recipe!r}), Path({out!r}))
"""


@pytest.mark.parametrize("recipe,epoch", [("one_cycle", 2), ("deepslide", 1)])
def test_a_killed_training_ends_in_the_same_weights(bags, tmp_path, recipe, epoch):
    out, calm = tmp_path / "killed", tmp_path / "calm"
    code = KILLED.format(tests=os.path.dirname(__file__), bags=str(bags), out=str(out), recipe=recipe, epoch=epoch)
    # the same number of threads as here: sums in another order are other sums
    env = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (out / "checkpoint.pt").exists() and not (out / "model.json").exists()
    assert len(log(out)) == epoch
    train(*inputs(bags, recipe=recipe), out)
    train(*inputs(bags, recipe=recipe), calm)
    assert same(out, calm)
    pd.testing.assert_frame_equal(log(out), log(calm))
    assert not (out / "checkpoint.pt").exists() and not list(out.glob(".part-*"))


def test_a_kill_between_weights_and_checkpoint_changes_nothing(bags, tmp_path, monkeypatch):
    out, calm = tmp_path / "killed", tmp_path / "calm"

    def stop(*args):
        raise KeyboardInterrupt

    save = torch.save
    monkeypatch.setattr(torch, "save", lambda state, f: stop() if len(state["rows"]) == 2 else save(state, f))
    with pytest.raises(KeyboardInterrupt):
        train(*inputs(bags, epochs=3), out)
    monkeypatch.undo()
    train(*inputs(bags, epochs=3), out)
    train(*inputs(bags, epochs=3), calm)
    assert same(out, calm)


def test_a_finished_training_is_not_done_again_but_another_is(bags, tmp_path):
    train(*inputs(bags, epochs=1), tmp_path)
    first = (tmp_path / "weights.safetensors").stat().st_mtime_ns
    train(*inputs(bags, epochs=1), tmp_path)
    assert (tmp_path / "weights.safetensors").stat().st_mtime_ns == first
    _, meta = train(*inputs(bags, epochs=1, seed=7), tmp_path)
    assert (tmp_path / "weights.safetensors").stat().st_mtime_ns > first and meta["settings"]["seed"] == 7


def test_disk_full_leaves_no_model(bags, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training, "save_file", full)
    with pytest.raises(OSError, match="No space"):
        train(*inputs(bags, epochs=1), tmp_path)
    assert {p.name for p in tmp_path.iterdir()} <= {"stats.json"}


# ---------------------------------------------------------------- recipes


def test_best_epoch_is_the_one_saved(bags, tmp_path, monkeypatch):
    scores = iter([0.5, 0.9, 0.9, 0.7])
    kept, after = {}, training.Keeper.save

    def save(self):
        self.rows[-1]["balanced_accuracy"], self.rows[-1]["valid_loss"] = next(scores), 1.0
        kept[self.epoch] = {k: v.clone() for k, v in self.model.state_dict().items()}
        after(self)

    monkeypatch.setattr(training.Keeper, "save", save)
    model, meta = train(*inputs(bags), tmp_path)
    assert meta["metrics"]["epoch"] == 1
    assert all(torch.equal(v, kept[1][k]) for k, v in model.state_dict().items())


def test_patience_stops_and_resume_knows_it(bags, tmp_path, monkeypatch):
    after = training.Keeper.save

    def save(self):
        self.rows[-1]["balanced_accuracy"] = 0.9 - 0.1 * self.epoch
        after(self)

    monkeypatch.setattr(training.Keeper, "save", save)
    monkeypatch.setattr(training, "save_info", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(*inputs(bags, patience=2), tmp_path)
    assert len(log(tmp_path)) == 3
    monkeypatch.undo()
    _, meta = train(*inputs(bags, patience=2), tmp_path)
    assert len(log(tmp_path)) == 3 and meta["metrics"]["epoch"] == 0


def test_without_validation_the_last_epoch_is_kept(bags, tmp_path):
    tiles, slides, classes, settings = inputs(bags, epochs=2)
    slides = slides.assign(split=slides["split"].replace("valid", "train"))
    _, meta = train(tiles, slides, classes, settings, tmp_path)
    assert meta["metrics"]["epoch"] == 1 and meta["metrics"]["accuracy"] is None


def test_deepslide_recipe(bags, tmp_path):
    tiles, slides, classes, settings = inputs(bags, recipe="deepslide", lr=0.001, epochs=3)
    dls = tile_loaders(tiles, slides, classes, settings)
    assert next(t for t in dls.train.after_batch.fs if hasattr(t, "jitter")).jitter == (0.5, 0.5, 0.5, 0.2)
    learn = make_learner(dls, settings)
    learn.create_opt()
    assert isinstance(learn.opt, OptimWrapper) and type(learn.opt.opt) is torch.optim.Adam and learn.wd == 1e-4
    train(tiles, slides, classes, settings, tmp_path)
    assert np.allclose(log(tmp_path)["lr"], [1e-3, 0.85e-3, 0.85**2 * 1e-3])


def test_one_cycle_recipe_ends_near_zero(bags, tmp_path):
    train(*inputs(bags, epochs=3), tmp_path)
    rates = log(tmp_path)["lr"]
    assert rates.max() <= 0.003 and rates.iloc[-1] < 1.5e-4


def test_lr_find_leaves_the_training_alone(bags, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPSLIDE_FAST", "1")
    tiles, slides, classes, settings = inputs(bags, lr="find", epochs=1)
    lr, learn = find_lr(tile_loaders(tiles, slides, classes, settings), settings)
    assert 1e-7 < lr < 10 and len(learn.recorder.lrs) > 20
    _, meta = train(tiles, slides, classes, settings, tmp_path / "a")
    train(tiles, slides, classes, settings.model_copy(update={"lr": lr}), tmp_path / "b")
    assert same(tmp_path / "a", tmp_path / "b")


def test_loss_weights_reach_the_loss(bags):
    tiles, slides, classes, settings = inputs(bags, balance="weights")
    few = slides.loc[(slides["label"] == "normal") & (slides["split"] == "train"), "slide_id"].iloc[1:]
    dls = tile_loaders(tiles[~tiles["slide_id"].isin(few)], slides, classes, settings)
    weight = make_learner(dls, settings).loss_func.func.weight
    assert weight[0] / weight[1] == pytest.approx(len(few) + 1)


# ---------------------------------------------------------------- models


@pytest.mark.parametrize("arch,features", [("resnet18", 512), ("resnet34", 512), ("resnet50", 2048), ("resnet101", 2048), ("resnet152", 2048)])
def test_networks_by_name(arch, features):
    assert make_network(arch, 5).fc.weight.shape == (5, features)


def test_imagenet_weights_offline(monkeypatch, tmp_path):
    def offline(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"ImageNet weights of resnet18 .*bring https://.*pth here as .*weights = random"):
        make_network("resnet18", 2, "imagenet")


def test_a_saved_model_comes_back(tmp_path):
    model = make_network("resnet18", 2).eval()
    save_model(model, META, tmp_path)
    back, meta = load_model(tmp_path, "cpu")
    x = torch.rand(2, 3, 32, 32)
    assert torch.allclose(model(x), back(x), atol=1e-5) and not back.training
    assert meta["classes"] == CLASSES and meta["mpp"] is None and meta["weights_sha256"]
    assert {p.name for p in tmp_path.iterdir()} == {"weights.safetensors", "model.json"}


@pytest.mark.parametrize(
    "change,message",
    [
        ({"arch": "resnet19"}, "arch"),
        ({"arch": "__import__('os')"}, "arch"),
        ({"classes": ["a"]}, "classes"),
        ({"classes": ["a", "a"]}, "a name stands there twice"),
        ({"classes": ["a", "b", "c"]}, "weights cannot be read"),
        ({"std": [0.1, 0.0, 0.1]}, "std"),
        ({"mean": [float("nan")] * 3}, "mean"),
        ({"mean": None}, "mean"),
        ({"tile_px": "../x"}, "tile_px"),
        ({"weights_sha256": "0"}, "not the weights that model.json was written for"),
    ],
)
def test_a_wrong_model_file_is_refused(tmp_path, change, message):
    save_model(make_network("resnet18", 2), META, tmp_path)
    info = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**info, **change}))
    with pytest.raises(InputError, match=message):
        load_model(tmp_path)


def test_a_damaged_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="no model here"):
        load_model(tmp_path / "nowhere")
    save_model(make_network("resnet18", 2), META, tmp_path)
    for text in ("", "[]", "{", "null"):
        (tmp_path / "broken").mkdir(exist_ok=True)
        (tmp_path / "broken" / "model.json").write_text(text)
        with pytest.raises(InputError, match="model.json"):
            load_model(tmp_path / "broken")
    (tmp_path / "weights.safetensors").unlink()
    with pytest.raises(InputError, match="weights cannot be read"):
        load_model(tmp_path)

"A Dask cluster of two processes: the same tables as without one, also when a worker is killed while it works."
import os
import subprocess
import sys
import threading
import warnings

import numpy as np
import pandas as pd
import psutil
import pytest

from deepslide_nb.settings import load_settings
from deepslide_nb.slides import read_table
from deepslide_nb.tiles import each, make_tiles, sample_tiles
from lab import wait_for

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def cluster():
    options = dict(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    with distributed.LocalCluster(**options) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        yield client


class Killer(threading.Thread):
    "Kills the first worker that has tasks after some were done, as `kill -9` does; `.held` is what it had to do."

    def __init__(self, client, cluster, prefix):
        super().__init__(daemon=True)
        self.pids, self.workers, self.tasks = client.run(os.getpid), cluster.scheduler.workers, cluster.scheduler.tasks
        self.prefix, self.held = prefix, []

    def busy(self):
        mine = [t for t in list(self.tasks.values()) if str(t.key).startswith(self.prefix)]
        if not any(t.state == "memory" for t in mine):
            return None
        held = {w.address: [t.key for t in list(w.processing) if t in mine] for w in list(self.workers.values())}
        return next(((a, keys) for a, keys in held.items() if keys and a in self.pids), None)

    def run(self):
        address, self.held = wait_for(self.busy, 60, "a worker with work")
        psutil.Process(self.pids[address]).kill()

    def check(self, cluster):
        "The scheduler saw a worker go that had work, and that work was done after all."
        self.join(60)
        lost = [e for _, e in cluster.scheduler.get_events("all") if isinstance(e, dict) and e.get("action") == "remove-worker"]
        assert self.held and any(set(map(str, self.held)) & set(map(str, e["processing-tasks"])) for e in lost), (self.held, lost)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    "A network of random weights, saved."
    import torch

    from deepslide_nb.training import load_model, make_network, save_model

    torch.manual_seed(0)
    about = {"arch": "resnet18", "classes": ["a", "b"], "tile_px": 96, "mpp": 1.0, "mean": [0.7, 0.5, 0.7], "std": [0.2] * 3,
             "settings": load_settings().model_dump(mode="json"), "metrics": {}}  # fmt: skip
    folder = tmp_path_factory.mktemp("model")
    save_model(make_network("resnet18", 2), about, folder)
    return load_model(folder, "cpu")


def test_tiles_of_the_samples_when_a_worker_is_killed(client, cluster):
    slides, here = sample_tiles()
    killer = Killer(client, cluster, "_tile_one")
    killer.start()
    there, failures = make_tiles(slides, load_settings(), client=client)
    killer.check(cluster)
    assert len(failures) == 0
    pd.testing.assert_frame_equal(there, here, check_exact=True)


def test_predictions_of_the_samples_when_a_worker_is_killed(client, cluster, model):
    from deepslide_nb.prediction import predict_slides

    slides, tiles = sample_tiles()
    gone = slides.iloc[:1].assign(slide_id="gone", path="/no/such/file.svs")
    more = pd.concat([gone, slides], ignore_index=True)
    tiles = pd.concat([tiles[tiles.slide_id == slides.slide_id[0]].assign(slide_id="gone"), tiles], ignore_index=True)
    here, failed = predict_slides(*model, tiles, more)
    killer = Killer(client, cluster, "predict_there")
    killer.start()
    there, failures = predict_slides(*model, tiles, more, client=client)
    killer.check(cluster)
    assert list(failures.slide_id) == list(failed.slide_id) == ["gone"] and "no such file" in failures.error[0].lower()
    pd.testing.assert_frame_equal(there, here, check_exact=True)


@pytest.mark.parametrize("kept", [True, False])
def test_features_when_a_worker_is_killed(client, cluster, model, kept, tmp_path):
    from deepslide_nb.attention import bag_features

    slides, tiles = sample_tiles()
    here, _ = bag_features(*model, tiles, slides[:16])
    killer = Killer(client, cluster, "_bag_there")
    killer.start()
    there, failures = bag_features(*model, tiles, slides[:16], tmp_path if kept else None, client)
    killer.check(cluster)
    assert len(failures) == 0 and list(here) == list(there)
    assert all(np.array_equal(here[i], there[i]) for i in here)
    assert len(list(tmp_path.iterdir())) == (16 if kept else 0)


def test_slides_that_fail_are_reported(client, tmp_path):
    slides, here = sample_tiles()
    (tmp_path / "broken.svs").write_bytes(b"not a slide")
    bad = pd.DataFrame({"slide_id": ["broken"], "path": [str(tmp_path / "broken.svs")], "mpp": [np.nan]})
    mixed = pd.concat([slides[:2], bad, slides[2:3]], ignore_index=True)
    tiles, failures = make_tiles(mixed, load_settings(), tmp_path / "parts", client)
    assert list(failures.slide_id) == ["broken"] and "broken.svs" in failures.error[0]
    wanted = here[here.slide_id.isin(slides.slide_id[:3])]
    pd.testing.assert_frame_equal(tiles, wanted.reset_index(drop=True), check_exact=True)
    assert len(list((tmp_path / "parts").iterdir())) == 3


def die_of_two(number):
    if number == 2:
        os._exit(1)
    return number


def test_a_job_that_kills_every_worker_gives_none(client, cluster, monkeypatch):
    """The others are done, though the first death is blamed on every job that the worker had.

    The function travels by value, since new workers do not know this file."""
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    cloudpickle = pytest.importorskip("cloudpickle")
    here = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(here)
    try:
        assert list(each(die_of_two, [(1,), (2,), (3,)], client=client)) == [1, None, 3]
    finally:
        cloudpickle.unregister_pickle_by_value(here)


def cli(*args):
    command = [sys.executable, "-c", "from deepslide_nb.cli import app; app()", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_command_line(client, cluster, tiny, tiny_run, tmp_path):
    "`predict --dask` gives what it gives without, and the cluster did it."
    from deepslide_nb.pipeline import predict

    before = {key for key, *_ in cluster.scheduler.transition_log}
    done = cli("predict", tiny_run, tiny, "--out", tmp_path / "there", "--dask", cluster.scheduler_address)
    assert done.returncode == 0, done.stderr
    predict(tiny_run, tiny, tmp_path / "here", workers=1)
    for name in ("tiles.parquet", "predictions.parquet", "slide_predictions.csv"):
        one, two = (read_table(tmp_path / side / name) for side in ("here", "there"))
        pd.testing.assert_frame_equal(one, two, check_exact=True)
    new = {key for key, *_ in cluster.scheduler.transition_log} - before
    assert {"_tile_one", "predict_there"} <= {str(key).rsplit("-", 5)[0] for key in new}


def test_nothing_listens(tmp_path):
    done = cli("run", tmp_path, "--out", tmp_path / "out", "--dask", "tcp://127.0.0.1:9")
    assert done.returncode == 1 and "no Dask scheduler answers" in done.stderr and len(done.stderr.splitlines()) == 1


def test_run(client, tiny, tiny_run, tiny_settings, tmp_path):
    from deepslide_nb.pipeline import run

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(tiny, tmp_path / "run", tiny_settings, client=client)
    for name in ("tiles.parquet", "predictions.parquet", "slide_predictions.csv"):
        one, two = (read_table(folder / name) for folder in (tiny_run, tmp_path / "run"))
        pd.testing.assert_frame_equal(one, two, check_exact=True)

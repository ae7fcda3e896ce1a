"Two CPU processes train together, as `accelerate launch` starts them."
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import TINY
from test_training import inputs, make_bags

from deepslide_nb.training import load_model

pytest.importorskip("accelerate")

LAUNCH = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
          "--main_process_port", "0"]  # fmt: skip
TRAIN = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_training import inputs
from deepslide_nb import training
rank, seen = os.environ["RANK"], []
after_batch, save_weights = training.Keeper.after_batch, training.save_weights
def note(self):
    after_batch(self)
    if self.training:
        seen.append([self.epoch, len(self.yb[0])])
training.Keeper.after_batch = note
def save(*args):
    assert rank == "0", "two write"
    save_weights(*args)
training.save_weights = save
model, meta = training.train(*inputs(Path({bags!r}), epochs=3, batch=4), Path({out!r}))
weights = float(sum(v.double().abs().sum() for v in model.state_dict().values()))
Path({out!r}, f"seen{{rank}}.json").write_text(json.dumps([seen, weights]))
"""


def launch(code, folder):
    "Run a program in two processes by `accelerate launch`."
    program = folder / "program.py"
    program.write_text(code)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.run([sys.executable, "-m", "accelerate.commands.launch", *LAUNCH, str(program)], env=env, capture_output=True, text=True, timeout=300)


def test_two_processes_share_the_tiles_and_write_once(tmp_path):
    make_bags(tmp_path)
    out = tmp_path / "model"
    done = launch(TRAIN.format(tests=os.path.dirname(__file__), bags=str(tmp_path), out=str(out)), tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    (seen, weights), (other, same) = (json.loads((out / f"seen{r}.json").read_text()) for r in (0, 1))
    tiles, slides, _, _ = inputs(tmp_path)
    n = tiles["slide_id"].isin(slides.loc[slides["split"] == "train", "slide_id"]).sum()
    assert seen == other and weights == same
    for epoch in range(3):
        assert sum(k for e, k in seen if e == epoch) == n // 2 // 4 * 4, "each sees half of the tiles, in whole batches"
    log = pd.read_csv(out / "log.csv")
    assert log["epoch"].tolist() == [0, 1, 2] and np.isfinite(log[["train_loss", "valid_loss"]]).all().all()
    _, meta = load_model(out, "cpu")
    assert meta["metrics"]["epoch"] in (0, 1, 2)
    assert {p.name for p in Path(out).glob("*") if "seen" not in p.name} == {"weights.safetensors", "model.json", "log.csv", "stats.json"}


def launch_run(slides, out, *more):
    "`deepslide-nb run` in two processes."
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    sets = [a for k, v in TINY.items() for a in ("--set", f"{k}={v}")]
    command = [sys.executable, "-m", "accelerate.commands.launch", *LAUNCH, "-m", "deepslide_nb.cli", "run", str(slides), "--out", str(out)]
    return subprocess.run([*command, *sets, *more], env=env, capture_output=True, text=True, timeout=300)


def test_a_whole_run_in_two_processes(tiny, tmp_path):
    "The second one only trains: one result, one log; what is unchanged, or wrong, keeps nobody waiting."
    out = tmp_path / "run"
    attend = ["--set", "aggregation=average,attention"]
    done = launch_run(tiny, out, *attend)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("Report: ") == 1 and (out / "report.html").is_file()
    assert pd.read_csv(out / "model/log.csv")["epoch"].tolist() == [0, 1]
    assert len(pd.read_parquet(out / "predictions.parquet")) and not list(out.glob("work/train-*"))
    done = launch_run(tiny, out, "--resume", *attend)
    assert done.returncode == 0 and "train: unchanged" in done.stderr and done.stdout.count("Report: ") == 1
    done = launch_run(tmp_path / "nothing", tmp_path / "other")
    assert done.returncode == 1 and done.stderr.count("no such file") == 1

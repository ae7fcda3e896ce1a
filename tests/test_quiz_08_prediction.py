"The answers of the prediction quiz, computed."
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from quizzes import right
from sklearn.metrics import balanced_accuracy_score

from deepslide_nb import prediction
from deepslide_nb.prediction import part_key, predict_slides
from deepslide_nb.tiles import window_size, windows


def test_gigabytes():  # question 1
    xs, _ = windows((80_000, 60_000), 224, border="drop")
    assert right("08_prediction", 1) == [round(0.3 * len(xs) * 224**2 * 3 * 4 / 1e9)]


def test_window():  # question 3
    assert right("08_prediction", 3) == [window_size(SimpleNamespace(mpp=0.25, path="new.svs"), 96, 1.0)]


def test_fingerprint():  # question 4
    tiles = pd.DataFrame({"slide_id": "s", "x": [0, 192], "y": 0, "size": 192, "label": ["normal", "solid"]})
    key = part_key({"weights_sha256": "a"}, tiles, "s.svs")
    changed = [
        part_key({"weights_sha256": "b"}, tiles, "s.svs"),
        part_key({"weights_sha256": "a"}, tiles.assign(x=[0, 96]), "s.svs"),
        part_key({"weights_sha256": "a"}, tiles.assign(label="normal"), "s.svs"),
    ]
    assert key not in changed and len(right("08_prediction", 4)) == len(changed)
    assert not set(part_key.__code__.co_varnames) & {"batch", "cores"}


def test_slides_tried_again(tmp_path, monkeypatch):  # question 5
    slides = pd.DataFrame({"slide_id": list("12345678"), "path": list("12345678")})
    tiles = pd.DataFrame({"slide_id": slides["slide_id"], "x": 0, "y": 0, "size": 96})
    meta, tried, killed = {"weights_sha256": "w", "classes": ["a", "b"]}, [], True

    def predict_one(model, meta, path, mpp, own, batch, told):
        tried.append(path)
        if killed and path in "678":
            raise KeyboardInterrupt
        table = own.assign(prob_a=0.5, prob_b=0.5, label=None)
        return (None, "damaged") if path == "3" else (table, None)

    monkeypatch.setattr(prediction, "predict_one", predict_one)
    with pytest.raises(KeyboardInterrupt):
        predict_slides(None, meta, tiles, slides, tmp_path)
    tried.clear()
    killed = False
    _, failures = predict_slides(None, meta, tiles, slides, tmp_path)
    assert failures["slide_id"].tolist() == ["3"]
    assert right("08_prediction", 5) == [len(tried)]


def test_balanced_accuracy():  # question 6
    counts = np.array([[10, 10, 0], [5, 90, 5], [0, 4, 16]])
    truth, predicted = (np.repeat(i.ravel(), counts.ravel()) for i in np.indices(counts.shape))
    assert right("08_prediction", 6) == [round(100 * balanced_accuracy_score(truth, predicted))]

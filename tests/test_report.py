"The judgement and the page that is made from a run's folder."
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from deepslide_nb.report import judge, judged_slides, read_table, report_content, save_maps
from deepslide_nb.settings import InputError


def slide_table(splits, label="busy"):
    return pd.DataFrame({"slide_id": [f"s{i}" for i in range(len(splits))], "label": label, "split": splits})


def test_judged_on_the_best_there_is():
    assert judged_slides(slide_table(["train", "valid", "test"]))[0] == "test"
    assert judged_slides(slide_table(["train", "valid"]))[0] == "valid"
    assert judged_slides(slide_table(["train"]))[0] == "train"
    assert judged_slides(slide_table([None]))[0] == "all"


def test_the_judgement_says_what_limits_it():
    slides = slide_table(["valid", "valid"])
    by_slide = pd.DataFrame({"slide_id": ["s0", "s1"], "method": "average", "predicted": ["busy", None], "prob_busy": [0.9, np.nan],
                             "prob_calm": [0.1, np.nan], "n_tiles": [3, 0], "label": "busy"})  # fmt: skip
    tiles = pd.DataFrame({"slide_id": ["s0"], "x": 0, "y": 0, "size": 32, "prob_busy": 0.9, "prob_calm": 0.1, "label": "busy"})
    found = judge(tiles, by_slide, slides)
    assert found["slides"]["average"]["accuracy"] == 0.5
    text = " ".join(found["notes"])
    assert "no test slides" in text and "no AUC" in text and "no evidence" in text
    unknown = judge(tiles, by_slide, slides.assign(label=None))
    assert unknown["slides"] == {} and "no labels" in unknown["notes"][-1]
    json.dumps(found, allow_nan=False)


# ------------------------------------------------------------------ the report


class Reader(HTMLParser):
    "Collects the tags of a page."

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_report_stands_alone(tiny_run):
    text = (tiny_run / "report.html").read_text(encoding="utf-8")
    tags = Reader(text).tags
    assert not [t for t, _ in tags if t in ("script", "link", "iframe", "object")]
    sources = [a["src"] for t, a in tags if t == "img"]
    assert len(sources) > 20 and all(s.startswith("data:image/png;base64,") for s in sources)
    assert all(a["href"].startswith("#") for t, a in tags if t == "a")
    assert not re.search(r"url\(|@import|https?://", text)


def test_report_is_accessible(tiny_run):
    tags = Reader((tiny_run / "report.html").read_text(encoding="utf-8")).tags
    assert all(a.get("alt") for t, a in tags if t == "img")
    assert [t for t, _ in tags].count("h1") == 1
    assert all(a.get("scope") in ("col", "row") for t, a in tags if t == "th")
    assert ("html", {"lang": "en"}) in tags
    ids = {a["id"] for _, a in tags if "id" in a}
    assert {a["href"][1:] for t, a in tags if t == "a"} <= ids


def test_report_tells_what_it_must(tiny_run):
    content = report_content(tiny_run)
    assert [c["name"] for c in content["cards"]] == ["Slide accuracy", "Slide balanced accuracy", "Slide AUC", "Tile accuracy"]
    assert all("n = " in c["detail"] or " of 4 " in c["detail"] for c in content["cards"])
    assert len(content["overlays"]) + len(content["small_slides"]) == 4
    text = (tiny_run / "report.html").read_text(encoding="utf-8")
    for words in ("Not for diagnosis", "tissue_min", "Python", "Sample tiles", "By class", "prefers-color-scheme"):
        assert words in text


def test_maps_of_tiles_follow_the_class(tiny_run, tmp_path):
    tiles = read_table(tiny_run / "predictions.parquet").head(2)
    slides, chosen = read_table(tiny_run / "slides.csv"), [tiles.assign(predicted=c) for c in ("busy", "calm")]
    names = [save_maps(c, slides, tiny_run / "model", tmp_path, stem) for c, stem in zip(chosen, ("b", "c"))]
    assert names == [["b-00.png", "b-01.png"], ["c-00.png", "c-01.png"]]
    busy, calm = (np.asarray(Image.open(tmp_path / n[0])) for n in names)
    assert busy.shape == (128, 128, 3) and (busy != calm).any()


def test_report_of_nothing(tmp_path):
    with pytest.raises(InputError, match="no slides.csv"):
        report_content(tmp_path)



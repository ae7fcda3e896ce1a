"The pipeline from slides to report, on a tiny synthetic set and on real input where there is some."
import json

import numpy as np
import pandas as pd
import pytest
from conftest import EVERY

from deepslide_nb.pipeline import check, evaluate, find_slides, fingerprint, predict, run, step
from deepslide_nb.report import read_stamps
from deepslide_nb.slides import read_table, write_table
from deepslide_nb.settings import InputError


def redone(out, path, settings, before):
    "The steps that a resumed run does again."
    run(path, out, settings, resume=True)
    after = read_stamps(out)
    return [name for name in after if after[name] != before[name]]


def test_run_folder_is_complete(tiny_run):
    names = {p.relative_to(tiny_run).as_posix() for p in tiny_run.rglob("*")}
    assert names >= {
        "settings.json", "slides.csv", "tiles.parquet", "splits.csv", "model", "model/model.json", "model/weights.safetensors",
        "predictions.parquet", "slide_predictions.csv", "metrics.json", "failures.csv", "figures", "report.html",
    }  # fmt: skip
    assert not [n for n in names if ".part-" in n]


def test_tables_keep_the_contract(tiny_run):
    slides, tiles = read_table(tiny_run / "slides.csv"), read_table(tiny_run / "tiles.parquet")
    predictions, by_slide = read_table(tiny_run / "predictions.parquet"), read_table(tiny_run / "slide_predictions.csv")
    assert tiles.columns.tolist() == ["slide_id", "x", "y", "size", "mpp", "tissue", "label", "label_source"]
    assert predictions.columns.tolist() == ["slide_id", "x", "y", "size", "prob_busy", "prob_calm", "label"]
    assert by_slide.columns.tolist() == ["slide_id", "method", "predicted", "prob_busy", "prob_calm", "n_tiles", "label", "minor"]
    judged = slides[slides.split != "train"]
    assert set(by_slide.slide_id) == set(predictions.slide_id) == set(judged.slide_id)
    assert len(by_slide) == 2 * len(judged)
    np.testing.assert_allclose(predictions[["prob_busy", "prob_calm"]].sum(axis=1), 1, atol=1e-5)
    assert not slides.groupby("patient_id").split.nunique().gt(1).any()


def test_it_learns(tiny_run):
    metrics = json.loads((tiny_run / "metrics.json").read_text())
    assert metrics["split"] == "test" and metrics["slides"]["average"]["n"] == 4
    assert metrics["slides"]["average"]["accuracy"] == 1 and metrics["tiles"]["accuracy"] > 0.9


def test_only_what_depends_is_redone(tiny, tiny_settings, tmp_path):
    out = tmp_path / "run"
    base = tiny_settings.model_copy(update={"epochs": 1})
    run(tiny, out, base)
    first = read_stamps(out)
    assert redone(out, tiny, base, first) == []
    # workers and a moved-on clock change nothing but the printed settings
    assert redone(out, tiny, base.model_copy(update={"workers": 2}), first) == ["report"]
    run(tiny, out, base, resume=True)
    second = read_stamps(out)
    majority = redone(out, tiny, base.model_copy(update={"aggregation": ("majority",)}), second)
    assert majority == ["aggregate", "evaluate", "figures", "report"]
    # the labels of these tiles are the slides' own, so that the new table equals the old one: nothing after it is redone
    run(tiny, out, base, resume=True)
    third = read_stamps(out)
    assert redone(out, tiny, base.model_copy(update={"region_min": 0.4}), third) == ["labels", "report"]
    longer = redone(out, tiny, base.model_copy(update={"epochs": 2}), read_stamps(out))
    assert longer[0] in ("labels", "train") and "train" in longer and "predict" in longer and "tiles" not in longer


def test_a_result_changed_by_hand_is_made_again(tiny, tiny_settings, tmp_path):
    out = tmp_path / "run"
    base = tiny_settings.model_copy(update={"epochs": 1})
    run(tiny, out, base)
    before = read_table(out / "slide_predictions.csv")
    write_table(before.assign(predicted="busy"), out / "slide_predictions.csv")
    run(tiny, out, base, resume=True)
    pd.testing.assert_frame_equal(read_table(out / "slide_predictions.csv"), before)


def test_step_without_stamp_trusts_nothing(tmp_path):
    made = []

    def work(scratch):
        made.append(scratch)
        (tmp_path / "n.txt").write_text("20")

    assert step(tmp_path, "tiles", "key", ["n.txt"], work) and not step(tmp_path, "tiles", "key", ["n.txt"], work)
    (tmp_path / "stamps.json").write_text('{"tiles": ')
    assert step(tmp_path, "tiles", "key", ["n.txt"], work) and len(made) == 2


def test_failed_work_leaves_no_stamp(tmp_path):
    (tmp_path / "n.txt").write_text("old")
    step(tmp_path, "tiles", "one", ["n.txt"], lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        step(tmp_path, "tiles", "two", ["n.txt"], lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    assert "tiles" not in read_stamps(tmp_path)


def test_fingerprint_of_a_bag_sees_every_image(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    before = fingerprint(tmp_path)
    assert len(before) == 2
    (tmp_path / "b").unlink()
    assert fingerprint(tmp_path) != before and fingerprint(tmp_path / "nothing") == [[str(tmp_path / "nothing")]]


# ------------------------------------------------------------------ splits


def test_without_test_slides_all_are_predicted(tiny, tiny_settings, tmp_path):
    settings = tiny_settings.model_copy(update={"epochs": 1, "test_share": 0.0})
    report = run(tiny, tmp_path / "run", settings)
    assert len(read_table(tmp_path / "run/slide_predictions.csv")) == 2 * 16
    assert "There are no test slides" in report.read_text()


def test_without_any_other_slides(tiny, tiny_settings, tmp_path):
    settings = tiny_settings.model_copy(update={"epochs": 1, "test_share": 0.0, "valid_share": 0.0})
    assert "learned from" in " ".join(run(tiny, tmp_path / "run", settings).read_text().split())


# ------------------------------------------------------------------ every method


def test_every_method_judges_the_same_slides(every_run):
    by_slide, slides = read_table(every_run / "slide_predictions.csv"), read_table(every_run / "slides.csv")
    judged = slides.slide_id[slides.split != "train"]
    assert tuple(by_slide.method.unique()) == EVERY
    assert all(set(t.slide_id) == set(judged) for _, t in by_slide.groupby("method"))
    metrics = json.loads((every_run / "metrics.json").read_text())
    assert tuple(metrics["slides"]) == EVERY and len(metrics["pairs"]) == len(EVERY) - 1
    assert {r["method"] for r in metrics["comparison"]} == set(EVERY)
    assert {a["annotator"] for a in metrics["agreement"]["annotators"]} == {"Ann", "Bo", "model"}
    assert {m["class"] for m in metrics["agreement"]["minor"]} == {"busy", "calm"}
    assert np.median([s["accuracy"] for s in metrics["slides"].values()]) == 1


def test_attention_adds_up_to_one(every_run):
    maps, slides = read_table(every_run / "attention.parquet"), read_table(every_run / "slides.csv")
    assert set(maps.slide_id) == set(slides.slide_id)
    sums = maps.groupby("slide_id")[["attention", "grid_attention"]].sum()
    np.testing.assert_allclose(sums, 1, atol=1e-5)


def test_report_compares_the_methods(every_run):
    text = (every_run / "report.html").read_text(encoding="utf-8")
    for words in ("The methods compared", "Agreement with pathologists", "grid_attention", "Brier", "McNemar", "robust", "by heart", "minor label"):
        assert words in text
    names = {p.name for p in (every_run / "figures").iterdir()}
    assert names >= {"comparison.png", "rocs.png", "agreement.png"}


def test_what_methods_learned_is_used_on_new_slides(every_run, read_by_three, tmp_path):
    table = pd.read_csv(read_by_three)[["slide_id", "path", "mpp"]]
    write_table(table, tmp_path / "new.csv")
    predict(every_run, tmp_path / "new.csv", tmp_path / "new", workers=1)
    new = read_table(tmp_path / "new/slide_predictions.csv")
    assert tuple(new.method.unique()) == EVERY and len(new) == len(EVERY) * 16
    splits = read_table(every_run / "splits.csv")
    tested = splits.slide_id[splits.split == "test"]
    old = read_table(every_run / "slide_predictions.csv")
    both = old[old.slide_id.isin(tested)].merge(new, on=["slide_id", "method"], suffixes=("", "_new"))
    assert len(both) == len(EVERY) * len(tested)
    pd.testing.assert_series_equal(both.predicted, both.predicted_new, check_names=False)
    np.testing.assert_allclose(both.prob_busy, both.prob_busy_new, atol=1e-4)


def test_a_model_alone_falls_back_to_what_it_can_do(every_run, read_by_three, tmp_path):
    for name in ("model.json", "weights.safetensors"):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / name).write_bytes((every_run / "model" / name).read_bytes())
    predict(tmp_path / "model", read_by_three, tmp_path / "new", workers=1)
    by_slide = read_table(tmp_path / "new/slide_predictions.csv")
    assert tuple(by_slide.method.unique()) == ("threshold", "average", "majority")


def test_methods_that_cannot_work_are_refused_before_the_work(tiny, tiny_settings, tmp_path):
    for change, words in (
        ({"aggregation": ("threshold_search",), "background": "tumour"}, "the classes are"),
        ({"aggregation": ("deepslide",), "valid_share": 0.0}, "no labelled slides in valid"),
    ):
        with pytest.raises(InputError, match=words):
            run(tiny, tmp_path / "run", tiny_settings.model_copy(update=change))
        assert not (tmp_path / "run" / "tiles.parquet").exists()


# ------------------------------------------------------------------ predict, evaluate, check


def test_predict_without_labels_then_evaluate(tiny, tiny_run, tmp_path):
    table = pd.read_csv(tiny)[["slide_id", "path", "mpp"]]
    table["path"] = [str(tiny.parent / p) for p in table.path]
    write_table(table, tmp_path / "new.csv")
    report = predict(tiny_run, tmp_path / "new.csv", tmp_path / "new", workers=1)
    assert "nothing to judge" in report.read_text()
    by_slide = read_table(tmp_path / "new/slide_predictions.csv")
    assert by_slide.label.isna().all() and (by_slide.n_tiles > 0).all()
    theirs = read_table(tiny_run / "predictions.parquet").merge(
        read_table(tmp_path / "new/predictions.parquet"), on=["slide_id", "x", "y", "size"]
    )
    np.testing.assert_allclose(theirs.prob_busy_x, theirs.prob_busy_y, atol=1e-5)
    for what in ("new", "new/predictions.parquet", "new/slide_predictions.csv"):
        out = tmp_path / what.replace("/", "-") / "judged"
        evaluate(tmp_path / what, tiny, out)
        metrics = json.loads((out / "metrics.json").read_text())
        assert metrics["slides"]["average"]["n"] == 16 and metrics["slides"]["average"]["accuracy"] == 1


def test_evaluate_a_run_on_its_test_slides(tiny, tiny_run, tmp_path):
    evaluate(tiny_run, tiny, tmp_path / "again")
    again, first = (json.loads((p / "metrics.json").read_text()) for p in (tmp_path / "again", tiny_run))
    assert again["split"] == "test" and again["slides"] == first["slides"]


def test_predict_one_slide_and_a_folder(tiny, tiny_run, tmp_path):
    tif = sorted((tiny.parent / "slides").glob("*.tif"))[0]
    predict(tiny_run / "model", tif, tmp_path / "one", slide_mpp=1.0, workers=1)
    assert read_table(tmp_path / "one/slide_predictions.csv").slide_id.unique().tolist() == [tif.stem]
    with pytest.raises(InputError, match="microns per pixel"):
        predict(tiny_run, tif, tmp_path / "unknown", workers=1)
    assert not (tmp_path / "unknown").exists()


def test_find_slides(tiny, tmp_path):
    folder = tiny.parent / "slides"
    assert len(find_slides(tiny)) == len(find_slides(tiny.parent)) == 16
    assert len(find_slides(folder)) == 1, "a folder of small pictures is a bag"
    for p in folder.glob("*.tif"):
        (tmp_path / p.name).write_bytes(p.read_bytes())
    assert find_slides(tmp_path).slide_id.tolist() == sorted(p.stem for p in folder.glob("*.tif"))


def test_evaluate_refuses_strangers(tiny, tiny_run, tmp_path):
    table = pd.read_csv(tiny)
    table["path"] = [str(tiny.parent / p) for p in table.path]
    write_table(table.assign(slide_id=[f"x{i}" for i in range(16)]), tmp_path / "others.csv")
    with pytest.raises(InputError, match="none of its slides"):
        evaluate(tiny_run, tmp_path / "others.csv", tmp_path / "out")
    write_table(table.assign(label="wild"), tmp_path / "classes.csv")
    with pytest.raises(InputError, match="'wild' is not among"):
        evaluate(tiny_run, tmp_path / "classes.csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------ real input


def test_check_judges_real_slides(real):
    found = check(real / "slides").set_index("slide_id").problem
    assert found["CMU-1-Small-Region"] == ""
    assert "microns per pixel" in found["TCGA-CR-7395-01A-01-TS1_small"]
    assert found["broken"] and "\n" not in found["broken"]


@pytest.fixture(scope="session")
def quick(tiny_settings):
    "Settings for real input: that it goes through matters here, not how good it is."
    return tiny_settings.model_copy(update={"epochs": 1, "tile_px": 64, "tiles_per_slide": 8, "batch": 8})


def test_real_bags_as_folders_and_as_table(real, tmp_path, quick):
    bags = real / "breakhis_bags"
    run(bags, tmp_path / "folders", quick)
    assert set(read_table(tmp_path / "folders/slide_predictions.csv").label) == {"benign", "malignant"}
    table = pd.read_csv(bags / "patients.csv")
    table["path"] = [str(bags / row.label / row.bag) for row in table.itertuples()]
    table = table.rename(columns={"bag": "slide_id", "patient_id": "id"}).rename(columns={"patient_number": "patient_id"})
    write_table(table, tmp_path / "slides.csv")
    run(tmp_path / "slides.csv", tmp_path / "table", quick)
    splits = read_table(tmp_path / "table/splits.csv")
    assert not splits.groupby("patient_id").split.nunique().gt(1).any()


def test_real_tile_images(real, tmp_path, quick):
    tables = []
    for name, split in (("train", "train"), ("validation", "test")):
        table = pd.read_csv(real / f"pcam/{name}_labels.csv").groupby("label").head(30)
        path = table.filename.map(lambda f: str(real / "pcam" / f))
        tables.append(pd.DataFrame({"slide_id": f"{split} " + table.filename, "path": path, "label": table.label.map({0: "normal", 1: "tumor"}),
                                    "split": split, "mpp": 1.0}))  # fmt: skip
    write_table(pd.concat(tables), tmp_path / "slides.csv")
    report = run(tmp_path / "slides.csv", tmp_path / "run", quick.model_copy(update={"tile_px": 96}))
    by_slide = read_table(tmp_path / "run/slide_predictions.csv")
    assert len(by_slide) == 2 * 60 and (by_slide.n_tiles == 1).all()
    assert report.stat().st_size < 8e6


def test_real_slides_one_without_mpp(real, tmp_path, quick):
    rows = [("cmu", "slides/CMU-1-Small-Region.svs", "a", "train", None),
            ("tcga", "slides/TCGA-CR-7395-01A-01-TS1_small.svs", "b", "train", 0.5),
            ("idc", "idc_slide/slide_14306.tif", "b", "test", None)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["slide_id", "path", "label", "split", "mpp"])
    table["path"] = [str(real / p) for p in table.path]
    write_table(table, tmp_path / "slides.csv")
    settings = quick.model_copy(update={"mpp": 4.0, "tile_px": 32})
    run(tmp_path / "slides.csv", tmp_path / "run", settings)
    tiles = read_table(tmp_path / "run/tiles.parquet")
    assert set(tiles.slide_id) == {"cmu", "tcga", "idc"}
    extra = pd.DataFrame([("twin", table.path[1], "b", "test", None)], columns=table.columns)
    write_table(pd.concat([table, extra]), tmp_path / "slides.csv")
    report = run(tmp_path / "slides.csv", tmp_path / "run", settings, resume=True)
    failures = read_table(tmp_path / "run/failures.csv")
    assert failures.slide_id.tolist() == ["twin"] and "microns per pixel" in failures.error[0]
    assert "microns per pixel" in report.read_text(encoding="utf-8")

"Splits, balance, pixel statistics and augmentation, on plain tables and tiny bags."
import numpy as np
import pandas as pd
import pytest
import torch
import torchvision.transforms.functional as F
from PIL import Image

from deepslide_nb.annotations import label_tiles
from deepslide_nb.datasets import (
    SPLITS, Augment, TileReader, balance_tiles, cap_tiles, check_leak, class_weights, deepslide_stride_factor, grey,
    jitter_colours, kfold_slides, overlap_for_target, patients, pixel_stats, quarter_turns, repeat_tiles, split_slides,
    tile_loaders, tile_stats, turn_hue, use_fold,
)
from deepslide_nb.settings import InputError, load_settings
from deepslide_nb.slides import read_slides
from deepslide_nb.tiles import deepslide_starts, make_tiles, window_starts


def table(patients_per_class, slides_per_patient=2, split=None):
    rows = [
        (f"{c}/{p}/{i}", c, f"{c} {p}")
        for c, n in patients_per_class.items()
        for p in range(n)
        for i in range(slides_per_patient)
    ]
    return pd.DataFrame(rows, columns=["slide_id", "label", "patient_id"])


# ---------------------------------------------------------------- split


def test_split_keeps_patients_whole_and_classes_in_proportion():
    slides = split_slides(table({"normal": 20, "a/b_ü": 12, "solid": 40}), 0.2, 0.25, 1)
    check_leak(slides)
    share = pd.crosstab(slides["label"], slides["split"], normalize="index")
    assert (abs(share[["train", "valid", "test"]] - [0.55, 0.2, 0.25]) < 0.06).all().all()


def test_split_does_not_depend_on_row_order_but_on_the_seed():
    slides = table({"a": 9, "b": 7})
    mixed = slides.sample(frac=1, random_state=5)
    one = split_slides(slides).set_index("slide_id")["split"]
    assert one.sort_index().equals(split_slides(mixed).set_index("slide_id")["split"].sort_index())
    assert (one != split_slides(slides, seed=7).set_index("slide_id")["split"]).any()


def test_patients_with_slides_of_two_classes_stay_whole():
    slides = pd.concat([table({"a": 8}, 1), table({"b": 8}, 1)], ignore_index=True)
    slides["patient_id"] = slides["patient_id"].str.split().str[1]
    slides = split_slides(slides)
    check_leak(slides)
    assert (pd.crosstab(slides["split"], slides["label"]) > 0).all().all()


def test_three_patients_per_class_are_enough_and_two_are_not():
    slides = split_slides(table({"a": 3, "b": 30}))
    assert set(slides.loc[slides["label"] == "a", "split"]) == set(SPLITS)
    with pytest.raises(InputError, match="class 'b' has slides of 2 patients, and 3 are needed"):
        split_slides(table({"a": 5, "b": 2}))
    assert set(split_slides(table({"a": 5, "b": 2}), valid_share=0)["split"]) == {"train", "test"}
    with pytest.raises(InputError, match="class 'b' has slides of 1 patient, and 2 are needed"):
        split_slides(table({"a": 5, "b": 1}), valid_share=0)


def test_classes_that_share_patients_too_much_are_refused():
    pairs = {"1": "ab", "2": "abc", "3": "ac", "4": "bc"}
    slides = pd.DataFrame([(f"{p}{c}", c, p) for p, cs in pairs.items() for c in cs], columns=["slide_id", "label", "patient_id"])
    with pytest.raises(InputError, match="could not be given a patient in"):
        split_slides(slides)


def test_one_class_is_refused():
    with pytest.raises(InputError, match="all slides are of one class, 'a'"):
        split_slides(table({"a": 9}))


def test_a_given_split_is_kept_and_checked():
    slides = table({"a": 4, "b": 4}, 1)
    slides["split"] = ["train", "train", "test", "test"] * 2
    assert split_slides(slides)["split"].tolist() == slides["split"].tolist()
    with pytest.raises(InputError, match="slide 'a/1/0' has no split"):
        split_slides(slides.assign(split=slides["split"].where(slides.index != 1)))
    with pytest.raises(InputError, match="class 'b' has no slide in train"):
        split_slides(slides.assign(split=["train", "train", "test", "test"] + ["test"] * 4))
    with pytest.raises(InputError, match="says 'val'"):
        split_slides(slides.assign(split="val"))
    leak = slides.assign(patient_id=["p"] + slides["patient_id"].tolist()[1:-1] + ["p"])
    with pytest.raises(InputError, match="patient 'p' has slides in train and test"):
        split_slides(leak)


def test_an_empty_split_column_counts_as_none():
    assert set(split_slides(table({"a": 4, "b": 4}).assign(split=None))["split"]) == set(SPLITS)


def test_without_patient_column_every_slide_is_its_own_patient():
    slides = table({"a": 4, "b": 4}, 1).drop(columns="patient_id")
    assert patients(slides).tolist() == slides["slide_id"].tolist()
    assert set(split_slides(slides)["split"]) == set(SPLITS)


def test_folds():
    slides = kfold_slides(table({"a": 10, "b": 15}), 5)
    assert (slides.groupby(patients(slides))["fold"].nunique() == 1).all()
    assert (pd.crosstab(slides["fold"], slides["label"]).to_numpy() == [4, 6]).all()
    once = [use_fold(slides, f).query("split == 'test'")["slide_id"] for f in range(5)]
    assert sorted(pd.concat(once)) == sorted(slides["slide_id"])
    with pytest.raises(InputError, match="class 'a' has slides of 3 patients, and 5 are needed"):
        kfold_slides(table({"a": 3, "b": 9}), 5)


def test_large_tables_are_split_in_seconds():
    slides = table({str(c): 700 for c in range(4)})
    assert pd.crosstab(slides["label"], split_slides(slides)["split"]).std().max() < 3


# ---------------------------------------------------------------- balance


def tiles_of(**counts):
    rows = [(f"{c}{i % 3}", c, i) for c, n in counts.items() for i in range(n)]
    return pd.DataFrame(rows, columns=["slide_id", "label", "x"])


def test_repeats_are_in_order_up_to_the_largest():
    tiles = repeat_tiles(tiles_of(a=3, b=7))
    assert tiles["label"].value_counts().to_dict() == {"a": 7, "b": 7}
    assert tiles.loc[tiles["label"] == "a", "x"].tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_cap_draws_a_seeded_subset_in_order():
    tiles = tiles_of(a=30, b=4)
    some = cap_tiles(tiles, 5, 1)
    assert some.groupby("slide_id").size().max() == 5 and some.index.is_monotonic_increasing
    assert some.equals(cap_tiles(tiles, 5, 1)) and not some.equals(cap_tiles(tiles, 5, 2))
    assert cap_tiles(tiles, 0) is tiles


def test_weights_make_classes_pull_equally():
    tiles = tiles_of(a=3, b=9)
    weights = class_weights(tiles["label"], ["b", "a"])
    assert np.allclose(weights * [9, 3], 6)


def test_deepslide_stride_factor():
    assert deepslide_stride_factor(1e6) == 1
    assert deepslide_stride_factor(1040) == 1
    assert deepslide_stride_factor(65) == pytest.approx(16**0.75)
    assert deepslide_stride_factor(100, 10000) == pytest.approx(1.3**0.75)


@pytest.mark.parametrize("factor", [1, 1.5, 2, 3])
def test_overlap_search_finds_deepslides_factor_on_a_real_grid(factor):
    target = len(deepslide_starts(20000, 224, factor)) ** 2
    overlap, n = overlap_for_target(lambda o: len(window_starts(20000, 224, o, "drop")) ** 2, target)
    assert abs(n - target) <= 0.05 * target
    assert overlap == pytest.approx(1 - 1 / factor, abs=0.03)


def test_overlap_search_ends_where_nothing_helps():
    assert overlap_for_target(lambda o: 7, 100) == (0.0, 7)
    assert overlap_for_target(lambda o: 0, 100) == (0.0, 0)
    calls = []
    overlap, _ = overlap_for_target(lambda o: calls.append(o) or int(10 / (1 - o) ** 2), 10**6, most=0.8)
    assert overlap == 0.8 and len(calls) < 9


# ---------------------------------------------------------------- pixels


@pytest.fixture
def bags(tmp_path):
    "Slides and labelled tiles of twelve bags of six 32 px tiles, two classes."
    rng, rows = np.random.default_rng(0), []
    for c, name in enumerate(("normal", "a/b_ü")):
        for p in range(6):
            (tmp_path / f"{c}{p}").mkdir()
            for i in range(6):
                pixels = rng.normal(150, 40, (32, 32, 3)) + np.eye(3)[c] * 40
                Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(tmp_path / f"{c}{p}" / f"{i}.png")
            rows.append((f"{name} {p}", f"{c}{p}", name, f"P{c}{p}"))
    pd.DataFrame(rows, columns=["slide_id", "path", "label", "patient_id"]).to_csv(tmp_path / "slides.csv", index=False)
    slides = split_slides(read_slides(tmp_path / "slides.csv"))
    settings = load_settings(tile_px=32, batch=8, labels="slide", workers=1, epochs=1, tiles_per_slide=0)
    tiles, _ = make_tiles(slides, settings)
    return slides, label_tiles(tiles, slides, "slide"), settings


def test_pixel_stats_are_exact_and_never_nan():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (9, 9, 3), dtype=np.uint8) for _ in range(7)]
    mean, std = pixel_stats(images)
    every = np.stack(images).reshape(-1, 3) / 255
    assert np.allclose(mean, every.mean(0), atol=1e-14) and np.allclose(std, every.std(0), atol=1e-12)
    mean, std = pixel_stats([np.full((8, 8, 3), 241, np.uint8)] * 3)
    assert mean == pytest.approx([241 / 255] * 3) and std == pytest.approx([1 / 255] * 3)


def test_tile_stats_are_cached_for_these_tiles_only(bags, tmp_path):
    slides, tiles, _ = bags
    stats = tile_stats(tiles, slides, 32, tmp_path / "stats.json")
    gone = slides.assign(path="/nowhere")
    assert tile_stats(tiles, gone, 32, tmp_path / "stats.json") == stats
    assert tile_stats(tiles.iloc[:12], slides, 32, tmp_path / "stats.json") != stats
    with pytest.raises(InputError, match="no training tiles"):
        tile_stats(tiles.iloc[:0], slides, 32)


def test_loaders(bags):
    slides, tiles, settings = bags
    dls = tile_loaders(tiles, slides, ["normal", "a/b_ü"], settings)
    x, y = dls.one_batch()
    assert x.shape == (8, 3, 32, 32) and x.dtype == torch.float32 and y.dtype == torch.int64
    assert list(dls.vocab) == ["normal", "a/b_ü"] and dls.c == 2
    seen = torch.cat([y for _, y in dls.valid])
    valid = tiles[tiles["slide_id"].isin(slides.loc[slides["split"] == "valid", "slide_id"])]
    assert seen.tolist() == (valid["label"] == "a/b_ü").astype(int).tolist()
    plain = torch.cat([x for x, _ in dls.valid])
    row = valid.iloc[0]
    pixels = TileReader(slides, 32).array(row["slide_id"], row["x"], row["y"], row["size"])
    mean, std = dls.stats
    assert np.allclose(plain[0].permute(1, 2, 0), (pixels / 255 - mean) / std, atol=1e-5)


def test_loaders_with_worker_processes_give_the_same(bags):
    slides, tiles, settings = bags
    one, two = (tile_loaders(tiles, slides, ["normal", "a/b_ü"], settings) for _ in range(2))
    two.valid.fake_l.num_workers = 2
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(one.valid, two.valid))


def test_loaders_refuse_a_class_without_training_tiles(bags):
    slides, tiles, settings = bags
    with pytest.raises(InputError, match="class 'solid' has no training tile"):
        tile_loaders(tiles, slides, ["normal", "a/b_ü", "solid"], settings)


def test_loaders_without_validation_slides(bags):
    slides, tiles, settings = bags
    slides = slides.assign(split=slides["split"].replace("valid", "train"))
    dls = tile_loaders(tiles, slides, ["normal", "a/b_ü"], settings)
    assert len(dls.valid) == 0 and len(dls.train) > 0


def test_fewer_tiles_than_a_batch_still_train(bags):
    slides, tiles, settings = bags
    dls = tile_loaders(tiles, slides, ["normal", "a/b_ü"], settings.model_copy(update={"batch": 500}))
    assert len(dls.train) == 1


def test_stride_does_not_touch_bags_but_repeats_fill_up(bags):
    slides, tiles, settings = bags
    train = tiles[tiles["slide_id"].isin(slides.loc[slides["split"] == "train", "slide_id"])].iloc[6:]
    out = balance_tiles(train.reset_index(drop=True), slides, settings.model_copy(update={"balance": "stride"}))
    assert out["label"].value_counts().nunique() == 1


# ---------------------------------------------------------------- augmentation


def test_hue_is_torchvisions():
    x, turn = torch.rand(5, 3, 16, 16), torch.tensor([-0.5, -0.2, 0, 0.1, 0.33])
    ours = turn_hue(x, turn.view(-1, 1, 1, 1))
    theirs = torch.stack([F.adjust_hue(i, t.item()) for i, t in zip(x, turn)])
    assert torch.allclose(ours, theirs, atol=1e-5)
    flat = torch.full((1, 3, 4, 4), 0.4)
    assert torch.equal(turn_hue(flat, turn[3].view(1, 1, 1, 1)), flat)


@pytest.mark.parametrize("which,theirs", [(0, F.adjust_brightness), (1, F.adjust_contrast), (2, F.adjust_saturation)])
def test_light_is_torchvisions(which, theirs):
    x, strength = torch.rand(4, 3, 16, 16), [0.0, 0.0, 0.0]
    strength[which] = 0.5
    torch.manual_seed(0)
    draws = [torch.empty(4, 1, 1, 1).uniform_(1 - s, 1 + s) for s in strength]
    torch.manual_seed(0)
    ours = jitter_colours(x, *strength, hue=0)
    for i in range(4):
        assert torch.allclose(ours[i], theirs(x[i], draws[which][i].item()), atol=1e-3)


def test_jitter_draws_per_image_and_stays_in_range():
    x = torch.rand(1, 3, 16, 16).repeat(8, 1, 1, 1)
    out = jitter_colours(x, 0.5, 0.5, 0.5, 0.2)
    assert 0 <= out.min() and out.max() <= 1 and len({grey(i[None]).mean().item() for i in out}) == 8


def test_poses_are_all_eight_and_only_those():
    x = torch.arange(9.0).view(1, 1, 3, 3).repeat(400, 1, 1, 1)
    poses = {tuple(i.flatten().tolist()) for i in quarter_turns(x)}
    wanted = {tuple(t.flatten().tolist()) for k in range(4) for r in [torch.rot90(x[0, 0], k)] for t in (r, r.flip(1))}
    assert poses == wanted and len(poses) == 8


def test_augmentation_is_for_training_only(bags):
    slides, tiles, settings = bags
    dls = tile_loaders(tiles, slides, ["normal", "a/b_ü"], settings)
    assert Augment.split_idx == 0
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(dls.valid, dls.valid))

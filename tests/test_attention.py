"Attention against its formulas, bags of any size, masks, grids, training that repeats, tables, end to end."
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from deepslide_nb import attention as lesson
from deepslide_nb.attention import (
    Attention,
    AttentionNet,
    EndToEnd,
    GridNet,
    attend,
    attention_in_regions,
    attention_vote,
    bag_features,
    bag_loaders,
    imagenet_model,
    load_attention,
    pad_bags,
    tile_grid,
    train_attention,
    train_end_to_end,
)
from deepslide_nb.prediction import predict_tiles
from deepslide_nb.settings import InputError, load_settings
from deepslide_nb.slides import open_slide, read_slides
from deepslide_nb.tiles import make_tiles, window_starts
from deepslide_nb.training import load_model, make_network, save_model

CLASSES = ["normal", "a/b_ü <x>", "z"]
SIZES = [1, 2, 1000]


def numbers(layer):
    return layer.weight.detach().numpy().astype(float)


def ilse(h, layer, gated):
    "The published formula, tile by tile: softmax of w' (tanh(V h) * sigm(U h))."
    V, w = numbers(layer.V), numbers(layer.w)[0]
    scores = []
    for hk in h.astype(float):
        gate = 1 / (1 + np.exp(-numbers(layer.U) @ hk)) if gated else 1
        scores.append(w @ (np.tanh(V @ hk) * gate))
    e = np.exp(np.array(scores) - max(scores))
    return e / e.sum()


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("gated", [True, False])
def test_attention_is_the_published_formula(n, gated):
    torch.manual_seed(n)
    layer, h = Attention(24, gated=gated), torch.randn(n, 24)
    a = layer(h).detach().numpy()
    assert np.allclose(a, ilse(h.numpy(), layer, gated), atol=1e-6) and np.isclose(a.sum(), 1, atol=1e-5)
    net = AttentionNet(24, 3, gated)
    z = ilse(h.numpy(), net.attention, gated) @ h.numpy().astype(float)
    logits = numbers(net.head) @ z + net.head.bias.detach().numpy()
    assert np.allclose(net(h[None], line(n)[None])[0].detach().numpy(), logits, atol=1e-5)


def line(n):
    "Cells of n tiles in one row."
    return torch.stack([torch.zeros(n, dtype=torch.long), torch.arange(n)], 1)


def scattered(n, rng):
    "n cells of a grid with as many holes."
    side = int(np.ceil(np.sqrt(2 * n)))
    return torch.from_numpy(np.column_stack(np.divmod(rng.permutation(side**2)[:n], side)))


def tomita(h, cells, net):
    "Direct loops over the formula: 3 x 3 neighbours of each tile, background zero, softmax over tiles alone."
    W, V = numbers(net.conv), {tuple(c): v for c, v in zip(cells.tolist(), h.numpy().astype(float))}
    zs = []
    for f in W:
        scores = np.zeros(len(cells))
        for k, (r, c) in enumerate(cells.tolist()):
            for i in range(3):
                for j in range(3):
                    scores[k] += f[:, i, j] @ V.get((r + i - 1, c + j - 1), np.zeros(h.shape[1]))
        a = np.exp(scores - scores.max())
        zs.append((a / a.sum(), (a / a.sum()) @ h.numpy().astype(float)))
    weights, z = np.array([a for a, _ in zs]).T, np.concatenate([z for _, z in zs])
    return weights, numbers(net.head) @ z / np.sqrt(len(W)) + net.head.bias.detach().numpy()


@pytest.mark.parametrize("n", SIZES)
def test_grid_attention_is_a_direct_loop(n):
    torch.manual_seed(n)
    net, h, cells = GridNet(6, 3, maps=4), torch.randn(n, 6), scattered(n, np.random.default_rng(n))
    weights, logits = tomita(h, cells, net)
    assert np.allclose(net.weights(h[None], cells[None])[0].detach().numpy(), weights, atol=1e-6)
    assert np.allclose(net(h[None], cells[None])[0].detach().numpy(), logits, atol=1e-5)


@pytest.mark.parametrize("net", [AttentionNet(6, 3), AttentionNet(6, 3, gated=False), GridNet(6, 3, maps=4)])
def test_padding_counts_for_nothing_and_gradients_reach_everything(net):
    rng = np.random.default_rng(0)
    bags = [(torch.randn(n, 6), scattered(n, rng), n % 3) for n in SIZES]
    h, cells, y = pad_bags(bags)
    assert h.shape == (3, 1000, 6) and y.tolist() == [1, 2, 1]
    h[cells[..., 0] < 0] = 1e3  # whatever stands in the padding
    together, weights = net(h, cells), net.weights(h, cells)
    for i, (one, place, _) in enumerate(bags):
        assert torch.allclose(net(one[None], place[None])[0], together[i], atol=1e-5)
        assert (weights[i, len(one) :] == 0).all() and torch.allclose(weights[i].sum(0), torch.ones(1), atol=1e-4)
    torch.nn.functional.cross_entropy(together, y).backward()
    assert all(p.grad is not None and (p.grad != 0).any() for p in net.parameters())


def test_order_of_tiles_does_not_matter():
    h, cells, order = torch.randn(50, 6), scattered(50, np.random.default_rng(1)), torch.randperm(50)
    for net in (AttentionNet(6, 2), GridNet(6, 2, maps=4)):
        assert torch.allclose(net(h[None], cells[None]), net(h[order][None], cells[order][None]), atol=1e-5)


@pytest.mark.parametrize("overlap", [0.0, 0.33, 0.5])
@pytest.mark.parametrize("length", [96, 100, 1000, 5001])
def test_grid_cells(overlap, length):
    "Any windows: the last one moved back to the border has a column of its own, missing tiles leave their cell empty."
    starts = window_starts(length, 96, overlap)
    x, y = (v.ravel() for v in np.meshgrid(starts, starts))
    tiles = pd.DataFrame({"x": x, "y": y})
    full = tile_grid(tiles)
    assert (full == np.column_stack([v.ravel() for v in np.indices((len(starts),) * 2)])).all()
    if len(starts) > 3:
        keep = np.flatnonzero((full[:, 1] != 1) & (np.arange(len(full)) % 7 != 3))
        part = tile_grid(tiles.iloc[keep])
        assert (part == full[keep]).all() or len(starts) < 6


def test_grid_cells_of_odd_tables():
    assert tile_grid(pd.DataFrame({"x": [500], "y": [70]})).tolist() == [[0, 0]]
    assert tile_grid(pd.DataFrame({"x": [], "y": []}, dtype=int)).shape == (0, 2)
    mosaic = pd.DataFrame({"x": [0, 100, 300, 400, 0, 300], "y": [0, 0, 0, 0, 200, 200]})  # 300 x 200 images as squares
    assert not pd.DataFrame(tile_grid(mosaic)).duplicated().any()
    rng = np.random.default_rng(0)
    for _ in range(20):
        wild = pd.DataFrame(rng.integers(0, 400, (60, 2)), columns=["x", "y"]).drop_duplicates()
        assert not pd.DataFrame(tile_grid(wild)).duplicated().any()


def toy(n=18, d=32, seed=0):
    "features, tiles, slides: three classes, each marked by one kind of tile among plain ones; a slide without tiles."
    rng, features, tiles, rows = np.random.default_rng(seed), {}, [], []
    marks = 4 * rng.normal(size=(3, d))
    for i in range(n):
        sid, k, size = f"s/{i} ü", i % 3, 3 + i
        h = rng.normal(size=(size, d)).astype(np.float32)
        h[1] += marks[k].astype(np.float32)
        features[sid] = h
        tiles.append(pd.DataFrame({"slide_id": sid, "x": np.arange(size) * 96, "y": 0, "size": 96, "mpp": 1.0}))
        rows.append((sid, CLASSES[k], f"p{i}", "train" if i < 9 else "valid" if i < 12 else "test"))
    rows.append(("empty", CLASSES[0], "p", "train"))
    slides = pd.DataFrame(rows, columns=["slide_id", "label", "patient_id", "split"])
    tiles = pd.concat(tiles).sort_values("x", kind="stable", ignore_index=True)  # slides mixed, each in order
    return features, tiles, slides


@pytest.fixture
def bags(monkeypatch):
    monkeypatch.setattr(lesson, "STEPS", 0)
    return toy()


@pytest.mark.parametrize("kind", ["attention", "grid_attention"])
def test_votes_and_attention(bags, kind, tmp_path):
    features, tiles, slides = bags
    table, attention = attention_vote(features, tiles, slides, CLASSES, kind, tmp_path)
    probs = [f"prob_{c}" for c in CLASSES]
    assert list(table) == ["slide_id", "method", "predicted", *probs, "n_tiles", "label", "minor"]
    assert table["slide_id"].tolist() == slides["slide_id"].tolist() and (table["method"] == kind).all()
    empty = table.iloc[-1]
    assert pd.isna(empty["predicted"]) and empty["n_tiles"] == 0 and empty[probs].isna().all()
    full = table.iloc[:-1]
    assert np.allclose(full[probs].sum(axis=1), 1) and full["n_tiles"].tolist() == [3 + i for i in range(18)]
    assert (full["predicted"] == full["label"])[slides["split"].eq("train")[:-1]].mean() > 0.8
    assert list(attention) == ["slide_id", "x", "y", "size", "attention"]
    assert (attention[["slide_id", "x"]].to_numpy() == tiles[["slide_id", "x"]].to_numpy()).all()
    assert np.allclose(attention.groupby("slide_id")["attention"].sum(), 1)
    net, meta = load_attention(tmp_path / kind)
    one = full["slide_id"].iloc[4]
    h = torch.from_numpy(features[one])[None]
    expected = net.weights(h, line(h.shape[1])[None])[0].mean(-1).detach().numpy()
    assert np.allclose(attention.loc[attention["slide_id"] == one, "attention"], expected, atol=1e-6)
    only, _ = attend(net, meta, features, tiles, slides.drop(columns="label").iloc[[4]])
    assert len(only) == 1 and only["label"].isna().all()


def test_same_seed_same_network_and_not_trained_twice(bags, tmp_path, monkeypatch):
    net, _ = train_attention(*bags, CLASSES, "attention", tmp_path / "a", epochs=3)
    again, _ = train_attention(*bags, CLASSES, "attention", tmp_path / "b", epochs=3)
    other, _ = train_attention(*bags, CLASSES, "attention", tmp_path / "c", epochs=3, seed=1)
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), again.parameters()))
    assert not torch.equal(net.head.weight, other.head.weight)
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["attention.json", "log.csv", "weights.safetensors"]
    features, tiles, slides = bags
    poisoned = slides.assign(label=slides["label"].mask(slides["split"] == "test", CLASSES[2]))
    monkeypatch.setattr(lesson, "fit_bags", None)
    saved, _ = train_attention(features, tiles, poisoned, CLASSES, "attention", tmp_path / "a", epochs=3)
    assert torch.equal(saved.head.weight, net.head.weight)  # test slides take no part
    changed = {**features, "s/3 ü": features["s/3 ü"] + 1}
    for wrong in ((changed, tiles, slides, CLASSES, "attention"), (*bags, CLASSES, "grid_attention")):
        with pytest.raises(TypeError):
            train_attention(*wrong, tmp_path / "a", epochs=3)


def test_best_epoch_is_kept_and_validation_is_not_needed(bags, tmp_path):
    features, tiles, slides = bags
    _, meta = train_attention(*bags, CLASSES, "attention", tmp_path / "a", epochs=6)
    log = pd.read_csv(tmp_path / "a" / "log.csv")
    best = log.sort_values(["balanced_accuracy", "valid_loss"], ascending=[False, True]).iloc[0]
    assert meta["metrics"]["epoch"] == best["epoch"] and len(log) == 6
    alone = slides[slides["split"] != "valid"]
    _, meta = train_attention(features, tiles, alone, CLASSES, "attention", tmp_path / "b", epochs=2)
    assert meta["metrics"]["epoch"] == 1 and meta["metrics"]["valid_loss"] is None


def test_classes_weigh_the_same(bags):
    features, tiles, slides = bags
    few = slides[~slides["slide_id"].isin(["s/3 ü", "s/6 ü"])]
    dls = bag_loaders(features, tiles, few, CLASSES)
    assert np.allclose(dls.weights, [7 / 3, 7 / 9, 7 / 9])


def test_wrong_input_is_refused(bags, tmp_path):
    features, tiles, slides = bags
    with pytest.raises(InputError, match="class 'other' has no training slide"):
        train_attention(*bags, [*CLASSES, "other"], "attention", tmp_path)
    net, meta = train_attention(*bags, CLASSES, "attention", tmp_path, epochs=1)
    with pytest.raises(InputError, match="make the features anew"):
        attend(net, meta, features, tiles.iloc[1:], slides)
    with pytest.raises(InputError, match="no attention network"):
        load_attention(tmp_path / "none")
    (tmp_path / "weights.safetensors").write_bytes(b"not weights")
    with pytest.raises(InputError, match="not those"):
        load_attention(tmp_path)
    trained, _ = train_attention(*bags, CLASSES, "attention", tmp_path, epochs=1)  # a damaged one is trained anew
    assert torch.equal(trained.head.weight, net.head.weight)


@pytest.fixture(scope="module")
def mosaics(tmp_path_factory):
    "12 bags of images of two classes, one of which cannot be read, and a network that knows neither."
    folder, rng, rows = tmp_path_factory.mktemp("mosaics"), np.random.default_rng(0), []
    for i in range(12):
        bag = folder / f"bag{i}"
        bag.mkdir()
        for j in range(2 + i % 3):
            pixels = rng.integers(0, 100, (40, 40, 3)) + (0 if i % 2 else 150)
            Image.fromarray(pixels.astype(np.uint8)).save(bag / f"{j}.png")
        rows.append((f"b/{i}", str(bag), CLASSES[i % 2], "train" if i < 6 else "valid" if i < 8 else "test"))
    pd.DataFrame(rows, columns=["slide_id", "path", "label", "split"]).to_csv(folder / "slides.csv", index=False)
    slides = read_slides(folder / "slides.csv")
    tiles, _ = make_tiles(slides, load_settings(tile_px=32, workers=1))
    torch.manual_seed(0)
    settings = load_settings(tile_px=32).model_dump(mode="json")
    info = {"arch": "resnet18", "classes": CLASSES[:2], "tile_px": 32, "mpp": None, "mean": [0.5] * 3, "std": [0.2] * 3}
    save_model(make_network("resnet18", 2), info | {"settings": settings, "metrics": {}}, folder / "model")
    return slides, tiles, folder / "model"


def test_features_are_those_before_the_last_layer_and_are_kept(mosaics, tmp_path, monkeypatch):
    slides, tiles, folder = mosaics
    model, meta = load_model(folder, "cpu")
    broken = pd.concat([slides, slides.iloc[:1].assign(slide_id="gone", path="nowhere")], ignore_index=True)
    more = pd.concat([tiles, tiles.iloc[:2].assign(slide_id="gone")], ignore_index=True)
    features, failures = bag_features(model, meta, more, broken, tmp_path)
    assert failures["slide_id"].tolist() == ["gone"] and list(features) == slides["slide_id"].tolist()
    assert all(f.dtype == np.float32 and f.shape == ((tiles["slide_id"] == s).sum(), 512) for s, f in features.items())
    seen = []
    hook = model.fc.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    own = tiles[tiles["slide_id"] == "b/0"]
    with open_slide(slides["path"][0]) as slide:
        predict_tiles(model, meta, slide, own)
    hook.remove()
    assert np.allclose(seen[0].numpy(), features["b/0"], atol=1e-6)
    monkeypatch.setattr(lesson, "answers", None)
    kept, _ = bag_features(model, meta, tiles.assign(label="other"), slides, tmp_path)
    assert all(np.array_equal(kept[s], features[s]) for s in features)
    for changed in (meta | {"weights_sha256": "x"}, meta | {"tile_px": 64}, meta | {"mean": [0.1] * 3}):
        found, failures = bag_features(model, changed, tiles, slides, tmp_path)
        assert not found and len(failures) == len(slides) and "TypeError" in failures["error"][0]
    assert bag_features(model, meta, tiles.iloc[:0], slides)[0] == {}


def test_imagenet_model(mosaics, monkeypatch):
    slides, tiles, _ = mosaics
    monkeypatch.setattr(lesson, "imagenet_weights", lambda arch: make_network(arch, 1000).state_dict())
    model, meta = imagenet_model(load_settings(tile_px=32))
    features, failures = bag_features(model, meta, tiles, slides.iloc[:2])
    assert len(failures) == 0 and features["b/1"].shape == (3, 512) and "resnet18" in meta["weights_sha256"]


def test_end_to_end(mosaics, tmp_path, monkeypatch):
    slides, tiles, _ = mosaics
    classes = CLASSES[:2]
    settings = load_settings(tile_px=32, epochs=1, tiles_per_slide=3, workers=1)
    model, meta, net, about = train_end_to_end(tiles, slides, classes, settings, tmp_path / "a")
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["attention", "log.csv", "resnet"]
    features, _ = bag_features(model, meta, tiles, slides)
    table, attention = attend(net, about, features, tiles, slides)
    assert table["predicted"].isin(classes).all() and np.allclose(attention.groupby("slide_id")["attention"].sum(), 1)
    whole = EndToEnd(model, net)
    x, cells = torch.rand(1, 3, 32, 32), torch.zeros(1, 2, dtype=torch.long)
    with torch.no_grad():
        assert torch.allclose(whole(x, cells), model(x), atol=1e-5)
    again = train_end_to_end(tiles, slides, classes, settings, tmp_path / "b")
    assert torch.equal(again[0].conv1.weight, model.conv1.weight)
    further = train_end_to_end(tiles, slides, classes, settings, tmp_path / "c", (model, meta, net, about))
    assert not torch.equal(further[0].conv1.weight, model.conv1.weight)
    assert torch.equal(further[0].bn1.running_mean, model.bn1.running_mean)  # few tiles of one slide are no statistics
    monkeypatch.setattr(lesson, "fit_bags", None)
    known = train_end_to_end(tiles.assign(label="x"), slides, classes, settings, tmp_path / "a")
    assert torch.equal(known[2].head.weight, net.head.weight)


def test_gradients_reach_every_parameter_from_pixels():
    for net in (GridNet(512, 2, maps=3), AttentionNet(512, 2)):
        whole = EndToEnd(make_network("resnet18", 2), net)
        whole(torch.rand(4, 3, 32, 32), line(4))[0, 0].backward()
        assert all(p.grad is not None and (p.grad != 0).any() for p in whole.parameters())


SQUARE = """{"type": "FeatureCollection", "features": [%s]}"""
REGION = """{"type": "Feature", "properties": {"classification": {"name": "%s"}}, "geometry": {"type": "Polygon",
"coordinates": [[[%d, 0], [%d, 0], [%d, 100], [%d, 100], [%d, 0]]]}}"""


def test_attention_in_regions(tmp_path):
    "Of four tiles in a row the first lies in a tumour, half the second too; a region of another class does not count."
    regions = ",".join(REGION % (n, a, b, b, a, a) for n, a, b in (("tumour", 0, 150), ("necrosis", 300, 400)))
    (tmp_path / "a.geojson").write_text(SQUARE % regions)
    slides = pd.DataFrame({"slide_id": ["a", "b", "c"], "label": ["tumour", "other", "tumour"]})
    slides["annotations"] = [str(tmp_path / "a.geojson")] * 2 + [None]
    row = pd.DataFrame({"x": [0, 100, 200, 300], "y": 0, "size": 100, "attention": [0.6, 0.2, 0.1, 0.1]})
    both = pd.concat([row.assign(slide_id=s) for s in "abc"])
    found = attention_in_regions(both, slides).set_index("slide_id")
    assert list(found.index) == ["a", "b"]
    assert np.allclose(found.loc["a"], [0.7, 1.5 / 4])
    assert np.allclose(found.loc["b"], [0.8, 2.5 / 4])  # no region is called "other": all count
    even = attention_in_regions(both.assign(attention=0.25), slides)
    assert np.allclose(even["attention_inside"], even["tissue_inside"])
    assert len(attention_in_regions(both.iloc[:0], slides)) == 0

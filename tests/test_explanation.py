"Maps by hand against the package, LIME that repeats, slide heatmaps, and the checks of maps."

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import shapely
import torch
from PIL import Image

from deepslide_nb.explanation import (
    CAM_METHODS,
    cam,
    curve_areas,
    deletion_insertion,
    grad_cam,
    layer_names,
    layer_output,
    lime_map,
    map_in_regions,
    named_cam,
    network_input,
    plot_map,
    predict_pixels,
    rank_correlation,
    scaled,
    scramble,
    slide_cam,
    stretch,
    superpixels,
)
from deepslide_nb.settings import InputError
from deepslide_nb.slides import open_slide
from deepslide_nb.training import make_network

META = {"classes": ["a", "b", "c"], "tile_px": 64, "mean": [0.7, 0.5, 0.6], "std": [0.2, 0.25, 0.2]}
TARGET = 1


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = make_network("resnet18", 3)
    with torch.no_grad():
        made.train()(torch.randn(8, 3, 64, 64))  # running means that are not 0 and 1
    return made.eval()


@pytest.fixture(scope="module")
def pixels():
    noise = np.random.default_rng(0).random((3, 8, 8, 3))
    return (np.kron(noise, np.ones((1, 8, 8, 1))) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def x(model, pixels):
    return network_input(model, META, pixels)


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    path = tmp_path_factory.mktemp("slide") / "s.png"
    noise = np.random.default_rng(1).random((20, 30, 3))
    Image.fromarray((np.kron(noise, np.ones((8, 8, 1))) * 255).astype(np.uint8)).save(path)
    with open_slide(path, 1.0) as opened:
        yield opened


def grid(step, size=64, w=240, h=160):
    places = [(x, y) for y in range(0, h - size + 1, step) for x in range(0, w - size + 1, step)]
    return pd.DataFrame(places, columns=["x", "y"]).assign(slide_id="s", size=size)


def test_input_is_normalised(pixels, x):
    by_hand = (pixels / 255 - META["mean"]) / META["std"]
    assert x.shape == (3, 3, 64, 64) and np.allclose(x.numpy(), by_hand.transpose(0, 3, 1, 2), atol=1e-5)


@pytest.mark.parametrize("layer", ["layer4", "layer3", "layer2"])
def test_grad_cam_is_the_packages(model, x, layer):
    part = getattr(model, layer)
    ours = scaled(stretch(scaled(grad_cam(model, x, TARGET, part)), (64, 64)))
    theirs = named_cam("Grad-CAM", model, x, TARGET, part)
    assert ours.max() > 0.9 and np.abs(ours - theirs).max() < 1e-5


@pytest.mark.parametrize("method", CAM_METHODS)
def test_named_maps(model, x, method):
    got = named_cam(method, model, x[:1], TARGET)
    assert got.shape == (1, 64, 64) and got.dtype == np.float32 and 0 <= got.min() and got.max() <= 1
    assert np.array_equal(got, named_cam(method, model, x[:1], TARGET))


def test_nothing_is_left_in_the_network(model, x):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    grad_cam(model, x, TARGET)
    for method in CAM_METHODS:
        named_cam(method, model, x[:1], TARGET)
    assert all(p.grad is None for p in model.parameters())
    assert not any(len(m._forward_hooks) for m in model.modules()) and not model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_hook_goes_after_an_error(model):
    with pytest.raises(RuntimeError):
        layer_output(model, model.layer4, torch.zeros(1, 5, 64, 64))
    assert not model.layer4._forward_hooks


def test_cam_adds_up_to_the_logit(model, x):
    with torch.no_grad():
        logits = model(x)[:, TARGET].numpy() - model.fc.bias[TARGET].item()
    maps = cam(model, x, TARGET)
    assert np.allclose(maps.mean((1, 2)), logits, atol=1e-4)
    signed = grad_cam(model, x, TARGET, positive=False)
    assert np.allclose(signed, maps / maps[0].size, atol=1e-5)
    assert np.array_equal(grad_cam(model, x, TARGET), np.maximum(signed, 0))


def test_works_where_gradients_are_off(model, x):
    with torch.no_grad():
        assert np.allclose(grad_cam(model, x, TARGET), np.maximum(cam(model, x, TARGET), 0) / 4, atol=1e-5)
        assert named_cam("Grad-CAM", model, x, TARGET).max() > 0.9


def test_unknown_names(model, x):
    with pytest.raises(InputError, match="Grad-CAM"):
        named_cam("gradcam", model, x, TARGET)
    with pytest.raises(InputError, match="layer9"):
        scramble(model, ["layer9"])
    with pytest.raises(IndexError):
        grad_cam(model, x, 3)
    with pytest.raises(IndexError):
        named_cam("Grad-CAM", model, x, 3)
    assert not model.layer4._forward_hooks


def test_lime_repeats(model, pixels):
    one, fit = lime_map(model, META, pixels[0], TARGET, samples=40, seed=3)
    torch.rand(5), np.random.rand(5)
    same, again = lime_map(model, META, pixels[0], TARGET, samples=40, seed=3)
    assert np.array_equal(one, same) and fit == again and fit <= 1
    assert not np.array_equal(one, lime_map(model, META, pixels[0], TARGET, samples=40, seed=4)[0])


def test_lime_finds_the_piece_that_matters(monkeypatch, pixels):
    "The 'network' looks at one corner; pieces are counted from 1, as scikit-image does."
    from deepslide_nb import explanation

    pieces = np.kron(np.arange(1, 5).reshape(2, 2), np.ones((32, 32), int))
    sizes = []

    def corner(model, meta, tiles, batch):
        sizes.append(len(tiles))
        bright = tiles[:, 40:, 40:].mean((1, 2, 3)) / 255
        return np.column_stack([1 - bright, bright])

    monkeypatch.setattr(explanation, "predict_pixels", corner)
    tile = pixels[0].copy()
    tile[32:, 32:] = 255
    weights, fit = lime_map(
        None, META, tile, 1, segment=lambda _: pieces, samples=100, batch=16, cover=(0, 0, 0)
    )
    assert weights[50, 50] > 0.7 and np.abs(weights[:32]).max() < 0.05 and fit > 0.9
    assert max(sizes) == 16 and sum(sizes) == 100


def test_superpixels_cover_the_tile(pixels):
    found = superpixels(pixels[0], 20)
    assert found.shape == (64, 64) and found.min() == 0 and 5 < len(np.unique(found)) <= 30


def test_slide_map_is_the_mean_of_its_tiles(model, slide):
    tiles = grid(32)
    heat = slide_cam(model, META, slide, tiles, TARGET, max_px=240, batch=5)
    total, count = np.zeros((160, 240)), np.zeros((160, 240))
    for t in tiles.itertuples(index=False):
        tile = slide.read(t.x, t.y, 64, 64)
        own = stretch(grad_cam(model, network_input(model, META, tile[None]), TARGET), (64, 64))[0]
        total[t.y : t.y + 64, t.x : t.x + 64] += own
        count[t.y : t.y + 64, t.x : t.x + 64] += 1
    assert count.max() == 4 and np.array_equal(np.isnan(heat), count == 0)
    assert np.allclose(heat[count > 0], total[count > 0] / count[count > 0], atol=1e-5)


def test_slide_map_of_any_size(model, slide):
    tiles = grid(64)
    large, small = (slide_cam(model, META, slide, tiles, TARGET, max_px=m) for m in (1000, 12))
    assert large.shape == (160, 240) and small.shape == (8, 12)
    assert np.isclose(np.nanmean(large[:128, :192]), np.nanmean(small), rtol=0.1)
    assert np.isnan(slide_cam(model, META, slide, tiles[:0], TARGET, max_px=30)).all()


def test_slide_map_has_flat_memory(model, monkeypatch):
    "A slide of 100,000 x 100,000 pixels: ten times the tiles, the same peak."
    from deepslide_nb import explanation

    class Sparse:
        dimensions = (100_000, 100_000)

        def read(self, x, y, size, px):
            return np.zeros((px, px, 3), np.uint8)

    monkeypatch.setattr(explanation, "network_input", lambda model, meta, pixels: pixels)
    monkeypatch.setattr(explanation, "grad_cam", lambda model, x, *_: np.ones((len(x), 2, 2), np.float32))

    def peak(n):
        tiles = pd.DataFrame({"x": np.arange(n) * 17, "y": np.arange(n) * 17, "size": 512})
        tracemalloc.start()
        heat = slide_cam(model, META, Sparse(), tiles, TARGET)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert heat.shape == (512, 512) and np.nanmin(heat) == np.nanmax(heat) == 1
        return top

    few, many = peak(500), peak(5000)
    assert many < 1.1 * few < 20e6


def test_scramble(model, x):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    other = scramble(model, ["fc", "layer4"], seed=1)
    assert torch.equal(state, torch.get_rng_state()) and not other.training
    changed = {
        k.split(".")[0] for k, v in other.state_dict().items() if not torch.equal(v, model.state_dict()[k])
    }
    assert changed == {"fc", "layer4"}
    assert layer_names(model)[0] == "fc" and layer_names(model)[-1] == "conv1"
    every = scramble(model)
    assert not any(torch.equal(a, b) for a, b in zip(every.parameters(), model.parameters()) if a.ndim > 1)


def test_rank_correlation():
    rng = np.random.default_rng(0)
    a, b = rng.random((40, 40)), rng.random((40, 40))
    assert rank_correlation(a, np.exp(a)) == pytest.approx(1) and abs(rank_correlation(a, b)) < 0.1
    b[:20] = np.nan
    assert rank_correlation(a, b) == pytest.approx(rank_correlation(a[20:], b[20:]))
    assert np.isnan(rank_correlation(a, np.ones_like(a))) and np.isnan(
        rank_correlation(a, np.full_like(a, np.nan))
    )


def test_deletion_and_insertion(monkeypatch, pixels):
    "The 'network' counts the bright pixels of the left half; the perfect map is the left half."
    from deepslide_nb import explanation

    def left(model, meta, tiles):
        return np.column_stack([tiles[:, :, :32].mean((1, 2, 3)) / 255] * 2)

    monkeypatch.setattr(explanation, "predict_pixels", left)
    white, values = np.full((64, 64, 3), 255, np.uint8), np.tile([1.0] * 32 + [0] * 32, (64, 1))
    good = deletion_insertion(None, META, white, values, 1, steps=4, cover=(0, 0, 0))
    assert np.allclose(good["share"], [0, 0.25, 0.5, 0.75, 1])
    assert np.allclose(good["deletion"], [1, 0.5, 0, 0, 0]) and np.allclose(
        good["insertion"], [0, 0.5, 1, 1, 1]
    )
    bad = deletion_insertion(None, META, white, -values, 1, steps=4, cover=(0, 0, 0))
    assert curve_areas(good).tolist() == pytest.approx([0.25, 0.75])
    assert curve_areas(bad).tolist() == pytest.approx([0.75, 0.25])


def test_curves_begin_and_end_with_the_tile(model, pixels):
    curves = deletion_insertion(model, META, pixels[0], np.random.default_rng(0).random((64, 64)), TARGET)
    whole = predict_pixels(model, META, pixels[:1])[0, TARGET]
    assert curves["deletion"].iloc[0] == pytest.approx(whole, abs=1e-5)
    assert curves["insertion"].iloc[-1] == pytest.approx(whole, abs=1e-5)


def test_share_inside_regions():
    regions = pd.DataFrame(
        {"name": ["a", "b"], "geometry": [shapely.box(0, 0, 50, 50), shapely.box(50, 50, 100, 100)]}
    )
    heat = np.zeros((10, 10))
    heat[:5, :5], heat[5:, :5] = 3, 1
    assert map_in_regions(heat, regions, (100, 100), "a") == pytest.approx((0.75, 0.25))
    assert map_in_regions(heat, regions, (100, 100)) == pytest.approx((0.75, 0.5))
    heat[:, 5:] = np.nan
    assert map_in_regions(heat, regions, (100, 100), "a") == pytest.approx((0.75, 0.5))
    share, tissue = map_in_regions(heat * 0, regions, (100, 100), "a")
    assert np.isnan(share) and tissue == 0.5
    assert np.isnan(map_in_regions(heat * np.nan, regions, (100, 100))).all()
    with pytest.raises(InputError, match="negative"):
        map_in_regions(heat - 2, regions, (100, 100))


def test_pictures(pixels):
    values = np.ones((4, 4))
    values[0, 0] = np.nan
    ax = plot_map(pixels[0], values, title="m")
    assert ax.images[1].get_cmap().name == "viridis" and ax.images[1].get_clim() == (0, 1)
    assert plot_map(pixels[0], values - 3).images[1].get_clim() == (-2, 2)
    assert plot_map(pixels[0], values, top=5).images[1].get_clim() == (0, 5)
    plot_map(pixels[0], np.full((4, 4), np.nan)).figure.canvas.draw()

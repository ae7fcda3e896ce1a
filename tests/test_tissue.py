"""Tissue: parity with DeepSlide's purple rule, and masks on pictures that upset Otsu."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from deepslide_nb.slides import open_slide
from deepslide_nb.tissue import (
    blur_mask,
    is_purple,
    mask_share,
    otsu_mask,
    pen_mask,
    purple_points,
    tissue_mask,
)

KEPT = {
    "eosin": (230, 150, 190),
    "hematoxylin": (90, 60, 140),
    "blood": (180, 40, 60),
    "red marker": (220, 30, 40),
}
REFUSED = {
    "white": (255, 255, 255),
    "glass": (243, 242, 244),
    "grey": (128, 128, 128),
    "black": (0, 0, 0),
    "pale pink": (240, 215, 230),
    "fat": (235, 228, 236),
    "brown": (150, 100, 60),
    "blue pen": (30, 60, 180),
    "green pen": (30, 140, 60),
}


def flat(color, side=224):
    return np.full((side, side, 3), color, np.uint8)


def by_formula(tile):
    "The rule as facts.md has it, one block at a time."
    h, w = tile.shape[:2]
    bh, bw = h // 15, w // 15
    padded = np.pad(tile.astype(float), ((0, -h % bh), (0, -w % bw), (0, 0)))
    found = np.zeros((padded.shape[0] // bh, padded.shape[1] // bw), bool)
    for i, j in np.ndindex(found.shape):
        r, g, b = padded[i * bh : (i + 1) * bh, j * bw : (j + 1) * bw].mean((0, 1))
        found[i, j] = r > g - 10 and b > g - 10 and (r + b) / 2 > g + 20
    return found


@pytest.mark.parametrize("side", [96, 150, 224, 225, 239, 300])
@pytest.mark.parametrize("color", list(KEPT.values()) + list(REFUSED.values()), ids=[*KEPT, *REFUSED])
def test_purple_rule_on_flat_colours(color, side):
    assert is_purple(flat(color, side)) == (color in KEPT.values())


@pytest.mark.parametrize(
    "shape,points",
    [
        ((224, 224), 256),
        ((150, 150), 225),
        ((239, 239), 256),
        ((225, 224), 240),
        ((100, 131), 289),
        ((15, 29), 435),
    ],
)
def test_purple_grid(shape, points):
    tile = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    tile[: shape[0] // 2] = KEPT["eosin"]
    assert purple_points(tile).size == points
    assert np.array_equal(purple_points(tile), by_formula(tile))


@pytest.mark.parametrize("side,block", [(224, 14), (150, 10)])
def test_more_than_100_points(side, block):
    for points in (100, 101):
        tile = flat((255, 255, 255), side)
        for i, j in list(np.ndindex(side // block, side // block))[:points]:
            tile[i * block : (i + 1) * block, j * block : (j + 1) * block] = KEPT["eosin"]
        assert purple_points(tile).sum() == points
        assert is_purple(tile) == (points == 101)


def test_zero_padding_dilutes_the_last_blocks():
    tile = flat((255, 255, 255), 224)[
        :, :211
    ]  # blocks of 14: one column is left for the last block, 13 of zeros
    tile[:, 210] = (130, 0, 130)
    assert not purple_points(tile)[:, -1].any()
    assert np.array_equal(purple_points(tile), by_formula(tile))


def test_too_small_for_the_rule():
    with pytest.raises(ValueError, match="15 x 15"):
        purple_points(flat((0, 0, 0), 14))


@pytest.mark.parametrize("noise", [0, 2, 5])
@pytest.mark.parametrize(
    "color", [(255, 255, 255), (243, 242, 244), (235, 240, 236), (200, 200, 205), (0, 0, 0)]
)
def test_an_empty_slide_has_no_tissue(color, noise):
    glass = np.random.default_rng(1).normal(color, noise, (400, 600, 3)).clip(0, 255).astype(np.uint8)
    if color == (0, 0, 0):  # a scanner's black border: coloured noise, but pen by its darkness
        assert pen_mask(glass).all()
    else:
        assert not otsu_mask(glass).any()


def test_a_crumb_on_an_empty_slide():
    glass = np.random.default_rng(1).normal(243, 2, (600, 600, 3)).clip(0, 255).astype(np.uint8)
    glass[300:320, 300:330] = (200, 120, 170)
    mask = otsu_mask(glass)
    assert mask[302:318, 302:328].all() and mask.sum() < 900


@pytest.mark.parametrize("color", [(30, 60, 180), (20, 30, 120), (30, 140, 60), (25, 25, 30), (220, 30, 40)])
def test_pen_strokes_are_found_and_tissue_is_not(color):
    rng = np.random.default_rng(2)
    rgb = rng.normal(243, 2, (500, 500, 3))
    rgb[250:450, 100:400] = rng.normal((190, 110, 170), 20, (200, 300, 3))
    rgb[300:310, 120:130] = KEPT["blood"]
    rgb[60:75, 50:450] = color
    rgb = ndi.gaussian_filter(rgb, (1, 1, 0)).clip(0, 255).astype(np.uint8)
    pen = pen_mask(rgb)
    assert pen[62:73, 60:440].all() and pen.sum() < 15 * 400 * 1.8
    assert not pen[230:].any()


def test_blur_is_found_at_any_contrast():
    rng = np.random.default_rng(3)
    sharp = ndi.gaussian_filter(rng.normal(0, 1, (400, 800)), 0.7)
    for contrast in (15, 60):
        grey = np.clip(160 + contrast * sharp / sharp.std(), 0, 255)
        grey[:, 400:] = ndi.gaussian_filter(grey, 3)[:, 400:]
        blurred = blur_mask(np.repeat(grey[..., None], 3, 2).astype(np.uint8))
        assert blurred[:, 440:].mean() > 0.99 and blurred[:, :360].mean() < 0.01


def test_share_is_exact_where_windows_cut_pixels():
    mask = np.random.default_rng(4).random((7, 9)) > 0.5
    big = np.kron(mask, np.ones((10, 10)))  # the same mask at level 0
    xs, ys = np.random.default_rng(5).integers(-20, 90, (2, 200))
    share = mask_share(mask, (90, 70), xs, ys, 25)
    padded = np.pad(big, 50)
    assert np.allclose(
        share, [padded[y + 50 : y + 75, x + 50 : x + 75].mean() for x, y in zip(xs, ys)], atol=1e-6
    )
    assert share.dtype == np.float32 and mask_share(mask, (90, 70), [], [], 25).shape == (0,)


def test_size_per_window():
    mask = np.ones((4, 4), bool)
    assert mask_share(mask, (40, 40), [0, 30], [0, 0], [40, 20]).tolist() == [1.0, 0.5]


@pytest.mark.parametrize(
    "name,low,high",
    [
        ("slides/CMU-1-Small-Region.svs", 0.3, 0.4),
        ("slides/TCGA-CR-7395-01A-01-TS1_small.svs", 0.55, 0.68),
        ("idc_slide/slide_14306.tif", 0.1, 0.16),
    ],
)
def test_real_slides(real, name, low, high):
    with open_slide(real / name) as slide:
        assert low < tissue_mask(slide).mean() < high


def test_pictures_that_are_all_tissue(real):
    images = sorted((real / "breakhis_bags").glob("*/*/*.jpg"))[::20]
    kept = [otsu_mask(open_slide(path).thumbnail()).mean() for path in images]
    assert (
        np.median(kept) > 0.85 and min(kept) > 0.4
    )  # the palest, fibroadenoma 23222AB, is a washed-out grey
    with open_slide(real / "slides" / "CMU-1-Small-Region.svs") as slide:
        inside = slide.read(750, 1900, 500, 500)
    assert otsu_mask(inside).mean() > 0.9  # the rest are gaps between fibres

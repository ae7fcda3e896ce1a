"The answers of the quiz of lesson 10 that can be computed."
import json

import numpy as np
import pandas as pd
import torch
from quizzes import right
from shapely import box
from shapely.geometry import mapping

from deepslide_nb.attention import Attention, AttentionNet, GridNet, attention_in_regions, tile_grid

QUIZ = "10_attention"


def test_mean_of_a_bag():  # question 1
    assert right(QUIZ, 1) == [np.append(np.zeros(39), 0.8).mean()]


def test_weights_with_masked_padding():  # question 2
    layer, h = Attention(1, hidden=1, gated=False), torch.tensor([0.0, 0, 50, 0, 0])[:, None]
    with torch.no_grad():
        layer.V.weight.fill_(1)  # tanh of 50 is 1, so that the scores are 0, 0, log(3), and 0 for the padding
        layer.w.weight.fill_(np.log(3))
    weights = layer(h, torch.arange(5) < 3)
    ((low, high),) = right(QUIZ, 2)
    assert low < weights[2].item() < high and weights[3:].sum() == 0


def bag(n, seed=0):
    torch.manual_seed(seed)
    return torch.randn(1, n, 8), torch.from_numpy(tile_grid(pd.DataFrame({"x": np.arange(n), "y": 0})))[None]


def test_every_tile_twice():  # question 3
    h, cells = bag(6)
    net = AttentionNet(8, 3)
    order = torch.randperm(12)
    twice, there = torch.cat([h, h], 1)[:, order], torch.cat([cells, cells], 1)[:, order]
    assert torch.allclose(net(h, cells), net(twice, there), atol=1e-6)
    halved = torch.cat([net.weights(h, cells)] * 2, 1)[:, order] / 2
    assert torch.allclose(net.weights(twice, there), halved, atol=1e-6)
    assert right(QUIZ, 3) == ["Each weight is halved, and the verdict stays the same."]


def test_share_of_attention_inside(tmp_path):  # question 5
    region = {"type": "Feature", "geometry": mapping(box(0, 0, 150, 100)), "properties": {"classification": {"name": "solid"}}}
    path = tmp_path / "regions.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [region]}))
    tiles = pd.DataFrame({"slide_id": "s", "x": [0, 100, 200, 300], "y": 0, "size": 100, "attention": [0.5, 0.3, 0.1, 0.1]})
    row = attention_in_regions(tiles, pd.DataFrame({"slide_id": ["s"], "label": ["solid"], "annotations": [str(path)]})).iloc[0]
    assert np.allclose([row["attention_inside"], row["tissue_inside"]], [*right(QUIZ, 5), 0.375])


def test_column_of_the_last_tile():  # question 6
    assert right(QUIZ, 6) == [tile_grid(pd.DataFrame({"x": [0, 96, 192, 480], "y": 0}))[-1, 1]]


def test_only_the_grid_sees_the_layout():  # question 7
    h, _ = bag(9)
    beside = torch.from_numpy(np.argwhere(np.ones((3, 3))))[None]
    apart = 2 * beside
    gated, grid = AttentionNet(8, 3), GridNet(8, 3, maps=4)
    assert torch.allclose(gated(h, beside), gated(h, apart), atol=1e-6)
    assert not torch.allclose(grid(h, beside), grid(h, apart), atol=1e-3)
    assert right(QUIZ, 7) == ["Gated attention gives both slides the same verdict; grid attention may not."]

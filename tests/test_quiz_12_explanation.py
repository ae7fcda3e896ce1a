"The answers of the quiz of lesson 12 that can be computed."
import numpy as np
import pandas as pd
import torch
from quizzes import right
from shapely import box
from torch import nn
from torchvision.models import resnet18

from deepslide_nb.explanation import cam, curve_areas, grad_cam, map_in_regions, scaled

QUIZ = "12_explanation"


class Known(nn.Module):
    "A network whose last maps are those that it is given, so that they can be written down."

    def __init__(self, weights, bias):
        super().__init__()
        self.layer4, self.fc = nn.Conv2d(2, 2, 1, bias=False), nn.Linear(2, 1)
        with torch.no_grad():
            self.layer4.weight.copy_(torch.eye(2)[:, :, None, None])
            self.fc.weight.copy_(torch.tensor([weights]))
            self.fc.bias.fill_(bias)

    def forward(self, x):
        return self.fc(self.layer4(x).mean((2, 3)))


def test_cells_of_a_tile_of_224_pixels():  # question 1
    assert right(QUIZ, 1) == [cam(resnet18(num_classes=2).eval(), torch.zeros(1, 3, 224, 224), 0).shape[-1]]


def test_score_from_the_map():  # question 2
    net, maps = Known([2.0, -1.0], 0.5), torch.tensor([[[[1.0, 3], [0, 0]], [[2, 0], [0, 2]]]])
    found = cam(net, maps, 0)[0]
    assert np.allclose(found, [[0, 6], [0, -2]])
    assert np.allclose([found.mean() + 0.5, net(maps).item()], right(QUIZ, 2) * 2)


def test_factor_between_cam_and_grad_cam():  # question 3
    torch.manual_seed(0)
    net, maps = Known([2.0, -1.0], 0.5), torch.randn(1, 2, 4, 4)
    assert np.allclose(cam(net, maps, 0), grad_cam(net, maps, 0, positive=False) * right(QUIZ, 3), atol=1e-5)


def test_each_tile_on_its_own_scale():  # question 5
    assert np.allclose(scaled(np.array([[[0, 0.001]], [[0, 9.0]]])).max((1, 2)), 1, atol=1e-3)
    assert right(QUIZ, 5) == ["Every tile's largest value becomes 1, however small it was."]


def test_area_under_a_deletion_curve():  # question 6
    prob = [1, 0.6, 0.2, 0.2, 0.2]
    curves = pd.DataFrame({"share": np.linspace(0, 1, 5), "deletion": prob, "insertion": prob})
    assert np.allclose(curve_areas(curves)["deletion"], right(QUIZ, 6))


def test_a_map_that_knows_nothing_has_the_share_of_the_tissue():  # question 8
    regions = pd.DataFrame({"name": ["solid"], "geometry": [box(0, 0, 85, 100)]})
    assert np.allclose(map_in_regions(np.ones((20, 20)), regions, (100, 100)), 0.85)
    assert "Slides on which the tumour is a small part of the tissue." in right(QUIZ, 8)

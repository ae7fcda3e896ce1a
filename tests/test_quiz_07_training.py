"The answers of the training quiz, computed."
import math
from contextlib import nullcontext
from types import SimpleNamespace

from quizzes import right

from deepslide_nb.settings import load_settings
from deepslide_nb.training import Keeper, fit, make_network


def test_rate_of_an_epoch():  # question 2
    settings, caught = load_settings(recipe="deepslide", epochs=20), {}
    keeper = SimpleNamespace(finished=lambda: False, rows=[], lr=0.001)
    fit(SimpleNamespace(no_bar=nullcontext, fit=lambda epochs, lr, cbs, start_epoch: caught.update(cbs[0].scheds)), settings, keeper)
    rates = [caught["lr"](epoch / 20) for epoch in range(20)]
    assert math.isclose(rates[0], 0.001)
    assert right("07_training", 2) == [round(100 * rates[4] / rates[0])]


def test_kept_epoch():  # question 3
    keeper = Keeper("", load_settings(recipe="one_cycle"), "")
    accuracy, loss = (0.70, 0.88, 0.91, 0.91, 0.90), (0.80, 0.40, 0.35, 0.30, 0.32)
    keeper.rows = [{"balanced_accuracy": a, "valid_loss": v} for a, v in zip(accuracy, loss)]
    assert right("07_training", 3) == [keeper.best()]


def test_numbers_of_the_last_layer():  # question 7
    assert right("07_training", 7) == [sum(p.numel() for p in make_network("resnet18", 3).fc.parameters())]

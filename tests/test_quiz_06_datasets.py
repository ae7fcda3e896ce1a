"The quiz of lesson 06: answers that can be computed."
import pandas as pd
import pytest
from quizzes import right

from deepslide_nb.datasets import class_weights, repeat_tiles, split_slides
from deepslide_nb.settings import InputError
from deepslide_nb.tiles import windows

LABELS = pd.Series(["normal"] * 900 + ["tumour"] * 100)


def test_too_few_patients():  # question 2
    slides = pd.DataFrame({"slide_id": list("abcde"), "patient_id": list("pqrst"), "label": list("xxyyy")})
    with pytest.raises(InputError, match="of 2 patients, and 3 are needed"):
        split_slides(slides)
    assert right("06_datasets", 2) == ["It says that the class has two patients and three are needed"]


def test_loss_weight():  # question 3
    assert right("06_datasets", 3) == [pytest.approx(class_weights(LABELS, ["normal", "tumour"])[1])]


def test_rows_after_repeats():  # question 4
    assert right("06_datasets", 4) == [len(repeat_tiles(pd.DataFrame({"label": LABELS})))]


def test_overlap_for_four_times_as_many():  # question 5
    (overlap,) = right("06_datasets", 5)
    once, denser = (len(windows((60_000, 60_000), 300, o)[0]) for o in (0, overlap / 100))
    assert denser / once == pytest.approx(4, rel=0.05)


def test_balanced_accuracy_of_a_lazy_classifier():  # question 6
    truth = pd.Series(["normal"] * 90 + ["tumour"] * 10)
    recall = [(pd.Series(["normal"] * 100)[truth == name] == name).mean() for name in ("normal", "tumour")]
    assert right("06_datasets", 6) == [100 * sum(recall) / 2]

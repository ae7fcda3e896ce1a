"The quiz of lesson 04: answers that can be computed."
from quizzes import right

from deepslide_nb.tiles import factor_to_overlap, window_size, window_starts, windows


class Scan:
    "What `window_size` asks of a slide."

    path, mpp, kind = "scan.svs", 0.25, "slide"


def test_last_window():  # question 1
    starts = window_starts(1000, 300)
    assert right("04_tiles", 1) == [f"At {starts[-1]}, and it overlaps its neighbour"]
    assert starts[-2] + 300 > starts[-1]


def test_windows_along_a_side():  # question 2
    assert right("04_tiles", 2) == [len(window_starts(1000, 300, 0.5))]


def test_window_in_level_0():  # question 3
    assert right("04_tiles", 3) == [window_size(Scan(), 224, 1.0)]


def test_overlap_of_a_factor():  # question 4
    assert right("04_tiles", 4) == [100 * factor_to_overlap(4)]


def test_growth_by_overlap():  # question 5
    count = [len(windows((60_000, 60_000), 300, overlap)[0]) for overlap in (0, 2 / 3)]
    assert right("04_tiles", 5) == [round(count[1] / count[0])]


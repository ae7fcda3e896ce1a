"The quiz of lesson 21: answers that can be computed."
from quizzes import right


def hours(workers, shared=8, alone=2):
    return shared / workers + alone


def test_longest_first():  # question 3
    load = [0, 0]
    for minutes in (6, 5, 4, 3, 2):
        load[load.index(min(load))] += minutes
    assert right("21_many_machines", 3) == [max(load)]


def test_tiles_of_a_step():  # question 2
    batch, processes = 32, 4
    assert right("21_many_machines", 2) == [batch * processes]


def test_hours_with_eight_workers():  # question 4
    assert right("21_many_machines", 4) == [hours(8)]


def test_fastest():  # question 5
    (most,) = right("21_many_machines", 5)
    assert all(hours(1) / hours(n) < most for n in (2, 10, 1000)) and abs(hours(1) / hours(10**9) - most) < 1e-6


def test_order_of_a_sum():  # question 7
    one, other = (0.1 + 0.2) + 0.3, 0.1 + (0.2 + 0.3)
    assert one != other and abs(one - other) < 1e-15
    assert right("21_many_machines", 7)[0].startswith("The sums differ in the last digit")

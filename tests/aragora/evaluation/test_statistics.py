import pytest

from aragora.evaluation.statistics import chance, difference_interval, share_interval


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [
        (0, 1, 0.0, 0.793457),
        (1, 1, 0.206543, 1.0),
        (1, 2, 0.094529, 0.905471),
        (75, 100, 0.656955, 0.824555),
        (0, 100, 0.0, 0.036995),
        (0, 0, 0.0, 1.0),
    ],
)
def test_the_interval_of_a_share_is_wilsons(right, total, low, high):
    assert share_interval(right, total) == pytest.approx((low, high), abs=1e-5)


def test_the_interval_of_a_difference_holds_it_and_narrows():
    few, many = difference_interval(6, 2, 20), difference_interval(60, 20, 200)
    assert few[0] < 0.2 < few[1]
    assert many[1] - many[0] < few[1] - few[0]
    assert difference_interval(0, 0, 0) == pytest.approx((-0.98, 0.98), abs=0.01)
    low, high = difference_interval(2, 6, 20)
    assert (-high, -low) == pytest.approx(few)


@pytest.mark.parametrize(
    ("better", "worse", "expected"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 0.0625), (6, 0, 0.03125), (4, 4, 1.0), (9, 2, 0.0654)],
)
def test_the_chance_of_a_difference_is_mcnemars(better, worse, expected):
    assert chance(better, worse) == pytest.approx(expected, abs=1e-4)
    assert chance(worse, better) == chance(better, worse)

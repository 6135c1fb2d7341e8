import pytest

from aragora.debate.convergence import similarity, status, terms


def test_the_same_words_are_alike_in_any_order_and_case():
    assert similarity(["Adopt event sourcing now", "now ADOPT sourcing event"]) == 1.0


def test_no_word_in_common():
    assert similarity(["adopt it", "never do that"]) == 0.0


def test_more_in_common_is_more_alike():
    base = "adopt event sourcing for the audit log"
    near, far = "adopt event sourcing for the orders", "keep the database as it is"
    assert 0 < similarity([base, far]) < similarity([base, near]) < 1


def test_computed_by_hand():
    # Two texts, one term shared: idf(shared) = 1, idf(own) = ln(3/2) + 1 = 1.405465; cosine = 1 / (1 + 1.405465**2).
    assert similarity(["shared one", "shared two"]) == pytest.approx(1 / (1 + 1.4054651**2), abs=1e-4)


def test_three_texts_are_the_mean_of_their_pairs():
    assert similarity(["a", "a", "b"]) == pytest.approx(1 / 3, abs=1e-4)


@pytest.mark.parametrize(("texts", "value"), [([], 1.0), (["x"], 1.0), (["", ""], 1.0), (["!?", "word"], 0.0)])
def test_the_edges(texts, value):
    assert similarity(texts) == value


def test_scripts_without_spaces_are_compared_by_character():
    assert terms("イベント採用 yes") == ["イ", "ベ", "ン", "ト", "採", "用", "yes"]
    assert 0 < similarity(["事件溯源很好", "事件溯源不好"]) < 1


@pytest.mark.parametrize(
    ("value", "name"),
    [(1.0, "converged"), (0.85, "converged"), (0.8499, "refining"), (0.6, "refining"), (0, "diverging")],
)
def test_status(value, name):
    assert status(value) == name

import json
from pathlib import Path

import pytest

from aragora.evaluation.cases import MOST_CASES, Case, CasesError, final, key, load


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("It is 6 times 7.\nAnswer: 42", "42"),
        ("**Answer:** 42.", "42"),
        ("Answer: 41\nNo, wait.\nFinal answer: **42**\n", "42"),
        ("The answer is 42.", "42"),
        ("> Answer = x + 1", "x + 1"),
        ("Answer: -5", "-5"),
        ("so \\boxed{42} it is", "42"),
        ("Answer: $\\boxed{42}$", "42"),
        ("My answer would be 42.", None),
        ("The answers: 41, 42", None),
        ("Answer: ", None),
        ("", None),
    ],
)
def test_the_short_answer_stands_in_a_line_of_its_own(text, short):
    assert final(text) == short


@pytest.mark.parametrize(
    ("known", "given"),
    [
        ("42", "42"),
        ("42", "42.0"),
        ("42", "42 apples"),
        ("1000", "1,000 $"),
        ("-0.5", "\u22120.5"),
        ("1e3", "1000"),
        ("no", "No"),
        ("São Paulo", "sa\u0303o paulo"),
        ("Mount Everest", "“Mount-Everest”"),
        ("B", "(b)"),
    ],
)
def test_right_answers(known, given):
    assert Case("q", ("x", known)).is_right(given)


@pytest.mark.parametrize(
    ("known", "given"), [("42", "41"), ("42", "42 or 43"), ("42", "4 2"), ("no", "not"), ("B", "A")]
)
def test_wrong_answers(known, given):
    assert not Case("q", (known,)).is_right(given)
    assert not Case("q", (known,)).is_right(None)


def test_equal_short_answers_are_counted_together():
    assert key("1,000") == key("1000.0") == key("1e3 m")
    assert key("The Moon!") == key("the moon")
    assert key("41") != key("42")


@pytest.mark.parametrize(
    "text",
    [
        '{"question": "a?", "answer": 42}\n\n{"question": "b?", "answer": ["x", "y"]}\n',
        '[{"question": "a?", "answer": "42"}, {"question": "b?", "answer": ["x", "y"], "more": 1}]',
    ],
)
def test_a_file_is_lines_or_a_list(tmp_path: Path, text):
    path = tmp_path / "cases"
    path.write_text(text)
    assert load(path) == [Case("a?", ("42",)), Case("b?", ("x", "y"))]
    assert load(path)[0].asked.startswith("a?\n\nEnd with one line")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "holds no question"),
        ("{", "cases:1: is not JSON"),
        ('{"question": "a?", "answer": 1}\n7', "cases:2: write an object"),
        ('{"answer": 1}', "cases:1: question: write a text"),
        ('{"question": "a?"}', "cases:1: answer: write a text, a number or a list"),
        ('{"question": "a?", "answer": []}', "answer"),
        ('{"question": "a?", "answer": true}', "answer"),
        ('[{"question": " ", "answer": 1}]', "question 1: question"),
        (json.dumps({"question": "x" * 20_001, "answer": 1}), "at most 20000"),
        ('{"question": "a?", "answer": 1}\n' * (MOST_CASES + 1), f"at most {MOST_CASES}"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_file_with_a_fault_is_refused_by_line_and_reason(tmp_path: Path, text, problem):
    path = tmp_path / "cases"
    path.write_text(text)
    with pytest.raises(CasesError, match=r".") as refused:
        load(path)
    assert problem in str(refused.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path):
    with pytest.raises(CasesError, match="No such file"):
        load(tmp_path / "nothing")
    (tmp_path / "latin").write_bytes(b"\xff\xfe{}")
    with pytest.raises(CasesError, match="not UTF-8"):
        load(tmp_path / "latin")

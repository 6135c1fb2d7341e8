"""Schemas of answers in JSON: what every provider takes, and what keeps a small model from going on for ever."""

import json

import jsonschema
import pytest

from aragora.debate import forms

FORMS = {
    "critiques": forms.critiques("ABC"),
    "vote": forms.vote("ABC"),
    "ranking": forms.ranking("ABC"),
    "synthesis": forms.synthesis(),
}
LONG = "x" * 301


@pytest.mark.parametrize("name", FORMS)
def test_the_example_keeps_to_its_schema(name: str) -> None:
    form = FORMS[name]
    jsonschema.validate(json.loads(form.text), form.schema)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vote", {"reasoning": LONG, "choice": "A", "confidence": 1}),
        ("ranking", {"reasoning": "x", "ranking": ["A", "B"], "confidence": 1}),
        ("ranking", {"reasoning": "x", "ranking": ["A", "B", "C", "A"], "confidence": 1}),
        ("synthesis", {**forms.SYNTHESIS, "disputes": ["x"] * 4}),
        ("synthesis", {**forms.SYNTHESIS, "minority": LONG}),
    ],
)
def test_bounds_leave_nothing_without_an_end(name: str, said: dict) -> None:
    schema = FORMS[name].schema
    jsonschema.validate(said, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(said, forms.bounded(schema))


def test_bounds_ask_for_one_critique_of_each_answer() -> None:
    bounded = jsonschema.Draft202012Validator(forms.bounded(FORMS["critiques"].schema))
    one = {"reasoning": "x", "issues": ["x"] * 3, "suggestions": [], "severity": 3}
    bounded.validate({"critiques": dict.fromkeys("ABC", one)})
    for letters, wrong in (
        ("AB", one),
        ("ABCD", one),
        ("ABC", {**one, "reasoning": LONG}),
        ("ABC", {**one, "issues": ["x"] * 4}),
    ):
        assert not bounded.is_valid({"critiques": dict.fromkeys(letters, wrong)})


def test_an_answer_is_as_long_as_it_likes() -> None:
    said = {**forms.SYNTHESIS, "answer": LONG * 9}
    jsonschema.validate(said, forms.bounded(FORMS["synthesis"].schema))

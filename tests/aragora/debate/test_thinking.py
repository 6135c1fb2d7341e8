"""Thinking aloud, in every form in which it has been seen, is no part of an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aragora.debate import thinking

ANSWER = '{"choice": "gpt-1", "confidence": 0.8}'
THOUGHT = 'Hmm, perhaps {"choice": "nobody"}?\nLet me see. [1] a < b'

FORMS = {
    "tags": f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}",
    "tags in capitals": f"<THINK>{THOUGHT}</THINK>{ANSWER}",
    "another tag": f"<thinking>{THOUGHT}</thinking>\n{ANSWER}",
    "a third tag": f"<reasoning>{THOUGHT}</reasoning>\n{ANSWER}",
    "twice": f"<think>{THOUGHT}</think><think>{THOUGHT}</think>{ANSWER}",
    "after a word": f"Sure.\n<think>{THOUGHT}</think>\n{ANSWER}",
    "opened by the template": f"{THOUGHT}\n</think>\n\n{ANSWER}",
    "another tag, opened by the template": f"{THOUGHT}</thinking>{ANSWER}",
    "magistral": f"[THINK]{THOUGHT}[/THINK]{ANSWER}",
    "kimi": f"◁think▷{THOUGHT}◁/think▷{ANSWER}",
    "seed": f"<seed:think>{THOUGHT}</seed:think>{ANSWER}",
    "command": f"<|START_THINKING|>{THOUGHT}<|END_THINKING|><|START_RESPONSE|>{ANSWER}<|END_RESPONSE|>",
    "gemma": f"<|channel>thought\n{THOUGHT}<channel|>{ANSWER}",
    "harmony": f"<|channel|>analysis<|message|>{THOUGHT}<|end|>"
    f"<|start|>assistant<|channel|>final<|message|>{ANSWER}<|return|>",
    "harmony with a commentary": f"<|channel|>analysis<|message|>{THOUGHT}<|end|>"
    f"<|start|>assistant<|channel|>commentary<|message|>{THOUGHT}<|end|>"
    f"<|start|>assistant<|channel|>final <|constrain|>json<|message|>{ANSWER}",
    "harmony without its marks": f"analysis{THOUGHT}assistantfinal{ANSWER}",
    "no thinking": ANSWER,
}
LATE = ("opened by the template", "without its marks", "after a word")  # what could not be known while it came


@pytest.mark.parametrize("form", FORMS)
def test_thinking_is_no_part_of_an_answer(form: str) -> None:
    assert thinking.answer(FORMS[form]).strip() == ANSWER


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_thinking_is_not_shown_while_it_comes(form: str, size: int) -> None:
    visible = thinking.Visible()
    text = FORMS[form]
    shown = "".join(visible.add(text[start : start + size]) for start in range(0, len(text), size)) + visible.rest()
    if form.endswith(LATE):
        assert shown.endswith(ANSWER)
    else:
        assert shown.strip() == ANSWER


@pytest.mark.parametrize("form", ["opened by the template", "another tag, opened by the template"])
def test_a_model_known_to_begin_in_thought_shows_none(form: str) -> None:
    assert thinking.unopened(FORMS[form])
    visible = thinking.Visible(thinking=True)
    shown = "".join(visible.add(letter) for letter in FORMS[form]) + visible.rest()
    assert shown.strip() == ANSWER


@pytest.mark.parametrize(
    "text",
    [f"<think>\n{THOUGHT}", f"[THINK]{THOUGHT}", f"<|channel|>analysis<|message|>{THOUGHT}", f"◁think▷{THOUGHT}"],
)
def test_thinking_that_comes_to_no_end_is_no_answer(text: str) -> None:
    assert not thinking.answer(text).strip()
    visible = thinking.Visible()
    assert not ("".join(visible.add(letter) for letter in text) + visible.rest()).strip()


@pytest.mark.parametrize(
    "text",
    [
        "Models write `<think>` and `</think>` around it.",
        'The marks "<think>" and "</think>" are in the template.',
        "a < b, c > d, list[0] and [a link](https://example.org) <br>",
        "Analysis: an assistant has the final word.",
        "x <",
        "",
    ],
)
def test_talk_about_thinking_is_an_answer(text: str) -> None:
    assert thinking.answer(text) == text
    visible = thinking.Visible()
    assert "".join(visible.add(letter) for letter in text) + visible.rest() == text


PARTS = st.sampled_from(["<think>", "</think>", "[THINK]", "[/THINK]", "<|channel|>", "final", "<|message|>", "a", "<"])


@given(st.lists(PARTS, max_size=12), st.data())
def test_what_is_shown_does_not_depend_on_where_it_is_cut(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    visible, whole = thinking.Visible(), thinking.Visible()
    assert "".join(map(visible.add, pieces)) + visible.rest() == whole.add(text) + whole.rest()

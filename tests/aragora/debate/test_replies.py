import json
import time

import pytest

from aragora.debate import replies
from aragora.debate.asks import Ask, Failure, Purpose, Reply
from aragora.debate.events import EventType
from aragora.debate.spec import AgentSpec

CHOICES = ("claude-1", "gpt-1", "gpt-10")


def ask(purpose: Purpose, attempt: int = 1, choices: tuple[str, ...] = CHOICES) -> Ask:
    target = "gpt-1" if purpose is Purpose.CRITIQUE else None
    return Ask(AgentSpec("claude-1", "demo"), purpose, 2, target, attempt, "", "", choices)


def read(purpose: Purpose, text: str, attempt: int = 1):
    (draft,) = replies.drafts(ask(purpose, attempt), Reply(text))
    assert (draft.round, draft.agent) == (2, "claude-1")
    return draft


def critique(text: str, attempt: int = 1) -> dict:
    draft = read(Purpose.CRITIQUE, text, attempt)
    assert draft.type is EventType.CRITIQUE
    assert draft.data["target"] == "gpt-1"
    return draft.data


def vote(text: str, attempt: int = 1) -> dict:
    draft = read(Purpose.VOTE, text, attempt)
    assert draft.type is EventType.VOTE
    return draft.data


class TestMessages:
    def test_text_is_kept(self):
        draft = read(Purpose.PROPOSE, "  Yes.\n\nBecause of {reasons}.\n")
        assert draft.data == {"role": "proposer", "content": "Yes.\n\nBecause of {reasons}."}

    def test_the_model_that_answered_is_named_when_known(self):
        (draft,) = replies.drafts(ask(Purpose.REVISE), Reply("No.", "some-model\n2026"))
        assert draft.data == {"role": "reviser", "content": "No.", "model": "some-model 2026"}

    def test_long_text_is_cut(self):
        content = read(Purpose.PROPOSE, "x" * 1_000_000).data["content"]
        assert len(content) == replies.MAX_ANSWER
        assert content.endswith(" […]")

    @pytest.mark.parametrize("text", ["", " \n\t ", "<think>on and on", "<think>hm</think>  "])
    def test_nothing_is_unusable(self, text):
        draft = read(Purpose.PROPOSE, text)
        assert draft.type is EventType.AGENT_ERROR
        assert draft.data["kind"] == "unusable"

    def test_thinking_aloud_is_not_the_answer(self):
        assert read(Purpose.PROPOSE, "\n<think>first\n</think>\nYes.").data["content"] == "Yes."

    def test_what_no_database_stores_is_replaced(self):
        assert read(Purpose.PROPOSE, "a\x00b\ud800c\x1b[31m\r\nd\u2028e").data["content"] == "a�b�c�[31m\nd\ne"


class TestCritiques:
    def test_as_asked(self):
        text = '{"issues": ["a", "b"], "suggestions": ["c"], "severity": 7, "reasoning": "d"}'
        expected = {"target": "gpt-1", "issues": ["a", "b"], "suggestions": ["c"], "severity": 7.0, "reasoning": "d"}
        assert critique(text) == expected

    @pytest.mark.parametrize(
        "text",
        [
            'Here it is:\n```json\n{"issues": ["a"], "severity": 3}\n```\nI hope it helps.',
            '{"Issues": "a", "SEVERITY": "3/10"}',
            '{"issues": ["a", "a", "", null, 1e999], "severity": "3",}',
            '{"thought": {"deep": 1}} {"issues": [{"text": "a", "line": 3}], "severity": 3.0}',
            '<think>{"issues": ["wrong"]}</think>{"issues": "- a", "severity": "3 of 10"}',
            'Using {braces} loosely: {"issues": ["a"], "severity": 3}',
            '{"issues": ["a"], "severity": 3, "reasoning": "two\nlines"}',
        ],
    )
    def test_leniently(self, text):
        found = critique(text)
        assert (found["issues"], found["severity"]) == (["a"], 3.0)

    @pytest.mark.parametrize(
        ("written", "understood"),
        [
            ("99", 10.0),
            ("-4", 0.0),
            ('"high"', 8.0),
            ('" Critical "', 10.0),
            ('"about 6.5 or so"', 6.5),
            ("true", 5.0),
            ("null", 5.0),
            ("NaN", 5.0),
            ("1e400", 5.0),
            ("1" + "0" * 400, 5.0),
            ("[]", 5.0),
        ],
    )
    def test_severity(self, written, understood):
        assert critique(f'{{"severity": {written}}}')["severity"] == understood

    def test_bounds(self):
        found = critique(json.dumps({"issues": ["x" * 9999, *map(str, range(999))], "reasoning": "y" * 9999}))
        assert len(found["issues"]) == replies.MAX_POINTS
        assert max(map(len, found["issues"])) == replies.MAX_POINT
        assert len(found["reasoning"]) == replies.MAX_REASONING

    def test_prose_is_asked_for_again_and_then_taken_as_reasoning(self):
        assert read(Purpose.CRITIQUE, "It is vague.").data["retry"]
        expected = {"target": "gpt-1", "issues": [], "suggestions": [], "severity": 5.0, "reasoning": "It is vague."}
        assert critique("It is vague.", attempt=2) == expected

    def test_nothing_is_unusable_however_often(self):
        draft = read(Purpose.CRITIQUE, "", attempt=2)
        assert (draft.type, draft.data["retry"]) == (EventType.AGENT_ERROR, False)


class TestVotes:
    @pytest.mark.parametrize(
        "written",
        ["gpt-1", "GPT-1", " `gpt-1` ", "answer 2", "2", "#2", "Answer #2", "The answer by gpt-1, clearly", "2."],
    )
    def test_a_choice_by_name_or_number(self, written):
        assert vote(json.dumps({"choice": written}))["choice"] == "gpt-1"

    def test_a_number_is_a_number(self):
        assert vote('{"vote": 3}')["choice"] == "gpt-10"

    @pytest.mark.parametrize(
        "written", ['"gpt-2"', '"gpt-1 or claude-1"', "0", "4", '"99"', "true", "null", '["gpt-1"]', '""', "-1", "1.5"]
    )
    def test_who_does_not_stand_gets_no_vote(self, written):
        draft = read(Purpose.VOTE, f'{{"choice": {written}}}')
        assert draft.type is EventType.AGENT_ERROR
        assert draft.data["message"] == "the vote names no answer that stands for election"

    @pytest.mark.parametrize(
        ("written", "understood"),
        [
            ("0.7", 0.7),
            ("1", 1.0),
            ("1.2", 1.0),
            ("70", 0.7),
            ('"70 %"', 0.7),
            ('"1%"', 0.01),
            ("1000", 1.0),
            ("-1", 0.0),
            ("NaN", 0.5),
            ('"sure"', 0.5),
            ("{}", 0.5),
            ("false", 0.5),
        ],
    )
    def test_confidence(self, written, understood):
        assert vote(f'{{"choice": "gpt-1", "confidence": {written}}}')["confidence"] == understood

    def test_prose_counts_at_the_second_attempt_if_it_names_one(self):
        text = "I take gpt-10."
        assert read(Purpose.VOTE, text).data["kind"] == "unusable"
        assert vote(text, attempt=2) == {"choice": "gpt-10", "confidence": 0.5, "reasoning": "I take gpt-10."}
        assert read(Purpose.VOTE, "gpt-1? claude-1?", attempt=2).type is EventType.AGENT_ERROR

    def test_names_that_differ_in_case_only(self):
        (draft,) = replies.drafts(ask(Purpose.VOTE, choices=("Bob", "bob")), Reply('{"choice": "bob"}'))
        assert draft.data["choice"] == "bob"

    def test_a_judge_says_so(self):
        assert read(Purpose.JUDGE, '{"choice": 1}').data["judge"] is True


class TestFailures:
    def test_a_failure_is_an_error_event(self):
        (draft,) = replies.drafts(ask(Purpose.CRITIQUE), Failure("rate_limit", "HTTP 429"))
        assert draft.type is EventType.AGENT_ERROR
        assert draft.data == {
            "kind": "rate_limit",
            "message": "HTTP 429",
            "purpose": "critique",
            "target": "gpt-1",
            "attempt": 1,
            "retry": True,
        }

    def test_its_words_are_bounded(self):
        (draft,) = replies.drafts(ask(Purpose.VOTE), Failure("k" * 999, "mm\n" * 999))
        assert len(draft.data["kind"]) == 40
        assert len(draft.data["message"]) == 300
        assert "\n" not in draft.data["message"]


@pytest.mark.parametrize("purpose", list(Purpose))
@pytest.mark.parametrize(
    "text",
    [
        "{" * 1_000_000,
        '{"a":' * 200_000,
        '{"issues":' + "[" * 500_000,
        '{"choice": "' + "," * 500_000,
        "<think>" * 200_000,
        '{"choice": ' + "9" * 500_000 + "}",
        '{"severity": ' + "9" * 4000 + ', "reasoning": ' + "9" * 4000 + "}",
        ", " * 500_000 + "{",
        '{"issues": "' + "\\n" * 30_000 + '"}',
    ],
)
def test_hostile_texts_cost_little(purpose, text):
    began = time.process_time()
    replies.drafts(ask(purpose, 2), Reply(text))
    assert time.process_time() - began < 2.0

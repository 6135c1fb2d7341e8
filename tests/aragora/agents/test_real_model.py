"""A real model of 135 million parameters, on a server that people have at home, is asked as in a debate.

scripts/real_debates.py puts whole debates to it.
"""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aragora.agents import Agent
from aragora.debate import replies
from aragora.debate.events import EventType
from aragora.debate.questions import Purpose
from tests.aragora.agents.provider import OpenAI
from tests.aragora.agents.test_intermediaries import port, running
from tests.aragora.agents.test_requests import RULES, questions
from tests.conftest import CACHE

CHECKOUT = Path(__file__).resolve().parents[3]
LONG = 800.0
SHORT = {"ARAGORA_PROSE_TOKENS": "32", "ARAGORA_JSON_TOKENS": "160", "ARAGORA_FIRST_BYTE_TIMEOUT": "800"}


@pytest.fixture
def api() -> OpenAI:
    return OpenAI()


@pytest.mark.component("real-model")
@pytest.mark.long
@pytest.mark.timeout(900)  # it counts on one processor, which others may be using
def test_a_small_model_answers_and_votes_at_the_first_try(agent: Callable[..., Agent], tmp_path: Path) -> None:
    at = port()
    command = [str(CHECKOUT / "scripts/real-model"), "serve", str(at), "2048"]
    environ = {"PATH": "/usr/bin:/bin", "ARAGORA_TEST_COMPONENTS": str(CACHE)}
    asked = {question.purpose: question for question in questions(**RULES[0])}
    with running(command, at, "/v1/models", tmp_path / "model.log", **environ) as base:
        answering = agent(base, SHORT, provider_name="llamacpp")
        for purpose, kind in ((Purpose.PROPOSE, EventType.AGENT_MESSAGE), (Purpose.VOTE, EventType.VOTE)):
            question = asked[purpose]
            reply = answering.ask(question, lambda text: None, time.time() + LONG)
            (draft,) = replies.drafts(question, reply)
            assert draft.type is kind, (reply.text, draft.data)
            assert reply.usage is None or reply.usage.input > 0
            assert question.mark not in str(draft.data)

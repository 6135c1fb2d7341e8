"""`aragora evaluate` as a user runs it: a real process, a scripted provider behind real HTTP."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

from tests.aragora.agents.provider import Call, OpenAI, provider, sends, status
from tests.aragora.commands.test_cli import aragora

api = OpenAI()
CASES = [{"question": "How much is 6 times 7?", "answer": 42}, {"question": "Is 91 a prime number?", "answer": "no"}]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "cases.jsonl").write_text("\n".join(map(json.dumps, CASES)))
    names = {"ARAGORA_DATA_DIR": str(tmp_path), "HOME": str(tmp_path), "ARAGORA_DEMO_DELAY": "0"}
    return names | {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}


def answers(call: Call) -> None:
    """Alone it is wrong about the first question; of three that debate one is right, and convinces the others."""
    system, told = (message["content"] for message in call.body["messages"])
    right = "42" if "6 times 7" in told else "no"
    if system.startswith("Answer the question."):
        text = f"Answer: {'41' if right == '42' else right}"
    elif '"critiques"' in told:
        item = {"reasoning": "r", "issues": ["wrong"], "suggestions": [], "severity": 5}
        text = json.dumps({"critiques": [{"answer": letter} | item for letter in "AB"]})
    elif '"choice"' in told:
        text = json.dumps({"reasoning": "r", "choice": "A", "confidence": 0.9})
    else:
        me = re.search(r'You take part as "(.+?)"', told)[1]  # type: ignore[index]
        revises = "your answer" in told
        text = f"By {me}.\nAnswer: {right if me == 'agent-1' or revises else '7'}"
    sends(api.first() + api.text(text) + api.finish() + api.done())(call)


def test_a_debate_is_compared_with_one_model_alone(environ: dict[str, str]) -> None:
    with provider(answers) as server:
        environ |= {"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": server.url}
        done = aragora(environ, "evaluate", "cases.jsonl", "--agents", "openai,openai,openai", "--rounds", "1")
        told = json.loads(
            aragora(
                environ, "evaluate", "cases.jsonl", "--agents", "openai,openai/other,openai", "--rounds", "1", "--json"
            ).stdout
        )
        models = {call[2]["model"] for call in server.calls}
    assert dict(re.findall(r"^(\S.*?) +(\d/\d) ", done.stdout, re.MULTILINE)) == {
        "one model, once": "1/2",
        "one model, majority": "1/2",
        "debate, first answers": "0/2",
        "debate": "2/2",
    }
    assert "debate less one model, once: +50%" in done.stdout
    assert "2/2: one model, once" in done.stderr
    assert told["methods"]["debate"]["right"] == 2
    assert told["methods"]["debate"]["tokens"] > 0
    assert told["methods"]["majority"]["asked"] > 1
    assert "other" in models


def test_the_offline_demo_can_be_evaluated(environ: dict[str, str]) -> None:
    done = aragora(environ, "evaluate", "cases.jsonl", "--at-once", "2", "--limit", "2")
    assert done.stdout.count("0/2") == 4
    assert "which cost nothing" in done.stderr


def test_a_budget_ends_it_between_questions(environ: dict[str, str]) -> None:
    with provider(answers) as server:
        environ |= {"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": server.url}
        done = aragora(environ, "evaluate", "cases.jsonl", "--agents", "openai,openai", "--budget", "0.0000001")
    assert "stopped after 1 of 2 questions" in done.stderr
    assert "1/1" in done.stdout


def test_nobody_to_ask_is_a_failure(environ: dict[str, str]) -> None:
    with provider(status(401)) as server:
        environ |= {"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": server.url}
        done = aragora(environ, "evaluate", "cases.jsonl", "--agents", "openai,openai", code=1)
    assert "aragora evaluate: " in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("nothing.jsonl",),
        ("cases.jsonl", "--agents", "openai,openai"),
        ("cases.jsonl", "--agents", "demo"),
        ("cases.jsonl", "--rounds", "0"),
        ("cases.jsonl", "--budget", "0"),
        ("cases.jsonl", "--consensus", "none"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_2(environ: dict[str, str], arguments: tuple[str, ...]) -> None:
    done = aragora(environ, "evaluate", *arguments, code=2)
    assert len(done.stderr.splitlines()) == 1

"""Under gevent: answers are waited for side by side, and deadlines hold."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

PRELUDE = """
from gevent import monkey
monkey.patch_all()
import json, time
import gevent
from aragora.agents import AgentFailed, build
from aragora.debate.questions import Question, Purpose
from aragora.debate.spec import AgentSpec
from tests.aragora.agents.provider import OpenAI, answers, provider

api, spec = OpenAI(), AgentSpec("x", "openai")
question = Question(spec, Purpose.PROPOSE, 1, 1, "system", "prompt")

def put(server, within):
    agent = build(spec, {"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": server.url})
    try:
        return agent.ask(question, lambda text: None, time.time() + within).text
    except AgentFailed as failed:
        return failed.kind

began = time.monotonic()
"""


def run(code: str) -> dict[str, object]:
    """What the code prints as JSON, run with the standard library patched as gunicorn's worker does."""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(code)],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join([str(root), *sys.path])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_many_slow_answers_come_at_the_same_time() -> None:
    found = run(
        """
        def act(call):
            time.sleep(0.5)  # a slow server is what this is about
            answers(api, "Yes.")(call)

        with provider(act) as server:
            askers = [gevent.spawn(put, server, 30) for _ in range(50)]
            gevent.joinall(askers, raise_error=True)
        texts = sorted({asker.value for asker in askers})
        print(json.dumps({"took": time.monotonic() - began, "texts": texts}))
        """
    )
    assert found["texts"] == ["Yes."]
    assert 0.5 <= float(str(found["took"])) < 12  # one after the other they would take 25 s


def test_a_dawdling_server_is_left_at_the_deadline() -> None:
    found = run(
        """
        def act(call):
            call.begin()
            call.wfile.write(b"ffff\\r\\n")
            while not call.server.released.wait(0.02):
                call.wfile.write(b":")

        with provider(act) as server:
            kind = put(server, 0.3)
            took = time.monotonic() - began
        print(json.dumps({"kind": kind, "took": took}))
        """
    )
    assert found["kind"] == "timeout"
    assert float(str(found["took"])) < 20  # the server itself would never end it

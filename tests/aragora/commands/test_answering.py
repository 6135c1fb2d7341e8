"""Whether models answer, as `aragora doctor --ask` tells it."""

import json
from pathlib import Path

import pytest

from aragora.cli import parser
from aragora.commands import doctor
from aragora.commands.answering import models
from tests.aragora.agents.provider import OpenAI, answers, provider, status
from tests.ports import ports

api = OpenAI()


def test_each_model_is_asked_one_word(tmp_path: Path) -> None:
    with provider(answers(api, "Ready.")) as fine, provider(status(401, {"error": {"message": "bad key"}})) as locked:
        (port,) = ports(1)
        environ = {
            "ARAGORA_DATA_DIR": str(tmp_path),
            "OPENAI_API_KEY": "sk-1",
            "OPENAI_BASE_URL": fine.url,
            "MISTRAL_API_KEY": "sk-2",
            "MISTRAL_BASE_URL": locked.url,
            "LLAMACPP_BASE_URL": f"http://127.0.0.1:{port}",
        }
        found = {finding.name: finding for finding in models(environ)}
    assert {name: finding.state for name, finding in found.items()} == {
        "openai/gpt-real": "ok",
        "mistral/mistral-small-latest": "failure",
        "llamacpp/default": "failure",
    }
    assert "answers “Ready.”" in found["openai/gpt-real"].detail
    assert "bad key" in found["mistral/mistral-small-latest"].detail
    assert f"cannot be reached at 127.0.0.1:{port}" in found["llamacpp/default"].detail
    assert "is the server running" in found["llamacpp/default"].mend


def test_nobody_is_asked_without_being_told_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with provider(answers(api, "Ready.")) as server:
        environ = {"ARAGORA_DATA_DIR": str(tmp_path), "OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": server.url}
        doctor.run(parser("doctor").parse_args(["doctor", "--json"]), environ)
        assert not server.calls
        doctor.run(parser("doctor").parse_args(["doctor", "--json", "--ask"]), environ)
        assert len(server.calls) == 1
    last = json.loads(capsys.readouterr().out.splitlines()[-1])[-1]
    assert (last["name"], last["state"]) == ("openai/gpt-real", "ok")

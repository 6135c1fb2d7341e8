"""`aragora tokens` on the service's own database."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aragora.cli import main
from aragora.settings import load
from aragora.storage import Limits, Store

Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `aragora tokens ...`; its output, as JSON where that was asked for."""
    monkeypatch.setenv("ARAGORA_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("DATABASE_URL", raising=False)

    def run(*words: str, code: int = 0) -> Any:
        try:
            found = main(["tokens", *words])
        except SystemExit as exit_:
            found = int(exit_.code or 0)
        told = capsys.readouterr()
        assert found == code, told
        assert "Traceback" not in told.err
        return json.loads(told.out) if "--json" in words and not code else told

    return run


def test_a_secret_is_shown_once_and_opens_the_service(run: Run, tmp_path: Path) -> None:
    told = run("add", "guest")
    secret = told.out.strip()
    assert "cannot be shown again" in told.err
    assert secret not in run("list").out
    store = Store.open(load({"ARAGORA_DATA_DIR": str(tmp_path)}))
    found = store.tokens.find(secret)
    assert found is not None
    assert found.limits == Limits(questions=2000, tokens=5_000_000, cost=10_000_000, debates=10)
    store.close()


def test_limits_and_models_are_listed(run: Run) -> None:
    run(
        "add", "a", "--scopes", "read,create", "--models", "openai/gpt-5*, ollama", "--money", "0.5", "--questions", "0"
    )
    run("add", "b", "--scopes", "read", "--debates-of", "a")
    first, second = run("list", "--json")
    assert first["limits"] == {"debates": 10, "questions": None, "tokens": 5_000_000, "money": 0.5}
    assert (first["scopes"], first["models"]) == (["read", "create"], ["openai/gpt-5*", "ollama"])
    assert first["today"] == {"questions": 0, "tokens": 0, "money": 0.0}
    assert (second["name"], second["debates_of"], second["scopes"]) == ("b", "a", ["read"])
    text = run("list").out
    assert "openai/gpt-5*, ollama" in text
    assert "0.5" in text


def test_limits_are_changed_and_the_secret_stays(run: Run, tmp_path: Path) -> None:
    secret = run("add", "guest").out.strip()
    changed = run("change", "guest", "--money", "0", "--questions", "7", "--json")
    assert changed["limits"] == {"debates": 10, "questions": 7, "tokens": 5_000_000, "money": None}
    assert "models ollama" in run("change", "guest", "--models", "ollama").out
    store = Store.open(load({"ARAGORA_DATA_DIR": str(tmp_path)}))
    found = store.tokens.find(secret)
    assert found is not None
    assert (found.limits, found.models) == (Limits(questions=7, tokens=5_000_000, debates=10), ("ollama",))
    store.close()
    assert "no API token 'nobody'" in run("change", "nobody", "--money", "1", code=1).err


def test_a_renewed_secret_is_another(run: Run) -> None:
    old = run("add", "guest", "--json")["secret"]
    new = run("rotate", "guest", "--json")
    assert new["name"] == "guest"
    assert new["secret"] != old
    assert "refused from now on" in run("remove", "guest").out
    assert "no API token 'guest'" in run("rotate", "guest", code=1).err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("add", "two words"), 1, "name: 1 to 64 letters"),
        (("add", "guest", "--scopes", "root"), 2, "--scopes: some of read, create, admin"),
        (("add", "guest", "--money", "-1"), 2, "--money: 0 or more"),
        (("add", "guest", "--money", "nan"), 2, "--money: 0 or more"),
        (("add", "guest", "--debates-of", "other"), 1, "may only be read"),
        (("remove", "guest"), 1, "no API token 'guest'"),
        (("add",), 2, "name"),
        ((), 2, "ACTION"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(run: Run, words: tuple[str, ...], code: int, told: str) -> None:
    error = run(*words, code=code).err
    assert told in error
    assert error.count("\n") == 1


def test_a_name_is_given_once(run: Run) -> None:
    run("add", "guest")
    assert "exists already" in run("add", "guest", code=1).err

"""Wrong uses that people have come up with: each is named by its place, key and value, with the fix."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from proxy.cli import main
from tests.deployment.processes import CHECKOUT

CASES = tomllib.loads((CHECKOUT / "tests" / "cases" / "wrong_uses.toml").read_text())
UPSTREAM = b'upstream = "127.0.0.1:8080"\n'


def told(capsys: pytest.CaptureFixture[str], file: Path) -> list[str]:
    """The lines of the error output without the program's name, and with a short name for the file."""
    return [
        line.removeprefix("aragora-proxy: ").replace(str(file), "FILE") for line in capsys.readouterr().err.splitlines()
    ]


@pytest.mark.parametrize("case", CASES["file"], ids=[case["name"] for case in CASES["file"]])
def test_a_mistake_in_a_file_is_named_with_its_fix(
    case: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(case["text"])
    assert main(["check", str(file)]) == 2
    assert told(capsys, file) == case["told"]


@pytest.mark.parametrize("case", CASES["command"], ids=[" ".join(case["arguments"]) for case in CASES["command"]])
def test_a_mistake_in_a_command_is_named_with_its_fix(case: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    flags = case["arguments"]
    good = ["--upstream", "127.0.0.1:8080"] if flags[0].startswith("-") and "--upstream" not in flags else []
    assert main([*good, *flags]) == 2
    assert told(capsys, Path("no file")) == case["told"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (UPSTREAM + b"# \xe9\n", "FILE:2: not UTF-8 at byte 30; save the file as UTF-8"),
        (UPSTREAM.decode().encode("utf-16"), "FILE:1: not UTF-8 at byte 0; save the file as UTF-8"),
    ],
    ids=["Latin-1", "UTF-16"],
)
def test_a_file_in_another_encoding_is_named(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gateway.toml"
    file.write_bytes(content)
    assert main(["check", str(file)]) == 2
    assert told(capsys, file) == [message]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + UPSTREAM,
        UPSTREAM.replace(b"\n", b"\r\n"),
        b'upstream = "localhost:8080"\nhttp2 = "on"\n',
        b'upstream = ":8080"\nhsts = "365d"\nretry_wait = 1.5\nmax_body = 1048576\n',
    ],
    ids=["a byte order mark", "lines of Windows", "a switch in quotes", "units and numbers"],
)
def test_a_file_that_looks_wrong_and_is_right_is_good(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gateway.toml"
    file.write_bytes(content)
    assert main(["check", str(file)]) == 0, told(capsys, file)

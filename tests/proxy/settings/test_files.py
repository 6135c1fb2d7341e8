"""Files that settings name: marks before their text, pipes, and what is no file at all."""

import os
import threading
from pathlib import Path

import pytest

from proxy.cli import main
from proxy.settings import SettingsError, load
from proxy.settings.values import files
from proxy.settings.values.files import read_file
from proxy.settings.values.web import DOMAINS

BOM = b"\xef\xbb\xbf"
UPSTREAM = 'upstream = "127.0.0.1:8080"\n'


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_PATIENCE", 0.2)


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    config, token, users = tmp_path / "proxy.toml", tmp_path / "token", tmp_path / "users"
    token.write_bytes(BOM + b"0123456789abcdef\n")
    users.write_bytes(BOM + b"ann:$2y$05$" + b"a" * 53 + b"\r\n")
    config.write_bytes(BOM + f'admin_token_file = "{token}"\nbasic_auth = "{users}"\n{UPSTREAM}'.encode())
    settings = load({}, config)
    assert settings.admin_token == b"0123456789abcdef"
    config.write_bytes(BOM + b"upstreem = 1\n")
    with pytest.raises(SettingsError, match=r":1: upstreem"):
        load({}, config)


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(UPSTREAM.encode() * 5000,))
    writer.start()
    assert read_file(pipe, 1 << 20) == UPSTREAM.encode() * 5000
    writer.join()


def test_a_pipe_that_gives_too_much_is_left(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="larger than 1000 bytes"):
        read_file(Path("/dev/zero"), 1000)


@pytest.mark.parametrize("kind", ["config", "admin_token_file", "basic_auth", "maintenance_page", "tls_client_ca"])
def test_nobody_waits_for_a_pipe_into_which_nobody_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    pipe = tmp_path / "pipe.html"
    os.mkfifo(pipe)
    config = tmp_path / "proxy.toml"
    config.write_text(f'{UPSTREAM}tls = "self-signed"\n{kind} = "{pipe}"\n')
    assert main(["check", str(pipe if kind == "config" else config)]) == 2
    assert str(pipe) in capsys.readouterr().err


def test_a_writer_that_stalls_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    stalled = os.open(pipe, os.O_WRONLY)
    try:
        with pytest.raises(ValueError, match="pipe not closed by its writer"):
            read_file(pipe, 1000)
    finally:
        os.close(stalled)
        os.close(reading)


def test_a_directory_and_nothing_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Is a directory"):
        read_file(tmp_path, 10)
    with pytest.raises(ValueError, match="No such file"):
        read_file(tmp_path / "none", 10)


def test_values_may_not_be_nested_without_end(tmp_path: Path) -> None:
    config = tmp_path / "proxy.toml"
    config.write_text("upstream = " + "[" * 100_000)
    with pytest.raises(SettingsError, match="not valid TOML"):
        load({}, config)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.BÜCHER.example", "*.xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),  # no other name since IDNA 2008
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
    ],
)
def test_an_internationalized_name_is_told_how_the_dns_spells_it(name: str, written: str) -> None:
    with pytest.raises(ValueError, match=f"is spelt '{written.replace('*', '.')}'"):
        DOMAINS.read(name)
    assert DOMAINS.read(written) == (written,)


def test_a_name_that_is_given_twice_is_one() -> None:
    assert DOMAINS.read(["a.test", "b.test", "A.test"]) == ("a.test", "b.test")


@pytest.mark.parametrize("name", ["ü!.example", "bücher.example:443", "https://bücher.example", "ü" * 300, "."])
def test_what_is_no_name_in_any_spelling_is_just_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a host name"):
        DOMAINS.read(name)

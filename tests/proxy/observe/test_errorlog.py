"""The error log: whatever becomes of its file, whoever writes a message goes on."""

import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from gunicorn.config import Config

from proxy.observe.errorlog import ErrorLog

Made = Callable[[int], ErrorLog]


@pytest.fixture
def made() -> Iterator[Made]:
    """Make a log; those who logged before in this process are not heard meanwhile."""
    loggers = [logging.getLogger(name) for name in ("gunicorn.error", "gunicorn.access")]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers[:] = []
    yield lambda file: ErrorLog(Config(), file)
    for logger, handlers, level, propagate in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


def opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def test_messages_of_every_part_are_lines_of_the_file(made: Made, tmp_path: Path) -> None:
    log = made(opened(tmp_path / "log"))
    log.warning("upstream %s is down", "a:1")
    logging.getLogger("gunicorn.error.proxy").warning("of a part: %s", "\udce4 ä")
    log.debug("not of this level")
    first, second = (tmp_path / "log").read_text().splitlines()
    assert first.endswith("[WARNING] upstream a:1 is down")
    assert second.endswith("[WARNING] of a part: \\udce4 ä")


def test_a_message_that_cannot_be_shown_is_named(made: Made, tmp_path: Path) -> None:
    log = made(opened(tmp_path / "log"))

    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("never shown")

    log.warning("%s", Odd())
    log.warning("%d of %d", 1)  # noqa: PLE1206 - a mistake on purpose
    first, second = (tmp_path / "log").read_text().splitlines()
    assert "never shown" in first
    assert "'%d of %d' could not be formatted" in second


@pytest.mark.parametrize("broken", ["full disk", "reader gone", "reader stands still", "closed"])
def test_no_state_of_the_file_raises_or_waits(made: Made, broken: str) -> None:
    reader, file = os.pipe()
    if broken == "full disk":
        file = os.open("/dev/full", os.O_WRONLY)
    log = made(file)
    if broken == "reader gone":
        os.close(reader)
    elif broken == "closed":
        os.close(log._lines._destination._file)
    began = time.monotonic()
    for _ in range(300):
        log.error("x" * 1000)
        log.exception("%s", "y" * 10_000)
        print("z" * 100, file=log.stream())
    assert time.monotonic() - began < 10
    assert log._lines._lost >= 300


def test_what_was_lost_is_told_once_it_can_be(made: Made, tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    log = made(full)
    for number in range(3):
        log.warning("lost %d", number)
    file = opened(tmp_path / "log")
    log.write_to(file)
    os.close(file)
    log.warning("found")
    log.warning("again")
    told, found, again = (tmp_path / "log").read_text().splitlines()
    assert told == "3 earlier lines were lost"
    assert (found[-5:], again[-5:]) == ("found", "again")


def test_repeated_setup_writes_each_line_once(made: Made, tmp_path: Path) -> None:
    log = made(opened(tmp_path / "log"))
    config = Config()
    config.set("errorlog", str(tmp_path / "elsewhere"))
    config.set("loglevel", "error")
    log.setup(config)
    log.reopen_files()
    log.warning("too unimportant")
    log.error("once")
    assert [line[-4:] for line in (tmp_path / "log").read_text().splitlines()] == ["once"]
    assert not (tmp_path / "elsewhere").exists()


def test_tracebacks_of_the_loop_go_there_and_break_nothing(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = made(opened(tmp_path / "log"))
    monkeypatch.setattr(sys, "stderr", log.stream())
    gevent.spawn(lambda: 1 / 0).join()
    assert "ZeroDivisionError" in (tmp_path / "log").read_text()
    log.write_to(os.open("/dev/full", os.O_WRONLY))
    gevent.spawn(lambda: 1 / 0).join()
    try:
        raise ValueError("x")
    except ValueError:
        traceback.print_exc()
    ran: list[int] = []
    gevent.spawn(ran.append, 1).join()
    assert ran == [1]

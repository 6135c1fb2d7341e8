"""What a document says, as text.

Readers of HTML and PDF are long, and what they read may have been made to keep them busy. They run in a process without
our environment, with bounds on time and memory that the kernel keeps, and without a file that they could write.
"""

import importlib.util
import os
import signal
import sys
import tempfile
import time
from email.message import Message
from enum import StrEnum

SECONDS = 20.0
NOTICE = 0.01  # seconds between looks whether the process has ended
READ, DAMAGED = b"read\n", b"damaged\n"  # how what the process says begins
LONGEST = 400_000  # characters; more than any debate takes
_CHILD = "from aragora.documents.child import main; main()"
_PLAIN = frozenset(
    {"application/json", "application/xml", "application/yaml", "application/x-yaml", "application/toml"}
)
_HTML = frozenset({"text/html", "application/xhtml+xml"})


class Kind(StrEnum):
    """How a document is read."""

    PLAIN = "plain"
    HTML = "html"
    PDF = "pdf"


PDF = "application/pdf"


class Unreadable(Exception):  # noqa: N818 - named for what it is
    """There is no text to be had; the message says why."""


def kind_of(content_type: str) -> Kind:
    """How a document of this media type is read; raises `Unreadable` for one that is not."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == PDF:
        if importlib.util.find_spec("pypdf") is None:
            raise Unreadable("PDF files are not read here: install aragora-gateway[files]")
        return Kind.PDF
    if media_type in _HTML:
        return Kind.HTML
    if media_type.startswith("text/") or media_type in _PLAIN or media_type.endswith(("+json", "+xml")):
        return Kind.PLAIN
    raise Unreadable(f"{media_type[:80] or 'a document of no type'} is not read; text, Markdown, HTML and PDF are")


def text_of(data: bytes, content_type: str) -> str:
    """The text of a document, at most `LONGEST` characters; raises `Unreadable`. Blocks for up to `SECONDS`."""
    kind = kind_of(content_type)
    if kind is Kind.PDF:
        return _clean(_in_child(kind, data))
    text = _decoded(data, content_type)
    return _clean(_in_child(kind, text.encode()) if kind is Kind.HTML else text)


def _decoded(data: bytes, content_type: str) -> str:
    """By the charset that is named, else UTF-8; what fits neither is replaced."""
    named = Message()
    named["Content-Type"] = content_type
    charset = named.get_content_charset() or "utf-8"
    try:
        return data.decode("utf-8-sig" if charset in ("utf-8", "utf8", "us-ascii") else charset, "replace")
    except LookupError:
        return data.decode("utf-8-sig", "replace")


def _clean(text: str) -> str:
    """Without what no database holds, and without long stretches of nothing."""
    text = text.replace("\x00", "").encode("utf-8", "replace").decode()
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    kept = [line for number, line in enumerate(lines) if line or (number and lines[number - 1])]
    found = "\n".join(kept).strip()[:LONGEST]
    if not found:
        raise Unreadable("there is no text in it")
    return found


def _in_child(kind: Kind, data: bytes) -> str:
    """What the process says of `data`: it begins with READ and a text, or with DAMAGED and why there is none.

    Spawned, not forked: in a worker of gevent a fork would run the hooks of everything that lives there. Files, not
    pipes: nothing has to be read while it runs.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(data)
        given.flush()
        given.seek(0)
        process = os.posix_spawn(
            sys.executable,
            [sys.executable, "-c", _CHILD, kind.value],
            {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUTF8": "1"},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, given.fileno(), 0),
                (os.POSIX_SPAWN_DUP2, said.fileno(), 1),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
        )
        _await(process)
        said.seek(0)
        answer = said.read(4 * LONGEST + len(READ))
    if answer.startswith(READ):
        return answer.removeprefix(READ).decode("utf-8", "replace")
    if answer.startswith(DAMAGED):
        raise Unreadable(answer.removeprefix(DAMAGED).decode("utf-8", "replace"))
    raise Unreadable("it takes too much time or memory to read")


def _await(process: int) -> None:
    """Return when the process has ended, which it is made to after `SECONDS`."""
    deadline = time.monotonic() + SECONDS
    try:
        while os.waitpid(process, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(process, signal.SIGKILL)
                deadline = float("inf")
            time.sleep(NOTICE)
    except ChildProcessError:
        pass  # it has ended, and another part of this process has collected its status

"""What a document says, as text.

Readers of HTML and PDF are long, and what they read may have been made to keep them busy. They run in a process without
our environment, with bounds on time and memory that the kernel keeps, and without a file that they could write.
"""

import importlib.util
import os
import signal
import subprocess
import sys
from email.message import Message
from enum import StrEnum

SECONDS = 20.0
DAMAGED = 3  # the code with which the process ends that says why it could not read
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
    environ = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUTF8": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - our own code
            [sys.executable, "-c", _CHILD, kind.value],
            input=data,
            capture_output=True,
            env=environ,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unreadable("it takes too long to read") from None
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL, -signal.SIGSEGV, -signal.SIGABRT):
        raise Unreadable("it takes too much time or memory to read")
    if done.returncode:
        told = done.stderr.decode("utf-8", "replace").strip()
        raise Unreadable(told if done.returncode == DAMAGED else "it is damaged")
    return done.stdout.decode("utf-8", "replace")

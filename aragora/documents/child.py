"""The process that reads one document: from standard input to standard output, within bounds of its own."""

import io
import logging
import os
import resource
import sys
from typing import NoReturn

from aragora.documents.html import text_of_html
from aragora.documents.reading import DAMAGED, LONGEST, READ

CPU = 15  # seconds
MEMORY = 1 << 30  # bytes of address space
FILES = 32  # open ones
MOST_DESCRIPTORS = 65_536
MOST_PAGES = 2000


def main() -> None:
    """Read the kind of document that the first argument names, and say what it says, or why that fails."""
    os.closerange(3, MOST_DESCRIPTORS)  # listening sockets are among what a worker hands down
    resource.setrlimit(resource.RLIMIT_CPU, (CPU, CPU + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    data = sys.stdin.buffer.read()
    try:
        text = text_of_html(data.decode()) if sys.argv[1] == "html" else _text_of_pdf(data)
    except MemoryError:
        _end("it takes too much time or memory to read")
    except RecursionError:
        _end("it is nested too deeply")
    except Exception as error:  # noqa: BLE001 - a library reads foreign input: nothing is known of what it may raise
        _end(f"it is damaged: {type(error).__name__}")
    _say(READ + text[:LONGEST].encode("utf-8", "replace"))


def _text_of_pdf(data: bytes) -> str:
    # Loaded with its own files still to be opened, which the bounds below would not let it.
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5 * LONGEST, 5 * LONGEST))
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    reader = PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        _end("it is encrypted")
    parts: list[str] = []
    length = 0
    for number, page in enumerate(reader.pages):
        if number >= MOST_PAGES or length > LONGEST:
            break
        parts.append(page.extract_text())
        length += len(parts[-1])
    return "\n\n".join(parts)


def _end(words: str) -> NoReturn:
    _say(DAMAGED + words.encode())


def _say(answer: bytes) -> NoReturn:
    sys.stdout.buffer.write(answer)
    sys.stdout.flush()
    # At once: what is left of a library is not worth the time that it would take to clear up.
    os._exit(0)

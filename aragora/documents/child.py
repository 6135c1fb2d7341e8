"""The process that reads one document: from standard input to standard output, within bounds of its own."""

import io
import logging
import resource
import sys

from aragora.documents.html import text_of_html
from aragora.documents.reading import DAMAGED, LONGEST

CPU = 15  # seconds
MEMORY = 1 << 30  # bytes of address space
FILES = 32  # open ones
MOST_PAGES = 2000


def main() -> None:
    """Read the kind of document that the first argument names; ends with a message and code 3 where that fails."""
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
    except Exception as error:  # noqa: BLE001 - a library met what somebody made: nothing is known of what it may raise
        _end(f"it is damaged: {type(error).__name__}")
    sys.stdout.buffer.write(text[:LONGEST].encode("utf-8", "replace"))
    sys.stdout.flush()


def _text_of_pdf(data: bytes) -> str:
    # Loaded with its own files still to be opened, which the bounds below would not let it.
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
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


def _end(words: str) -> None:
    sys.stderr.write(words + "\n")
    sys.stderr.flush()
    sys.exit(DAMAGED)

"""The TOML files that settings are read from: one, and those that it includes."""

import glob
import os
import re
import tomllib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from proxy.settings.environment import Environment
from proxy.settings.syntax import syntax_mistake
from proxy.settings.values import kinds
from proxy.settings.values.files import read_file

MAX_FILE = 1 << 20
INCLUDE = "include"
TABLES = ("route", "certificate", "acme_server")
_MOST_FILES = 256
MOST_TABLES = 256
_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Table:
    """The top level of a file, or one of its tables such as a `[[route]]`, with variables replaced."""

    document: "Document"
    title: str
    """Such as "route api"; empty for the top level."""
    start: int
    """Where it begins in the text."""
    values: dict[str, Any]
    written: dict[str, str]
    """The values that have variables, as the file has them."""
    mistakes: dict[str, str]
    """Of the keys whose variables cannot be replaced, which `values` lacks."""

    @property
    def place(self) -> str:
        return f"{self.document.path}: {self.title}" if self.title else f"{self.document.path}"

    def at(self, key: str) -> str:
        """File, line and key, for a message."""
        title = f"{self.title}: " if self.title else ""
        return f"{self.document.path}{self.document.line(key, self.start)}: {title}{key}"

    def given(self, key: str) -> str:
        """The same with the value as it was written."""
        return f"{self.at(key)} = {self.written.get(key) or kinds.toml(self.values[key])}"


class Document:
    """One parsed file; what is wrong with its tables is added to `mistakes`."""

    def __init__(self, path: Path, text: str, environment: Environment, mistakes: list[str]) -> None:
        self.path = path
        self._text = text
        self._content = tomllib.loads(text)
        self._environment = environment
        self._mistakes = mistakes
        own = {key: value for key, value in self._content.items() if key not in TABLES}
        self.top = self._table("", 0, own)

    def tables(self, name: str) -> list[Table]:
        """Each `[[name]]` of the file."""
        tables = self._content.get(name, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self._mistakes.append(f"{self.path}{self.line(name)}: {name}: write [[{name}]], in double brackets")
            return []
        if len(tables) > MOST_TABLES:
            self._mistakes.append(f"{self.path}: {name}: at most {MOST_TABLES}")
            return []
        heads = [found.end() for found in re.finditer(rf"^[ \t]*\[\[[ \t]*{name}[ \t]*\]\]", self._text, re.MULTILINE)]
        starts = heads if len(heads) == len(tables) else [0] * len(tables)
        return [
            self._table(f"{name} {table.get('name') or number}", start, table)
            for number, (start, table) in enumerate(zip(starts, tables, strict=True), 1)
        ]

    def line(self, key: str, start: int = 0) -> str:
        """The line that sets a key, at or after an offset, as a message has it: ":3", or "" if there is none."""
        pattern = re.compile(rf"""^[ \t]*\[*[ \t]*["']?{re.escape(key)}["']?[ \t]*[=.\]]""", re.MULTILINE)
        found = pattern.search(self._text, start)
        return self.line_at(found.start()) if found else ""

    def line_at(self, offset: int) -> str:
        return f":{self._text.count(chr(10), 0, offset) + 1}"

    def _table(self, title: str, start: int, raw: dict[str, Any]) -> Table:
        written = {key: kinds.toml(value) for key, value in raw.items() if self._environment.refers(value)}
        table = Table(self, title, start, dict(raw), written, {})
        for key in raw:
            try:
                table.values[key] = self._environment.expanded(raw[key])
            except ValueError as problem:
                table.mistakes[key] = f"{table.given(key)}: {problem}"
                del table.values[key]
        return table


def read_documents(path: Path, environment: Environment, mistakes: list[str]) -> list[Document]:
    """A file, then those that it includes and that these include, each once. What cannot be read is a mistake."""
    found: list[Document] = []
    known: set[str] = set()
    waiting = deque([path])
    while waiting:
        file = waiting.popleft()
        if os.path.realpath(file) in known:
            continue
        known.add(os.path.realpath(file))
        document = _read(file, environment, mistakes)
        if document is None:
            continue
        found.append(document)
        waiting += _included(document, mistakes)
        if len(waiting) + len(known) > _MOST_FILES:
            mistakes.append(f"{document.top.at(INCLUDE)}: more than {_MOST_FILES} files; include fewer")
            break
    return found


def _read(path: Path, environment: Environment, mistakes: list[str]) -> Document | None:
    text = ""
    try:
        # Editors of Windows begin a file with a byte order mark.
        text = read_file(path, MAX_FILE).decode("utf-8-sig")
        return Document(path, text, environment, mistakes)
    except UnicodeDecodeError as problem:
        line = problem.object.count(b"\n", 0, problem.start) + 1
        mistakes.append(f"{path}:{line}: not UTF-8 at byte {problem.start}; save the file as UTF-8")
    except tomllib.TOMLDecodeError as problem:
        number, mistake = syntax_mistake(text, problem)
        mistakes.append(f"{path}:{number}: {mistake}")
    except RecursionError:
        mistakes.append(f"{path}: not valid TOML: values are nested too deeply")
    except ValueError as problem:
        mistakes.append(f"{path}: {problem}")
    return None


def _included(document: Document, mistakes: list[str]) -> Iterator[Path]:
    """The files that the patterns of `include` name, in the order of patterns, then of names."""
    patterns = document.top.values.get(INCLUDE, [])
    patterns = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(patterns, list) or not all(isinstance(one, str) and one and "\0" not in one for one in patterns):
        mistakes.append(f'{document.top.given(INCLUDE)}: expected names of files, such as ["conf.d/*.toml"]')
        return
    beside = document.path.parent
    for pattern in patterns:
        if not _WILDCARD.search(pattern):
            yield beside / pattern
            continue
        directory = beside.joinpath(*takewhile(lambda part: not _WILDCARD.search(part), Path(pattern).parts[:-1]))
        if not directory.is_dir() or not os.access(directory, os.R_OK | os.X_OK):
            mistakes.append(f"{document.top.given(INCLUDE)}: {directory} is not a readable directory; create it")
            continue
        # Unlike Path.glob this takes the names of the directories above literally, and leaves out hidden files.
        yield from (beside / name for name in sorted(glob.glob(pattern, root_dir=beside)))  # noqa: PTH207

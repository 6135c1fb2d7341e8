"""nginx's files as a tree of directives, with their includes followed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Copied from nginx's package beside many files; nothing in them has to be translated.
_HARMLESS = re.compile(r"mime\.types|(?:fastcgi|uwsgi|scgi|proxy)_params|options-ssl|ssl-|snippets/|modules-enabled")
_MISSING = re.compile(r"\[Errno 2\] No such file or directory: '([^']*)'")


class NginxFileError(Exception):
    """A file that is not nginx's configuration, or the parser is missing; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive; `block` is None if it has none."""

    name: str
    args: tuple[str, ...]
    place: str
    """File and line, such as "nginx.conf:12"."""
    block: tuple["Directive", ...] | None = None

    @property
    def value(self) -> str:
        return " ".join(self.args)

    def __str__(self) -> str:
        return f"{self.place}: {self.name} {self.value}".rstrip()


@dataclass(frozen=True, slots=True)
class Scope:
    """A block inside others, the innermost first: what is not set in it holds as in the one around it."""

    blocks: tuple[tuple[Directive, ...], ...]

    def within(self, block: tuple[Directive, ...]) -> "Scope":
        """A block of this scope."""
        return Scope((block, *self.blocks))

    @property
    def own(self) -> tuple[Directive, ...]:
        return self.blocks[0]

    def every(self, name: str) -> list[Directive]:
        """The directives of a name in the innermost block that has any: nginx inherits all of them or none."""
        for block in self.blocks:
            if found := [one for one in block if one.name == name]:
                return found
        return []

    def last(self, name: str) -> Directive | None:
        """The directive of a name that holds here."""
        found = self.every(name)
        return found[-1] if found else None

    def value(self, name: str, default: str = "") -> str:
        """Its value."""
        found = self.last(name)
        return default if found is None else found.value


def read_nginx(path: Path) -> tuple[tuple[Directive, ...], list[str]]:
    """The directives of a file and of those it includes, and the includes that could not be read.

    Raises `NginxFileError`.
    """
    try:
        import crossplane  # an extra, which nothing else needs
    except ImportError:
        raise NginxFileError(
            "crossplane, which reads nginx's files, is not installed; pip install 'aragora-gateway[nginx]'"
        ) from None
    try:
        read = crossplane.parse(str(path), combine=True, check_ctx=False, check_args=False)
    except (OSError, UnicodeDecodeError, RecursionError) as problem:
        raise NginxFileError(f"{path}: cannot be read: {problem}") from None
    missing: list[str] = []
    for error in read["errors"]:
        found = _MISSING.search(str(error["error"]))
        if found is None or found[1] == str(path):
            raise NginxFileError(f"{error['file']}:{error['line'] or 1}: not nginx's configuration: {error['error']}")
        if not _HARMLESS.search(found[1]):
            missing.append(found[1])
    return tuple(_directives(read["config"][0]["parsed"], path.parent)), missing


def _directives(parsed: list[dict[str, Any]], folder: Path) -> Iterator[Directive]:
    for one in parsed:
        file = Path(one["file"])
        name = file.relative_to(folder) if file.is_relative_to(folder) else file
        block = tuple(_directives(one["block"], folder)) if "block" in one else None
        args = tuple(text.replace("\n", " ") for text in one["args"])
        if one["directive"] != "#":
            yield Directive(one["directive"], args, f"{name}:{one['line']}", block)

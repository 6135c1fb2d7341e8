"""Texts with placeholders: parts of a request that a setting names in braces, as in "/new{rest}".

`{{name}}` stands for the text {name}. Braces around anything but a name are literal, as in JSON or CSS, and so are
those behind a `$`, which the environment's variables have (`proxy.settings.environment`).
"""

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from proxy.settings.values.kinds import Kind

PLACEHOLDERS = (
    "user", "client", "tls_client_subject", "scheme", "host", "method", "path", "rest", "query", "request_id",
    "upstream",
)  # fmt: skip
"""Those that every request has; a route's path adds the names of its variables."""

_NAMED = re.compile(r"(?<!\$)\{(\{[A-Za-z_][\w.-]*\})\}|(?<!\$)\{([A-Za-z_][\w.-]*)\}", re.ASCII)
_AUTHORITY = r"(?:https?|\{scheme\})://(?:[A-Za-z0-9.-]|\{host\})+(?::\d{1,5})?"
# Only a delimiter may follow the authority, so that no part of a path can become part of a host name.
_ADDRESS = re.compile(_AUTHORITY + r"(?=$|/|\?|\{path\}|\{rest\}|\{query\})[!-~]*|(?=/|\{path\}|\{rest\})[!-~]*")
_CHOSEN_HOST = re.compile(r"(?:https?|\{scheme\})://[^/?{]*(?:\{host\}[^/?{]*)*\{(?!(?:host|path|rest|query)\})(\w+)\}")
_TARGET = re.compile(r"(?:/|\{path\}|\{rest\})[!\"$-~]*")


def split(text: str) -> list[str]:
    """Literal text and names of placeholders in turn."""
    found = [""]
    end = 0
    for match in _NAMED.finditer(text):
        found[-1] += text[end : match.start()] + (match[1] or "")
        if match[2]:
            found += [match[2], ""]
        end = match.end()
    found[-1] += text[end:]
    return found


def names(text: str) -> list[str]:
    """The names of its placeholders."""
    return split(text)[1::2]


def texts(value: str | Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The texts of a setting, each with its name in a table; a setting that is one text has none."""
    yield from [("", value)] if isinstance(value, str) else value


def check(value: str | Iterable[tuple[str, str]], variables: Iterable[str] = ()) -> None:
    """Raises ValueError for a name that is neither a placeholder nor one of the `variables` of the route's path."""
    known = (*PLACEHOLDERS, *variables)
    for key, text in texts(value):
        for name in names(text):
            if name not in known:
                close = difflib.get_close_matches(name.lower(), known, n=1)
                listed = ", ".join(f"{{{one}}}" for one in known)
                fix = f"did you mean {{{close[0]}}}?" if close else f"known are {listed};"
                where = f"{key} has unknown" if key else "unknown"
                itself = f"write {{{{{name}}}}} for the text {{{name}}}"
                raise ValueError(f"{where} placeholder {{{name}}}; {fix} or {itself}")


def _bare_braces(raw: str) -> bool:
    return bool(re.search(r"[{}]", _NAMED.sub("", raw))) or "{{" in raw


def _address(raw: Any) -> str:
    if raw == "":
        return ""
    chosen = _CHOSEN_HOST.match(raw) if isinstance(raw, str) else None
    if chosen is not None:
        raise ValueError(f"{{{chosen[1]}}} is part of the host, which a client could choose then; only {{host}} may be")
    if not isinstance(raw, str) or not _ADDRESS.fullmatch(raw):
        raise ValueError('expected a URL such as "https://{host}{path}{query}", or a path such as "/new{rest}{query}"')
    if _bare_braces(raw):
        raise ValueError("single brace; braces must enclose the name of a placeholder")
    return raw


def _target(raw: Any) -> str:
    if raw == "":
        return ""
    if not isinstance(raw, str) or not _TARGET.fullmatch(raw):
        raise ValueError('expected a path that begins with /, such as "/new{rest}"')
    if _bare_braces(raw):
        raise ValueError("single brace; braces must enclose the name of a placeholder")
    return raw


def _content(raw: Any) -> str:
    if not isinstance(raw, str) or len(raw.encode()) > 65536:
        raise ValueError("expected text of at most 64 KiB")
    return raw


ADDRESS = Kind("URL", _address, lambda url: url or "none", "URL")
TARGET = Kind("path", _target, lambda path: path or "none", "PATH")
CONTENT = Kind("text", _content, lambda text: repr(text) if text else "none", "TEXT")

"""The operator's own error pages for responses of the gateway.

They are files in a directory, named after a reason (`maintenance.html`), a status (`404.html`) or a class (`5xx.html`),
each also as `.json` for clients that prefer it. The most specific name wins. They are read with the settings, never
during a request.
"""

import html
import json
import re
from pathlib import Path

from proxy.errors import ExchangeError
from proxy.settings.values.files import read_file

_NAME = re.compile(r"([45]\d\d|[45]xx|[a-z][a-z_]{2,39})\.(html|json)")
_PLACE = re.compile(r"\{(status|phrase|reason|message|request_id)\}")
MAX_PAGE = 256 << 10
_MOST_PAGES = 64
_TYPES = {"html": b"text/html; charset=utf-8", "json": b"application/json"}


class ErrorPages:
    """Templates by name and form. {status}, {phrase}, {reason}, {message} and {request_id} are filled in."""

    def __init__(self, templates: dict[str, str]) -> None:
        self._templates = templates

    def page(
        self, error: ExchangeError, phrase: str, request_id: bytes, *, browser: bool
    ) -> tuple[bytes, bytes] | None:
        """Body and content type for an error, or None if there is no page for it."""
        failure = error.failure
        form = "html" if browser else "json"
        for name in (failure.reason, str(failure.status), f"{failure.status // 100}xx"):
            template = self._templates.get(f"{name}.{form}")
            if template is not None:
                break
        else:
            return None
        escape = html.escape if browser else _json_escape
        filled = {
            "status": str(failure.status),
            "phrase": escape(phrase),
            "reason": failure.reason,
            "message": escape(error.client_message),
            "request_id": escape(request_id.decode("latin-1")),
        }
        return _PLACE.sub(lambda place: filled[place[1]], template).encode(), _TYPES[form]


def load_pages(directory: Path | None, maintenance: Path | None) -> ErrorPages:
    """Read the pages. Raises ValueError with file and fix for what cannot be used."""
    templates: dict[str, str] = {}
    if directory is not None:
        try:
            files = sorted(path for path in directory.iterdir() if path.suffix in (".html", ".json"))
        except OSError as error:
            raise ValueError(f"{directory}: {error.strerror}; expected a directory of pages such as 404.html") from None
        if len(files) > _MOST_PAGES:
            raise ValueError(f"{directory}: {len(files)} pages, more than {_MOST_PAGES}; remove some")
        for path in files:
            if not _NAME.fullmatch(path.name):
                raise ValueError(
                    f"{path}: unexpected name; name it after a status (404.html), a class (5xx.json) or a reason "
                    "(maintenance.html)"
                )
            templates[path.name] = _read(path)
    if maintenance is not None:
        if maintenance.suffix not in (".html", ".json"):
            raise ValueError(f"{maintenance}: expected a file name that ends in .html or .json")
        templates[f"maintenance{maintenance.suffix}"] = _read(maintenance)
    return ErrorPages(templates)


def _read(path: Path) -> str:
    try:
        text = read_file(path, MAX_PAGE).decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None
    if path.suffix == ".json":
        try:
            json.loads(_PLACE.sub("0", text))
        except ValueError as error:
            raise ValueError(f"{path}: not valid JSON: {error}") from None
    return text


def _json_escape(text: str) -> str:
    return json.dumps(text)[1:-1]

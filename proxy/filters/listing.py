"""Listings of directories: an HTML page of the files and directories that requests could have, and of no others."""

import html
import os
import stat
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from proxy.exchange.local_response import LocalResponse
from proxy.filters.document_root import find, open_directory

_MOST = 5000
"""Names that are read of a directory, in whatever order it has them; the page says that there are more."""

_FIELDS = (
    b"Content-Type: text/html; charset=utf-8",
    b"X-Content-Type-Options: nosniff",
    b"Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
)
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>:root{{color-scheme:light dark}}body{{font-family:sans-serif;margin:2em}}td{{padding:.1em 1em .1em 0}}
td+td{{text-align:right;white-space:nowrap}}</style>
</head>
<body>
<h1>{title}</h1>
<table>
{rows}</table>
{more}</body>
</html>
"""
_ROW = '<tr><td><a href="{address}">{name}</a></td><td>{size}</td><td>{modified}</td></tr>\n'


class Listed(NamedTuple):
    """A name in a directory; `size` is None for another directory."""

    name: bytes
    size: int | None
    modified: float


def listing(root: str, way: list[bytes], target: bytes) -> LocalResponse | OSError:
    """The listing of the directory at `way`, whose last name is empty, for a request with this target.

    Blocks on the disk. Hidden files, what is neither file nor directory, and links that would not be followed are left
    out.
    """
    try:
        directory = open_directory(root, way[:-1])
        try:
            with os.scandir(directory) as entries:
                names = [os.fsencode(entry.name) for entry in islice(entries, _MOST + 1)]
            listed = [_listed(root, way, name, directory) for name in names[:_MOST] if name[:1] != b"."]
        finally:
            os.close(directory)
    except OSError as error:
        return error
    return _page(target, way, [one for one in listed if one is not None], more=len(names) > _MOST)


def _listed(root: str, way: list[bytes], name: bytes, directory: int) -> Listed | None:
    try:
        about = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return None  # removed meanwhile
    if stat.S_ISREG(about.st_mode):
        return Listed(name, about.st_size, about.st_mtime)
    if stat.S_ISDIR(about.st_mode):
        return Listed(name, None, about.st_mtime)
    return _linked(root, way, name) if stat.S_ISLNK(about.st_mode) else None


def _linked(root: str, way: list[bytes], name: bytes) -> Listed | None:
    found = find(root, [*way[:-1], name], "")
    if isinstance(found, OSError):
        return None
    found.close()
    return Listed(name, None, 0.0) if found.directory else Listed(name, found.size, found.modified_ns / 1e9)


def _page(target: bytes, way: list[bytes], listed: Iterable[Listed], *, more: bool) -> LocalResponse:
    """Directories first, then by name."""
    rows = [] if way == [b""] else [_ROW.format(address="../", name="../", size="", modified="")]
    rows += [_row(one) for one in sorted(listed, key=lambda one: (one.size is not None, one.name.lower(), one.name))]
    title = html.escape("Index of " + _text(unquote_to_bytes(target.partition(b"?")[0])))
    note = f"<p>Only {_MOST} names were read: there are more.</p>\n" if more else ""
    page = _PAGE.format(title=title, rows="".join(rows), more=note)
    return LocalResponse(200, _FIELDS, page.encode())


def _row(one: Listed) -> str:
    slash = "/" if one.size is None else ""
    return _ROW.format(
        # Every separator is quoted, and the colon, so that no name is read as the scheme of an address.
        address=quote_from_bytes(one.name, "") + slash,
        name=html.escape(_text(one.name)) + slash,
        size="" if one.size is None else one.size,
        modified=_moment(one.modified),
    )


def _moment(modified: float) -> str:
    """A time for people; nothing for one that is not known, or that no calendar has, as anybody may set it."""
    try:
        return datetime.fromtimestamp(modified, UTC).strftime("%Y-%m-%d %H:%M") if modified else ""
    except (OverflowError, OSError, ValueError):
        return ""


def _text(name: bytes) -> str:
    """The name as text: what is not UTF-8, and controls, in hexadecimal."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in name.decode("utf-8", "backslashreplace")
    )

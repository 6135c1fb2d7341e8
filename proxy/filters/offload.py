"""Files that an application has the gateway send in the place of its response.

X-Sendfile (and lighttpd's X-LIGHTTPD-send-file) names a path below `sendfile_root`; X-Accel-Redirect (and LiteSpeed's
X-LiteSpeed-Location) an address of an `internal` route. Of the application's response its fields stay, but for those
that describe its body.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from proxy import errors
from proxy.errors import ExchangeError
from proxy.exchange.local_response import LocalResponse
from proxy.exchange.request import Request
from proxy.exchange.route import Match, Route, Routes
from proxy.filters.build import build_files
from proxy.filters.files import Files
from proxy.log import log
from proxy.wire.fields import field_value
from proxy.wire.response import ResponseHead
from proxy.wire.target import normalised, quoted

_PATHS = frozenset({b"x-sendfile", b"x-lighttpd-send-file"})
_ADDRESSES = frozenset({b"x-accel-redirect", b"x-litespeed-location"})
_OF_BODIES = frozenset(
    {
        b"etag",
        b"last-modified",
        b"accept-ranges",
        b"content-range",
        b"content-encoding",
        b"content-md5",
        b"date",
        b"content-type",
    }
)
"""What the application says of a body that it does not send."""
_TYPE = b"content-type"


class InternalFiles:
    """The files of all internal routes, which are known when the others have been built."""

    def __init__(self) -> None:
        self._routes = Routes(())
        self._files: dict[Route, Files] = {}

    def __bool__(self) -> bool:
        return bool(self._files)

    def take(self, matches: Iterable[Match]) -> None:
        """Take those of the matches that are internal."""
        internal = [match for match in matches if match.route.settings.internal]
        self._routes = Routes(internal)
        self._files = {match.route: build_files(match.route.settings, match.path) for match in internal}

    def at(self, request: Request, target: bytes, kind: bytes) -> LocalResponse:
        """The file at a target of an internal route, of this content type if any. Raises `ExchangeError`."""
        route = self._routes.find(request.host, target, b"GET", request.fields)
        if route is None:
            raise ExchangeError(errors.FILE_MISSING)
        files = self._files[route]
        return _file(files, request, files.path_of(target), kind)


class FileOffload:
    """The files that one route's application may name: below `root`, and those of the internal routes."""

    def __init__(self, root: Path | None, internal: InternalFiles) -> None:
        self._below = b"" if root is None else os.fsencode(root).rstrip(b"/") + b"/"
        self._root = None if root is None else Files(root, "")
        self._internal = internal

    def takes(self, name: bytes) -> bool:
        """Whether it knows what to do for a field of this name."""
        kind = name.lower()
        return (kind in _PATHS and self._root is not None) or (kind in _ADDRESSES and bool(self._internal))

    def response(self, request: Request, response: ResponseHead) -> LocalResponse:
        """The file in the place of the application's response. Reads the disk.

        Raises `ExchangeError`: 404 for one that is not there, and as `Files.check` does.
        """
        value = response.offloaded
        kind = field_value(response.lines, _TYPE) or b""
        try:
            by_path = response.offload.lower() in _PATHS
            found = self._below_root(request, value, kind) if by_path else self._at(request, value, kind)
        except ExchangeError as error:
            if error.failure is errors.FILE_MISSING:
                target, named = (text.decode("ascii", "backslashreplace") for text in (request.target, value))
                log.warning("%s: the application named a file that is not there: %s", target, named)
            raise
        kept = [line for line in response.lines if _name(line) not in _OF_BODIES]
        if found.status == 304:
            kept = [line for line in kept if not _name(line).startswith(b"content-")]
        return LocalResponse(found.status, (*kept, *found.fields), found.body)

    def _below_root(self, request: Request, path: bytes, kind: bytes) -> LocalResponse:
        if self._root is None or not path.startswith(self._below):
            raise ExchangeError(errors.FILE_MISSING)
        return _file(self._root, request, quoted(path[len(self._below) - 1 :]), kind)

    def _at(self, request: Request, address: bytes, kind: bytes) -> LocalResponse:
        if address[:1] != b"/":
            raise ExchangeError(errors.FILE_MISSING)
        return self._internal.at(request, quoted(normalised(address)), kind)


def _file(files: Files, request: Request, path: bytes, kind: bytes) -> LocalResponse:
    found = files.at(request, path, b"HEAD" if request.method == b"HEAD" else b"GET", kind)
    if found.status == 301:  # a directory
        raise ExchangeError(errors.FILE_MISSING)
    return found


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].lower()

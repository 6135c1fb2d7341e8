"""Static files: found in a thread, sent by the kernel.

GET and HEAD of regular files beneath one directory, with validators, conditional requests and ranges, and with a file's
compressed siblings.
"""

import errno
import mimetypes
from collections.abc import Callable
from pathlib import Path
from time import time

from proxy import errors
from proxy.errors import ExchangeError
from proxy.exchange.local_response import File, LocalResponse
from proxy.exchange.partial_response import partial_response
from proxy.exchange.request import Request
from proxy.filters.document_root import Found, find, find_encoded, names
from proxy.filters.listing import listing
from proxy.net.disk import in_thread
from proxy.wire.conditions import Validators, conditions
from proxy.wire.fields import field_value
from proxy.wire.negotiation import IDENTITY, choose_coding, prefers_page
from proxy.wire.route_path import RoutePath

_SUFFIXES = {b"zstd": ".zst", b"br": ".br", b"gzip": ".gz"}
_TYPES = mimetypes.MimeTypes(filenames=())
for _type, _extension in (
    ("text/javascript", ".js"), ("text/javascript", ".mjs"), ("application/wasm", ".wasm"), ("font/woff", ".woff"),
    ("font/woff2", ".woff2"), ("image/webp", ".webp"), ("image/avif", ".avif"), ("image/x-icon", ".ico"),
    ("application/manifest+json", ".webmanifest"), ("application/json", ".map"), ("text/markdown", ".md"),
):  # fmt: skip
    _TYPES.add_type(_type, _extension)
_PACKED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_TEXTUAL = ("application/json", "application/xml", "application/manifest+json", "image/svg+xml")

# What a missing file looks like: also a link, a name below a file, a name no file can have.
_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.EMLINK}


_DIRECTORY = 301
"""The status for a directory's address without its slash."""
_METHODS = (b"GET", b"HEAD")


class Files:
    """The files beneath `root`; a `mount` is taken off the path first. `listed`: also the names in
    directories without an index."""

    def __init__(
        self,
        root: Path,
        index: str,
        mount: RoutePath | None = None,
        clock: Callable[[], float] = time,
        *,
        listed: bool = False,
    ) -> None:
        self._root = str(root)
        self._clock = clock
        self._index = index
        self._mount = mount
        self._listed = listed

    def check(self, request: Request) -> LocalResponse:
        """Raises `ExchangeError`: 404, 403 for what the gateway may not read, 405, 412 or 416."""
        return self.at(request, self.path_of(request.target), request.method)

    def path_of(self, target: bytes) -> bytes:
        """The path of a target's file, as `at` takes it."""
        return (target if self._mount is None else self._mount.rest(target)).partition(b"?")[0]

    def at(self, request: Request, path: bytes, method: bytes, content_type: bytes = b"") -> LocalResponse:
        """As `check`, for another path or method than the request's, and if need be another type than the name's."""
        target, lines = request.target, request.fields.lines
        if method not in _METHODS:
            raise ExchangeError(errors.FILE_METHOD, fields=(b"Allow: GET, HEAD",))
        way = names(path)
        if way is None:
            raise ExchangeError(errors.FILE_MISSING)
        found, encoded = self._look_up(way)
        if isinstance(found, OSError):
            listed = self._list(target, way) if found.errno in _MISSING or found.errno is None else None
            if listed is None:
                raise _refusal(found)
            return listed
        if found.directory:
            return LocalResponse(_DIRECTORY, (b"Location: " + _with_slash(target),))
        coding = IDENTITY
        try:
            if encoded:
                coding = choose_coding(field_value(lines, b"accept-encoding"), list(encoded))
            chosen = encoded.pop(coding, found)
        finally:
            for other in encoded.values():
                other.close()
        if chosen is not found:
            found.close()
        try:
            varies = coding != IDENTITY or bool(encoded)
            kind = content_type or type_of(found.name)
            return _response(method, lines, chosen, kind, coding, self._clock(), varies=varies)
        except ExchangeError:
            chosen.close()
            raise

    def _list(self, target: bytes, way: list[bytes]) -> LocalResponse | None:
        """The listing of a directory, or None if there is none, or may be none."""
        if not self._listed or way[-1]:
            return None
        found = in_thread(lambda: listing(self._root, way, target))
        if isinstance(found, OSError):
            raise _refusal(found)
        return found

    def _look_up(self, way: list[bytes]) -> tuple[Found | OSError, dict[bytes, Found]]:
        return in_thread(lambda: self._find(way), unclaimed=_close_all)

    def _find(self, way: list[bytes]) -> tuple[Found | OSError, dict[bytes, Found]]:
        found = find(self._root, way, self._index)
        if isinstance(found, OSError) or found.directory:
            return found, {}
        return found, find_encoded(self._root, way, found, _SUFFIXES)


class FilesFirst:
    """The file that a request names, if there is one; everything else passes to the application.

    A directory is its index, where its address ends with a slash. Upgrades and whatever is not GET or HEAD pass.
    """

    def __init__(self, files: Files) -> None:
        self._files = files

    def check(self, request: Request) -> LocalResponse | None:
        """Raises `ExchangeError` for a file that cannot be sent."""
        if request.method not in _METHODS or request.upgrade:
            return None
        try:
            response = self._files.check(request)
        except ExchangeError as error:
            if error.failure is errors.FILE_MISSING:
                return None
            raise
        return response if response.status != _DIRECTORY else None


class FilesOrPage:
    """The file that a request names, else one page for all: that of an application whose router is in the browser.

    A name with a dot is a file's: where it is missing, only a client that prefers a page gets the page.
    """

    def __init__(self, files: Files, page: str) -> None:
        self._files = files
        self._page = page.encode()

    def check(self, request: Request) -> LocalResponse:
        """Raises `ExchangeError` as `Files` does."""
        try:
            return self._files.check(request)
        except ExchangeError as error:
            name = request.target.partition(b"?")[0].rpartition(b"/")[2]
            named = b"." in name and not prefers_page(request.fields.accept)
            if error.failure is not errors.FILE_MISSING or named:
                raise
            return self._files.at(request, self._page, request.method)


def _close_all(opened: tuple[Found | OSError, dict[bytes, Found]]) -> None:
    """For a client that left while the disk was busy."""
    found, encoded = opened
    for one in (found, *encoded.values()):
        if isinstance(one, Found):
            one.close()


def _refusal(error: OSError) -> ExchangeError:
    if error.errno in _MISSING or error.errno is None:
        return ExchangeError(errors.FILE_MISSING)
    if error.errno in (errno.EACCES, errno.EPERM):
        return ExchangeError(errors.FILE_FORBIDDEN)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return ExchangeError(errors.OVERLOADED)
    return ExchangeError(errors.FILE_FAILED, error.strerror or "")


def _response(
    method: bytes, lines: list[bytes], file: Found, content_type: bytes, coding: bytes, now: float, *, varies: bool
) -> LocalResponse:
    """The response for an open file, whose descriptor it takes over; `now` is the time of the response."""
    preconditions = conditions(lines)
    suffix = b"" if coding == IDENTITY else b"-" + coding
    state = Validators(b'"%s%s"' % (file.state.encode(), suffix), file.changed)
    fields = [b"ETag: " + state.tag, b"Last-Modified: " + state.last_modified(now), b"Accept-Ranges: bytes"]
    if varies:
        fields.append(b"Vary: Accept-Encoding")
    verdict = preconditions.verdict(method, state)
    if verdict == 304:
        file.close()
        return LocalResponse(304, tuple(fields))
    if verdict == 412:
        raise ExchangeError(errors.FILE_CHANGED)
    fields.append(b"X-Content-Type-Options: nosniff")
    if coding != IDENTITY:
        fields.append(b"Content-Encoding: " + coding)
    parts = preconditions.wanted(method, state, file.size, now)
    if parts is None:
        fields.append(b"Content-Type: " + content_type)
        return LocalResponse(200, tuple(fields), File(file.descriptor, 0, file.size))
    if not parts:
        raise ExchangeError(errors.FILE_RANGE, fields=(b"Content-Range: bytes */%d" % file.size,))
    return partial_response(file.descriptor, file.size, parts, content_type, fields)


def type_of(name: str) -> bytes:
    """The content type of a file by its name, with the character set where text has one."""
    guessed, packing = _TYPES.guess_type(name)
    if packing is not None:
        return _PACKED.get(packing, "application/octet-stream").encode()
    if guessed is None:
        return b"application/octet-stream"
    textual = guessed.startswith("text/") or guessed in _TEXTUAL
    return guessed.encode() + (b"; charset=utf-8" if textual else b"")


def _with_slash(target: bytes) -> bytes:
    """The target with a slash behind its path. A backslash would be read as a slash, and two as another host."""
    path, mark, query = target.partition(b"?")
    return b"/" + path.lstrip(b"/").replace(b"\\", b"%5C") + b"/" + mark + query

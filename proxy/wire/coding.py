"""Content codings that the gateway can apply (RFC 9110 section 8.4.1, RFC 7932, RFC 8878)."""

import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol


def _optional(name: str) -> Any:
    """A library from the extra `compression`, or None."""
    try:
        return import_module(name)
    except ImportError:
        return None


brotli = _optional("brotli")
zstandard = _optional("zstandard")

# About a millisecond of one core for 64 KiB of JSON (gzip 1.1, br 0.8, zstd 0.5), to 32, 30 and 30 % of its size; the
# next levels cost half as much again, or more, for one percent.
_GZIP_LEVEL = 3
_BROTLI_QUALITY = 3
_ZSTD_LEVEL = 3
_GZIP_WINDOW = 31  # zlib's largest window, with a gzip header


class Encoder(Protocol):
    """The encoder of one body: bytes in, fewer bytes out."""

    def feed(self, data: bytes) -> bytes:
        """Encoded bytes that are ready; may be empty."""

    def flush(self) -> bytes:
        """The encoded rest of everything fed so far, so that the client can decode it immediately."""

    def finish(self) -> bytes:
        """The end of the body."""


class _Gzip:
    def __init__(self) -> None:
        self._engine = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
        self.feed = self._engine.compress

    def flush(self) -> bytes:
        return self._engine.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._engine.flush()


class _Brotli:
    def __init__(self) -> None:
        engine = brotli.Compressor(quality=_BROTLI_QUALITY)
        self.feed: Callable[[bytes], bytes] = engine.process
        self.flush: Callable[[], bytes] = engine.flush
        self.finish: Callable[[], bytes] = engine.finish


class _Zstandard:
    def __init__(self) -> None:
        self._engine = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj()
        self.feed: Callable[[bytes], bytes] = self._engine.compress

    def flush(self) -> bytes:
        return bytes(self._engine.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))

    def finish(self) -> bytes:
        return bytes(self._engine.flush())


_ENCODERS: dict[bytes, Callable[[], Encoder]] = {}
if zstandard is not None:
    _ENCODERS[b"zstd"] = _Zstandard
if brotli is not None:
    _ENCODERS[b"br"] = _Brotli
_ENCODERS[b"gzip"] = _Gzip

CODINGS = tuple(_ENCODERS)
"""The available codings, best ratio of size to cost first."""


def encoder(coding: bytes) -> Encoder:
    """A fresh encoder for one of `CODINGS`."""
    return _ENCODERS[coding]()

"""Content codings: what goes in comes out, at once where that is asked for, and without libraries there is gzip."""

import importlib.util
import sys
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard

from proxy.wire import coding as module
from proxy.wire.coding import CODINGS, encoder

DECODERS: dict[bytes, Callable[[], Callable[[bytes], bytes]]] = {
    b"gzip": lambda: zlib.decompressobj(31).decompress,
    b"br": lambda: brotli.Decompressor().process,
    b"zstd": lambda: zstandard.ZstdDecompressor().decompressobj().decompress,
}


@pytest.mark.parametrize("name", CODINGS)
def test_what_was_flushed_can_be_read_before_the_end(name: bytes) -> None:
    encoding, decode = encoder(name), DECODERS[name]()
    for part in (b"first", b"second" * 1000):
        assert decode(encoding.feed(part) + encoding.flush()) == part
    assert decode(encoding.feed(b"last") + encoding.finish()) == b"last"


def test_without_its_libraries_gzip_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("brotli", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)
    spec = importlib.util.spec_from_file_location("coding_alone", module.__file__)
    assert spec is not None
    assert spec.loader is not None
    alone = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(alone)
    assert alone.CODINGS == (b"gzip",)

"""The same local answers through TLS, by HTTP/1.1 and HTTP/2: where bytes cannot go past Python."""

import gzip
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxy.filters import origin
from tests.proxy.filters.origin import BODY, LONG
from tests.proxy.filters.test_routes import CONFIG
from tests.proxy.gateway import Gateway, serve

pytestmark = pytest.mark.component("curl")
LARGE = bytes(range(256)) * 8192


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("fronts")
    root, pages = directory / "root", directory / "pages"
    root.mkdir()
    pages.mkdir()
    (root / "large.bin").write_bytes(LARGE)
    (pages / "404.html").write_text("<p>nothing here</p>")
    config = directory / "gateway.toml"
    with origin.origin() as port:
        config.write_text(CONFIG.format(port=port, root=root, pages=pages))
        running = serve(directory / "run", "", "--config", str(config), "--tls", "self-signed", "--hsts", "1d")
        try:
            yield running
        finally:
            running.close()


@pytest.fixture(params=["1.1", "2"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Curl:
    """One answer: status, fields by lower-case name, and the body as it came."""

    def __init__(self, gateway: Gateway, version: str, path: str, directory: Path, *arguments: str) -> None:
        head, body = directory / "head", directory / "body"
        subprocess.run(
            ["curl", "-sk", f"--http{version}", "-D", str(head), "-o", str(body), *arguments,
             f"https://127.0.0.1:{gateway.port}{path}"],
            check=True, timeout=60,
        )  # fmt: skip
        first, *lines = head.read_text().strip().splitlines()
        assert first.split()[0] == f"HTTP/{version}"
        self.status = int(first.split()[1])
        self.fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.body = body.read_bytes() if body.exists() else b""


def test_files(gateway: Gateway, version: str, tmp_path: Path) -> None:
    whole = Curl(gateway, version, "/files/large.bin", tmp_path)
    assert (whole.status, whole.body == LARGE, whole.fields["content-length"]) == (200, True, str(len(LARGE)))
    assert whole.fields["strict-transport-security"] == "max-age=86400"
    part = Curl(gateway, version, "/files/large.bin", tmp_path, "-r", "1000000-1000099")
    assert (part.status, part.body) == (206, LARGE[1000000:1000100])
    again = Curl(gateway, version, "/files/large.bin", tmp_path, "-H", f"If-None-Match: {whole.fields['etag']}")
    assert again.status == 304
    head = Curl(gateway, version, "/files/large.bin", tmp_path, "-I")
    assert (head.status, head.fields["content-length"]) == (200, str(len(LARGE)))


def test_own_answers_and_pages(gateway: Gateway, version: str, tmp_path: Path) -> None:
    assert Curl(gateway, version, "/robots.txt", tmp_path).body == b"User-agent: *\nDisallow: /\n"
    moved = Curl(gateway, version, "/old/a?b", tmp_path, "-H", "Host: example.org")
    assert (moved.status, moved.fields["location"]) == (308, "https://example.org/new/a?b")
    missing = Curl(gateway, version, "/files/none", tmp_path, "-H", "Accept: text/html")
    assert (missing.status, missing.body) == (404, b"<p>nothing here</p>")
    asked = json.loads(Curl(gateway, version, "/api/x", tmp_path).body)
    assert (asked["path"], asked["fields"]["x-forwarded-prefix"]) == ("/x", "/api")


@pytest.mark.parametrize(("path", "body"), [("/short", BODY), ("/long", LONG)])
def test_compression(gateway: Gateway, version: str, tmp_path: Path, path: str, body: bytes) -> None:
    answer = Curl(gateway, version, path, tmp_path, "-H", "Accept-Encoding: gzip")
    assert (answer.fields["content-encoding"], gzip.decompress(answer.body) == body) == ("gzip", True)
    assert answer.fields["content-length"] == str(len(answer.body))

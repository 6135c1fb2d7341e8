"""The guide to client certificates, followed: what the application and the log learn, and what no client can forge."""

import base64
import http.client
import json
import re
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.deployment.pages import blocks, moved
from tests.deployment.processes import CHECKOUT
from tests.proxy.filters.origin import origin
from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.h2.raw import GET, Raw
from tests.proxy.tls_gateway import connect
from tests.waiting import until

GUIDE = CHECKOUT / "docs" / "howto" / "client-certificates.md"
COMMAND = re.compile(r"(?P<command>curl .*?)  +# (?P<printed>.*)")
FORGED = {"client-cert": ":Zm9v:", "x-ssl-client-verify": "SUCCESS", "x-ssl-client-s-dn": "CN=root", "x-user": "root"}
pytestmark = pytest.mark.component("curl")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the guide's commands made an authority and a certificate."""
    made = tmp_path_factory.mktemp("certificates")
    subprocess.run(["bash", "-ec", blocks(GUIDE, "sh")[0].text], cwd=made, check=True, capture_output=True, timeout=60)
    return made


@pytest.fixture(scope="module")
def gateway(directory: Path) -> Iterator[Gateway]:
    place = directory / "etc/ssl/certs/clients.crt"
    place.parent.mkdir(parents=True)
    place.write_bytes((directory / "clients.crt").read_bytes())
    with ExitStack() as running:
        application = running.enter_context(origin())
        addresses = {"127.0.0.1:8080": f"127.0.0.1:{application}", "127.0.0.1:8443": "127.0.0.1:0"}
        file = directory / "proxy.toml"
        file.write_text(moved(blocks(GUIDE, "toml")[0].text, directory, addresses))
        log = ("--access-log", str(directory / "access.log"), "--log-format", "json", "--workers", "2")
        front = serve(directory / "gateway", "", "--config", str(file), *log)
        running.callback(front.close)
        yield front
        assert "failed inside" not in front.log, front.log


def trusting(directory: Path, *, certified: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(directory / "etc/ssl/certs/shop.example.crt"))
    if certified:
        context.load_cert_chain(directory / "ann.crt", directory / "ann.key")
    return context


def told(gateway: Gateway, directory: Path, *, certified: bool) -> list[dict[str, str]]:
    """What the application is sent of a client that forges fields: over HTTP/1, the same again, and over HTTP/2."""
    context = trusting(directory, certified=certified)
    found = []
    client = http.client.HTTPSConnection("127.0.0.1", gateway.port, context=context, timeout=30)
    for _ in range(3):
        client.request("GET", "/", headers=FORGED | {"X_SSL_Client_Verify": "SUCCESS", "Client-Cert-Chain": "x"})
        found.append(json.loads(client.getresponse().read())["fields"])
    client.close()
    context.set_alpn_protocols(["h2"])
    with Raw(gateway.port, tls=context) as raw:
        for stream in (1, 3):
            raw.send(raw.headers(stream, [*GET, *FORGED.items()]))
            found.append(json.loads(raw.response(stream)[1])["fields"])
    return found


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_each_command_prints_what_the_guide_says(gateway: Gateway, directory: Path, version: str) -> None:
    for found in COMMAND.finditer(blocks(GUIDE, "sh")[1].text):
        command = found["command"].replace("127.0.0.1:8443", f"127.0.0.1:{gateway.port}")
        command = command.replace("curl ", f"curl {version} ", 1)
        done = subprocess.run(["bash", "-c", command], cwd=directory, capture_output=True, text=True, timeout=20)
        assert done.stdout.strip() == found["printed"].strip(), command


def test_application_is_sent_the_certificate(gateway: Gateway, directory: Path) -> None:
    der = ssl.PEM_cert_to_DER_cert((directory / "ann.crt").read_text())
    for fields in told(gateway, directory, certified=True):
        assert base64.b64decode(fields["client-cert"].strip(":")) == der
        assert fields["x-ssl-client-verify"] == "SUCCESS"
        assert fields["x-ssl-client-s-dn"] == fields["x-user"] == "CN=ann,O=Shop"
        assert "client-cert-chain" not in fields
        assert "x_ssl_client_verify" not in fields


def test_no_client_can_forge_a_certificate(gateway: Gateway, directory: Path) -> None:
    for fields in told(gateway, directory, certified=False):
        assert fields["x-ssl-client-verify"] == "NONE"
        assert not {"client-cert", "client-cert-chain", "x-ssl-client-s-dn", "x-user", "x_ssl_client_verify"} & set(
            fields
        )


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_resumed_session_keeps_its_certificate(gateway: Gateway, directory: Path, version: ssl.TLSVersion) -> None:
    context = trusting(directory, certified=True)
    context.check_hostname = False
    context.maximum_version = version
    session = None
    for resumed in (False, True, True):
        with connect(gateway, context, "shop.example", session) as sock:
            sock.sendall(b"GET /whoami HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
            reply = b"".join(iter(lambda sock=sock: sock.recv(4096), b""))
            assert reply.endswith(b"CN=ann,O=Shop"), reply
            assert sock.session_reused is resumed
            session = sock.session


def test_log_has_the_subject(gateway: Gateway, directory: Path) -> None:
    told(gateway, directory, certified=True)
    told(gateway, directory, certified=False)

    def subjects() -> set[str | None]:
        lines = map(json.loads, (directory / "access.log").read_text().splitlines())
        return {line.get("tls_client_subject") for line in lines if line["target"] == "/"}

    until(lambda: {"CN=ann,O=Shop", None} <= subjects(), "the log has both")

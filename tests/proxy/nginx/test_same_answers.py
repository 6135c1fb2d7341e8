"""Files of the shapes that popular applications publish, on nginx and imported: the same requests, the same answers."""

import http.client
import json
import re
import shutil
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import pytest

from proxy.cli import main
from proxy.commands.client import PARTLY, SUCCESS
from proxy.nginx.importer import import_nginx
from tests.conftest import program
from tests.deployment.pages import certify
from tests.deployment.processes import CHECKOUT, Running, accepts
from tests.ports import ports
from tests.proxy.nginx.application import application
from tests.waiting import until

pytestmark = [pytest.mark.component("nginx"), pytest.mark.component("openssl")]

CASES = sorted((CHECKOUT / "tests" / "cases" / "nginx").glob("*.conf"))
AROUND = """
daemon off; {user} worker_processes 1; pid {directory}/nginx.pid; error_log stderr;
events {{}}
http {{
    access_log off;
    types {{ text/html html; text/css css; text/plain txt; }}
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    include sites/*.conf;
}}
"""
WEBSOCKET = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
WEBSOCKET["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
USER = {"Authorization": "Basic YWxpY2U6c2VjcmV0"}
REQUESTS: list[tuple[str, str, dict[str, str], int]] = [
    ("GET", "/", {}, 0),
    ("GET", "/a/b?c=d&e=%20", {}, 0),
    ("HEAD", "/a", {}, 0),
    ("POST", "/a", {}, 100),
    ("POST", "/upload/x", {}, 1_100_000),
    ("DELETE", "/orders/1", {}, 0),
    ("OPTIONS", "/api/x", {}, 0),
    ("GET", "/static/app.css", {}, 0),
    ("GET", "/static/none.css", {}, 0),
    ("GET", "/assets/app.css", {"Range": "bytes=0-3"}, 0),
    ("GET", "/favicon.ico", {}, 0),
    ("GET", "/.well-known/carddav", {}, 0),
    ("GET", "/.well-known/matrix/server", {}, 0),
    ("GET", "/old/page?x=1", {}, 0),
    ("GET", "/health", {}, 0),
    ("GET", "/admin/", USER, 0),
    ("GET", "/public/", {"Authorization": "Bearer good"}, 0),
    ("GET", "/local/%41", {"Accept-Encoding": "gzip"}, 0),
    ("GET", "/grafana/d/1", {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}, 0),
    ("GET", "/ws/", WEBSOCKET, 0),
]
"""Method, path, fields, and length of the body."""

FIELDS = (
    "Location", "Content-Type", "Cache-Control", "Content-Range", "Content-Encoding", "WWW-Authenticate", "X-Served-By",
    "X-Frame-Options", "X-Robots-Tag", "X-Content-Type-Options", "Strict-Transport-Security", "Server-Secret",
)  # fmt: skip


@dataclass
class Pair:
    """nginx and the gateway with all files of one kind, and the ports of each: for TLS and without."""

    nginx: tuple[int, int]
    gateway: tuple[int, int]
    certificate: Path
    tls: bool


def moved(text: str, directory: Path, addresses: dict[str, int], secure: int, plain: int) -> str:
    """A file with its ports and paths where a test may have them."""
    for port, own in addresses.items():
        text = text.replace(port, f"127.0.0.1:{own}")
    text = text.replace("listen 443", f"listen 127.0.0.1:{secure}").replace("listen 80", f"listen 127.0.0.1:{plain}")
    return re.sub(r"(?<=\s)/(srv|etc)/", rf"{directory}/\1/", text)


def prepare(directory: Path) -> None:
    for name, content in {
        "public/index.html": "<p>home</p>", "public/assets/app.css": "body {}\n", "public/static/app.css": "p {}",
        "static/app.css": "body { color: red }", "static/favicon.ico": "icon", "public/robots.txt": "all",
    }.items():  # fmt: skip
        file = directory / "srv" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    (directory / "etc/letsencrypt").mkdir(parents=True)
    (directory / "etc/letsencrypt/options-ssl-nginx.conf").write_text("ssl_session_timeout 1440m;\n")
    certify("apps.test", directory / "etc" / "ssl")
    users = directory / "etc" / "nginx" / "users.htpasswd"
    users.parent.mkdir(parents=True)
    users.write_text("alice:$2y$05$QlMMUzzIvVpQj5TYJzVNhOZkOqIm57W3hHbmzVVXJYNBCqRnwF3Sa\n")


def secure_case(case: Path) -> bool:
    return "listen 443" in case.read_text()


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory = tmp_path_factory.mktemp("sites")
    prepare(directory)
    servers = [tuple(ports(2)), tuple(ports(2))]
    binary = program("nginx")
    assert binary
    with ExitStack() as stack:
        names = (("127.0.0.1:8081", "first"), ("127.0.0.1:8082", "second"), ("127.0.0.1:8083", "third"))
        addresses = {port: stack.enter_context(application(name)) for port, name in names}
        for number, (secure, plain) in enumerate(servers):
            root = directory / ("nginx" if number == 0 else "imported")
            (root / "sites").mkdir(parents=True)
            for case in CASES:
                if secure_case(case) == request.param:
                    text = moved(case.read_text(), directory, addresses, secure, plain)
                    (root / "sites" / case.name).write_text(text)
            (root / "fastcgi_params").write_text("fastcgi_param REQUEST_METHOD $request_method;\n")
            (root / "nginx.conf").write_text(AROUND.format(directory=root, user="user root;" if number == 0 else ""))
        file = directory / "gateway.toml"
        file.write_text(import_nginx(directory / "imported" / "nginx.conf").text)
        started = [
            Running(binary, "-p", f"{directory}/nginx", "-c", f"{directory}/nginx/nginx.conf", log=directory / "n"),
            Running(
                sys.executable, "-m", "proxy", "--config", str(file), "--admin", "off", "--workers", "1",
                log=directory / "g",
            ),
        ]  # fmt: skip
        for running, (_, plain) in zip(started, servers, strict=True):
            stack.enter_context(running)
            until(
                lambda running=running, plain=plain: running.process.poll() is not None or accepts(plain), "it listens"
            )
            assert running.process.poll() is None, running.output()
        nginx, gateway = servers
        yield Pair(
            (nginx[0], nginx[1]), (gateway[0], gateway[1]), directory / "etc/ssl/certs/apps.test.crt", request.param
        )
    shutil.rmtree(directory, ignore_errors=True)


def connected(port: int, certificate: Path | None) -> http.client.HTTPConnection:
    if certificate is None:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    context = ssl.create_default_context(cafile=certificate)
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)


def answers(port: int, host: str, certificate: Path | None) -> Iterator[dict[str, object]]:
    """What each request got: status, fields and body, an application's in its parts."""
    connection = connected(port, certificate)
    for method, path, fields, length in REQUESTS:
        try:
            connection.request(method, path, b"x" * length or None, {"Host": host, **fields})
            response = connection.getresponse()
        except (ConnectionError, http.client.HTTPException):  # refused while the body was sent: ask without it
            connection.close()
            connection.putrequest(method, path, skip_host=True)
            for name, value in {"Host": host, "Content-Length": str(length), **fields}.items():
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
        body = b"" if response.status == 101 else response.read()
        found: dict[str, object] = {"status": response.status}
        found |= {name: value for name in FIELDS if (value := response.getheader(name)) is not None}
        location = response.getheader("Location")
        if location is not None:
            scheme = "http" if certificate is None else "https"
            found["Location"] = urljoin(f"{scheme}://{host}{path}", location).replace(f":{port}/", "/")
        if response.getheader("Content-Encoding"):
            found["body"] = "coded"
        elif response.getheader("Content-Type") == "application/json" and body.startswith(b'{"name"'):
            found["body"] = json.loads(body)
        elif response.status < 300:
            found["body"] = body.decode("latin-1")
        yield found
        if response.status == 101 or response.will_close:
            connection.close()
    connection.close()


def hosts(case: Path) -> list[str]:
    return list(dict.fromkeys(re.findall(r"server_name (\S+);", case.read_text())))


Answer = dict[str, object]
_OWN = {"Content-Type", "Cache-Control", "X-Content-Type-Options", "WWW-Authenticate", "Server-Secret", "body"}


def status(answer: Answer) -> int:
    found = answer["status"]
    assert isinstance(found, int)
    return found


def text(answer: Answer, key: str) -> str:
    return str(answer.get(key) or "")


def fields_of(answer: Answer) -> Answer:
    """What the application was asked, without the fields that are compared by themselves."""
    body = answer.get("body")
    assert isinstance(body, dict)
    return body | {"fields": body["fields"] | {"x-forwarded-for": "", "x-real-ip": ""}}


def own_host(key: str, nginx: Answer, gateway: Answer) -> bool:
    """Without a Host of its own nginx sends the name of the application, the gateway the client's."""
    bodies = [one.get(key) for one in (nginx, gateway)]
    return key == "body" and all(isinstance(body, dict) for body in bodies) and (
        fields_of(nginx) | {"fields": ""} == fields_of(gateway) | {"fields": ""}
        and fields_of(nginx)["fields"]["host"] == "odoo"
    )  # fmt: skip


def refusals(key: str, nginx: Answer, gateway: Answer) -> bool:
    """A refusal has the server's own page: JSON here, unless a browser asks."""
    return key in _OWN and status(nginx) == status(gateway) >= 400


def order(_key: str, nginx: Answer, gateway: Answer) -> bool:
    """Of two reasons to refuse a request, nginx may give another one."""
    return min(status(nginx), status(gateway)) >= 400


def files(key: str, nginx: Answer, gateway: Answer) -> bool:
    """Files and texts have charset=utf-8, files nosniff, and more types are known."""
    served = isinstance(gateway.get("body"), str) or status(gateway) == 206
    return key in ("Content-Type", "X-Content-Type-Options") and served and status(nginx) == status(gateway)


def claims(key: str, nginx: Answer, gateway: Answer) -> bool:
    """What a client claims in X-Forwarded-For is dropped."""
    return key == "body" and all(isinstance(one.get(key), dict) for one in (nginx, gateway)) and (
        fields_of(nginx) == fields_of(gateway)
    )  # fmt: skip


def peers(key: str, nginx: Answer, gateway: Answer) -> bool:
    """Which of two peers with nothing to do gets a request is each server's own affair."""
    bodies = [one.get(key) for one in (nginx, gateway)]
    return key == "body" and all(
        isinstance(body, dict) and body["fields"]["host"] == "balanced.apps.test" for body in bodies
    )


def websockets(_key: str, nginx: Answer, gateway: Answer) -> bool:
    """WebSockets pass on every route."""
    return status(nginx) == 200 and status(gateway) == 101


def spellings(key: str, nginx: Answer, gateway: Answer) -> bool:
    """HSTS is written in one way."""
    return key == "Strict-Transport-Security" and text(nginx, key).rstrip("; ") == text(gateway, key)


def redirects(key: str, nginx: Answer, gateway: Answer) -> bool:
    """A redirect has no page."""
    return key == "Content-Type" and status(nginx) == status(gateway) and "Location" in gateway


def errors_too(key: str, nginx: Answer, gateway: Answer) -> bool:
    """Fields are also set on errors, and on redirects."""
    return key in FIELDS and key not in nginx and status(nginx) == status(gateway) >= 300


def missing_names(_key: str, nginx: Answer, gateway: Answer) -> bool:
    """A missing file whose name has a dot is no address of a single-page application."""
    return status(gateway) == 404 and nginx.get("body") == "<p>home</p>"


DIFFERENCES = (
    own_host,
    refusals,
    order,
    files,
    claims,
    peers,
    websockets,
    spellings,
    redirects,
    errors_too,
    missing_names,
)
"""What `docs/howto/from-nginx.md` names; everything else has to be the same."""


LOST = {
    "jupyter": ("/.well-known/",),
    "mastodon": (),
    "nextcloud-php": ("/",),
    "odoo": (),
    "rails": (),
    "wordpress": ("/",),
}
"""Files that are not translated whole, and where that shows."""


@pytest.mark.parametrize(
    ("pair", "case"),
    sorted((secure_case(case), case) for case in CASES),
    ids=[case.stem for case in sorted(CASES, key=lambda case: (secure_case(case), case))],
    indirect=["pair"],
    scope="module",
)
def test_the_answers_are_the_same(case: Path, pair: Pair) -> None:
    certificate = pair.certificate if pair.tls else None
    for host in hosts(case):
        asked = [answers(one[not pair.tls], host, certificate) for one in (pair.nginx, pair.gateway)]
        for (method, path, _, _), nginx, gateway in zip(REQUESTS, *asked, strict=True):
            if not path.startswith(LOST.get(case.stem, "*")):
                unnamed = [key for key in nginx | gateway if nginx.get(key) != gateway.get(key)]
                unnamed = [key for key in unnamed if not any(named(key, nginx, gateway) for named in DIFFERENCES)]
                assert not unnamed, f"{method} {path} of {host}: {nginx} | {gateway}"


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_the_exit_code_says_whether_a_line_was_lost(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import-nginx", str(case)]) == (PARTLY if case.stem in LOST else SUCCESS)
    shown = capsys.readouterr()
    assert ("NOT TRANSLATED" in shown.out) == (case.stem in LOST) == ("no equivalent" in shown.err)


@pytest.mark.parametrize("pair", [True], ids=["TLS"], indirect=True, scope="module")
def test_plain_http_is_redirected_on_both(pair: Pair) -> None:
    for port, status in ((pair.nginx[1], 301), (pair.gateway[1], 308)):
        connection = connected(port, None)
        connection.request("GET", "/a?b=c", headers={"Host": "fastapi.apps.test"})
        response = connection.getresponse()
        location = (response.getheader("Location") or "").replace(f":{pair.gateway[0]}/", "/")
        assert (response.status, location) == (status, "https://fastapi.apps.test/a?b=c")
        connection.close()

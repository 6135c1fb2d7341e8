"""The first line of a start."""

import inspect
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gunicorn.arbiter import Arbiter

from proxy.observe.errorlog import GUNICORNS_OWN
from proxy.process.banner import banner
from proxy.process.listeners import Listeners, Role
from proxy.settings import load
from tests.proxy.process.running import TinyGateway

Bound = Callable[[str], socket.socket]


@pytest.fixture
def bound() -> Iterator[Bound]:
    sockets: list[socket.socket] = []

    def bind(address: str) -> socket.socket:
        family = socket.AF_UNIX if "/" in address or address[0] == "\0" else socket.AF_INET
        sockets.append(socket.socket(family))
        sockets[-1].bind(address if family == socket.AF_UNIX else (address, 0))
        return sockets[-1]

    yield bind
    for one in sockets:
        one.close()


def ports(text: str) -> str:
    return re.sub(r":\d{4,5}\b", ":PORT", text)


def test_one_line_names_listeners_upstream_and_status_page(bound: Bound) -> None:
    listeners = Listeners({Role.FRONT: [bound("127.0.0.1")], Role.ADMIN: [bound("127.0.0.1")]})
    line = banner("1.2", load({"upstream": ["unix:/run/app.sock"]}, None), listeners)
    assert ports(line) == (
        "aragora-proxy 1.2: http://127.0.0.1:PORT (this machine only, not encrypted) -> unix:/run/app.sock; "
        "status page http://127.0.0.1:PORT/"
    )


def test_plain_and_encrypted_listeners_are_told_apart(bound: Bound, tmp_path: Path) -> None:
    settings = load(
        {"upstream": ["a:1", "b:2", "c:3", "d:4", "e:5"], "tls": "self-signed", "state_dir": str(tmp_path),
         "bind": "0.0.0.0:443", "bind_plain": "0.0.0.0:80"}, None
    )  # fmt: skip
    listeners = Listeners({Role.FRONT: [bound("0.0.0.0")], Role.PLAIN: [bound("0.0.0.0"), bound("\0front")]})
    assert ports(banner("1.2", settings, listeners)) == (
        f"aragora-proxy 1.2: https://0.0.0.0:PORT (other machines too, TLS, self-signed certificate {tmp_path}/"
        "self-signed.pem), http://0.0.0.0:PORT (other machines too, not encrypted), unix:@front (local socket, "
        "not encrypted) -> a:1, b:2, c:3 and 2 more; status page off"
    )


def test_routes_are_named_with_their_targets(bound: Bound, tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text(
        f'[[route]]\nhost = "a.example"\nupstream = "a:1"\n[[route]]\npath = "/files/"\nroot = "{tmp_path}"\n'
        '[[route]]\npath = "/old"\nredirect = "/new"\n[[route]]\npath = "/up"\ngateway_health = true\n'
    )
    line = banner("1.2", load({"config": str(file)}, file), Listeners({Role.FRONT: [bound("127.0.0.1")]}))
    assert f"-> a.example/ to a:1, /files/ to files of {tmp_path}, /old to a redirect and 1 more;" in line


def test_the_log_begins_with_it_and_not_with_gunicorn(start: Callable[..., TinyGateway]) -> None:
    log = start().ready().log
    assert re.search(r"^\S.*\[INFO\] aragora-proxy \S+: http://127\.0\.0\.1:\d+ \(this machine only", log)
    assert "gunicorn" not in log
    assert "Listening at" not in log


def test_gunicorns_own_lines_are_still_those_it_logs() -> None:
    source = inspect.getsource(Arbiter.start)
    assert [text for text in GUNICORNS_OWN if f'"{text}"' not in source] == []

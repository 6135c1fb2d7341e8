"""Several gateways that keep certificates, account and challenges in one directory, with pebble and real clients."""

import contextlib
import os
import signal
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FuturesTimeout
from pathlib import Path

import pytest

from proxy.acme.state import State
from tests.proxy.acme.asked import asked
from tests.proxy.acme.pebble import Pebble
from tests.proxy.gateway import Gateway, children, serve
from tests.proxy.tls_gateway import serial
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.component("pebble")
SITE = "both.shop.test"


@pytest.fixture
def trust(server: Pebble) -> ssl.SSLContext:
    return server.trust()


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    directory = tmp_path / "shared"
    directory.mkdir(mode=0o700)
    return directory


def gateway(server: Pebble, shared: Path, name: str, *flags: str) -> Gateway:
    """One that obtains certificates, with the places of `flags` to meet challenges at."""
    folder = shared.parent / name
    acme = ("--acme", "a@shop.test", *server.flags)
    where = ("--state-dir", str(folder / "state"), "--shared-certificates", str(shared), "--respond", "hello")
    return serve(folder, "", *acme, *where, *flags)


def served(running: Gateway, trust: ssl.SSLContext, name: str = SITE) -> str:
    """The serial number of the certificate which a client is content with; "" if it is not."""
    try:
        return serial(running, trust, name)
    except ssl.SSLError:
        return ""


def orders(*running: Gateway) -> int:
    return sum(one.log.count("obtaining a certificate for") for one in running)


def test_one_obtains_and_the_other_answers_for_it(server: Pebble, shared: Path, trust: ssl.SSLContext) -> None:
    """The authority reaches the second gateway alone, which has no names of its own and orders nothing."""
    there = ("--bind-plain", f"127.0.0.1:{server.http_port}")
    with contextlib.ExitStack() as opened:
        service = opened.enter_context(asked(SITE))
        second = opened.enter_context(
            contextlib.closing(gateway(server, shared, "second", "--on-demand-ask", service.url, *there))
        )
        first = opened.enter_context(
            contextlib.closing(gateway(server, shared, "first", "--domain", SITE, "--bind-plain", "127.0.0.1:0"))
        )
        until(lambda: bool(served(first, trust)), "the first has its certificate")
        assert served(second, trust) == served(first, trust)
        assert orders(second) == 0


def test_two_gateways_make_one_order(server: Pebble, shared: Path, trust: ssl.SSLContext) -> None:
    with contextlib.ExitStack() as opened:
        both = [
            opened.enter_context(
                contextlib.closing(gateway(server, shared, name, "--domain", SITE, "--bind-plain", f"127.0.0.1:{port}"))
            )
            for name, port in (("first", server.http_port), ("second", 0))
        ]
        until(lambda: all(served(one, trust) for one in both), "both have it", 60)
        assert served(both[0], trust) == served(both[1], trust)
        assert orders(*both) == 1
        accounts = [str(path.relative_to(shared.parent).parts[0]) for path in shared.parent.rglob("account.json")]
        assert accounts == ["shared"], "the account's key is nowhere else"


def test_another_goes_on_when_the_holder_is_killed(server: Pebble, shared: Path, trust: ssl.SSLContext) -> None:
    """Clients of both wait for a name; the authority looks for the first one's response in vain."""
    with contextlib.ExitStack() as opened:
        service = opened.enter_context(asked(SITE))
        silent = opened.enter_context(socket.create_server(("127.0.0.1", server.http_port)))
        silent.settimeout(PATIENCE)
        flags = ("--on-demand-ask", service.url)
        there = ("--bind", f"127.0.0.1:{server.tls_port}")
        other = opened.enter_context(contextlib.closing(gateway(server, shared, "other", *flags, *there)))
        dying = opened.enter_context(
            contextlib.closing(gateway(server, shared, "dying", *flags, "--bind-plain", "127.0.0.1:0"))
        )
        threads = opened.enter_context(ThreadPoolExecutor(2))
        lost = threads.submit(served, dying, trust)
        opened.enter_context(silent.accept()[0])
        waited = threads.submit(served, other, trust)
        until(lambda: service.questions == [SITE, SITE], "the other waits, too")
        assert orders(other) == 0
        for pid in (dying.process.pid, *children(dying.process.pid)):
            os.kill(pid, signal.SIGKILL)
        assert waited.result(PATIENCE)
        with contextlib.suppress(OSError):
            assert lost.result(PATIENCE) == ""
        assert (orders(dying), orders(other)) == (1, 1)


def test_a_domain_is_not_ordered_on_demand_elsewhere_meanwhile(
    server: Pebble, shared: Path, trust: ssl.SSLContext
) -> None:
    """The first waits for the authority, which looks for its response in vain, until it is killed."""
    with contextlib.ExitStack() as opened:
        service = opened.enter_context(asked(SITE))
        silent = opened.enter_context(socket.create_server(("127.0.0.1", server.http_port)))
        silent.settimeout(PATIENCE)
        there = ("--bind", f"127.0.0.1:{server.tls_port}")
        other = opened.enter_context(
            contextlib.closing(gateway(server, shared, "other", "--on-demand-ask", service.url, *there))
        )
        dying = opened.enter_context(
            contextlib.closing(gateway(server, shared, "dying", "--domain", SITE, "--bind-plain", "127.0.0.1:0"))
        )
        opened.enter_context(silent.accept()[0])
        threads = opened.enter_context(ThreadPoolExecutor(1))
        served = threads.submit(serial, other, trust, SITE)
        until(lambda: service.questions == [SITE], "the other waits")
        with pytest.raises(FuturesTimeout):
            served.result(1)
        assert orders(other) == 0
        for pid in (dying.process.pid, *children(dying.process.pid)):
            os.kill(pid, signal.SIGKILL)
        assert served.result(PATIENCE)
        assert (orders(dying), orders(other)) == (1, 1)


def test_a_name_that_another_orders_is_left_to_it(server: Pebble, shared: Path) -> None:
    """This test has the lock of the name, whose certificate the gateway finds due at its start."""
    state = State(shared, server.directory)
    state.make()
    with state.lock(state.order_lock(SITE)) as held:
        assert held
        flags = ("--domain", SITE, "--bind-plain", f"127.0.0.1:{server.http_port}")
        with contextlib.closing(gateway(server, shared, "second", *flags)) as second:
            until(state.account.exists, "it is about to order")
            until(lambda: free(state, "lock"), "it has looked at everything")
            assert orders(second) == 0


def free(state: State, name: str) -> bool:
    with state.lock(name) as ours:
        return ours


def test_a_lost_directory_leaves_what_is_served(server: Pebble, shared: Path, trust: ssl.SSLContext) -> None:
    there = ("--bind-plain", f"127.0.0.1:{server.http_port}", "--admin", "127.0.0.1:0")
    with contextlib.ExitStack() as opened:
        service = opened.enter_context(asked(SITE, "new.shop.test"))
        lone = opened.enter_context(
            contextlib.closing(gateway(server, shared, "lone", "--on-demand-ask", service.url, *there))
        )
        lone.admin = lone.announced(3)[2]
        before = served(lone, trust)
        shared.rename(shared.parent / "away")
        assert served(lone, trust, "new.shop.test") == ""
        assert served(lone, trust) == before
        until(lambda: lone.metric("certificate_faults") == 1, "the fault is counted")
        [fault] = lone.status()["certificate_faults"]
        assert fault["name"] == "shared_certificates"
        assert lone.log.count("cannot be used: [Errno 2] No such file or directory") == 1
        (shared.parent / "away").rename(shared)
        assert served(lone, trust, "new.shop.test")
        assert "usable again, after" in lone.log
        assert lone.status()["certificate_faults"] == []

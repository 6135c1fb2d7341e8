"""Two gateways in networks of their own, behind HAProxy: one dies under load, and every request is accounted for."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.conftest import program
from tests.deployment.networks import Host, star
from tests.deployment.pages import Block, blocks, moved
from tests.deployment.processes import CHECKOUT, Running
from tests.waiting import until

PAGE = CHECKOUT / "docs/howto/several-gateways.md"
BURST = 200
CLIENTS, EACH = 6, 60
# Sends requests on connections of its own, each until it ends, and says what became of every one; a line in the middle.
LOAD = f"""
import collections, http.client, json, sys, threading
found, lock = collections.Counter(), threading.Lock()
def client():
    connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=30)
    for _ in range({EACH}):
        try:
            connection.request("GET", "/")
            response = connection.getresponse()
            response.read()
            became = str(response.status)
        except (OSError, http.client.HTTPException) as error:
            became = type(error).__name__
            connection.close()
        with lock:
            found[became] += 1
            if found.total() == 60:
                print("under way", flush=True)
threads = [threading.Thread(target=client) for _ in range({CLIENTS})]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps(found), flush=True)
"""
LOST = {"RemoteDisconnected", "ConnectionResetError", "BrokenPipeError", "IncompleteRead"}
"""What becomes of requests that a gateway had begun when it died."""


def block(kind: str) -> Block:
    """The one of this kind about gateways behind a balancer, which tells them of clients by the PROXY protocol."""
    (found,) = (one for one in blocks(PAGE, kind) if "proxy_protocol" in one.text or "send-proxy" in one.text)
    return found


@contextmanager
def gateway(directory: Path, host: Host) -> Iterator[Running]:
    """One with the page's file, which answers itself."""
    addresses = {
        "0.0.0.0:8000": f"{host.address}:8000",
        'upstream        = "127.0.0.1:8080"': 'respond = "served"\nadmin = "127.0.0.1:9180"\nworkers = 1',
        "10.77.0.5:6379": f"{host.neighbour}:6379",
    }
    directory.mkdir()
    text = moved(block("toml").text, directory, addresses)
    # Machines that run tests may be busy for longer than a request would wait otherwise.
    (directory / "proxy.toml").write_text(f'{text}shared_limits_timeout = "5s"\n')
    command = host.command(sys.executable, "-m", "proxy", "--config", str(directory / "proxy.toml"))
    with Running(*command, log=directory / "log", RUNTIME_DIRECTORY=str(directory)) as started:
        until(lambda: "Booting worker" in started.output() or started.process.poll() is not None, "a worker")
        until(lambda: answers(host, "http://127.0.0.1:9180/healthz"), "the gateway answers")
        yield started


def answers(host: Host, url: str) -> bool:
    command = host.command(program("curl") or "", "-sf", "--max-time", "5", "-o", "/dev/null", url)
    return subprocess.run(command, timeout=30, check=False).returncode == 0


@pytest.mark.component("machine", "haproxy", "redis", "curl")
@pytest.mark.timeout(240)
def test_a_gateway_dies_under_load_and_all_is_accounted_for(tmp_path: Path) -> None:
    with ExitStack() as stack:
        front, hosts = stack.enter_context(star(2))
        password = moved("/etc/proxy/redis.token", tmp_path / "redis")
        redis = [program("redis-server") or "", "--save", "", "--requirepass", Path(password).read_text().strip()]
        log = tmp_path / "redis.log"
        stack.enter_context(Running(*front.command(*redis), cwd=tmp_path, log=log))
        until(lambda: "Ready to accept" in log.read_text(), "Redis")
        first, second = (stack.enter_context(gateway(tmp_path / f"gateway-{n}", host)) for n, host in enumerate(hosts))
        (tmp_path / "haproxy.cfg").write_text(block("haproxy").text)
        balancer = front.command(program("haproxy") or "", "-db", "-f", str(tmp_path / "haproxy.cfg"))
        stack.enter_context(Running(*balancer, cwd=tmp_path, log=tmp_path / "haproxy.log"))
        until(lambda: answers(front, "http://127.0.0.1:8000/"), "the balancer")

        load = front.command(sys.executable, "-c", LOAD)
        with subprocess.Popen(load, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout is not None
            assert client.stdout.readline() == "under way\n"
            os.killpg(first.process.pid, signal.SIGKILL)
            found = Counter(json.loads(client.stdout.readline()))

        sent = CLIENTS * EACH
        lost = sum(count for what, count in found.items() if what in LOST)
        assert found.total() == found["200"] + found["429"] + lost == sent, found
        assert lost <= CLIENTS, found
        # one token for the request that showed that the balancer was up; a lost request may have taken one
        assert BURST - 1 - lost <= found["200"] <= BURST - 1, found
        assert "is lost" not in second.output()

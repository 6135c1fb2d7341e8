"""Several gateways count what clients send in one Redis, and each alone while that is lost."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from time import monotonic

import httpx
import pytest

from tests.proxy.authority import Authority
from tests.proxy.gateway import Gateway, serve
from tests.proxy.redis_server import RedisServer
from tests.waiting import until

pytestmark = pytest.mark.component("redis")

PASSWORD = "a long password, of 42 characters or so..."
# Machines that run tests may be busy for longer than a request would wait otherwise.
SHARED = """
shared_limits = "{redis.url}"
shared_limits_password_file = "{redis.directory}/password"
shared_limits_timeout = "1s"
"""
ALONE = """
h2c = true
[[route]]
path = "/burst"
respond = "passed"
rate = "1/h"
burst = 50
[[route]]
path = "/quota"
respond = "passed"
rate = "1/h"
burst = 2
[[route]]
path = "/refill"
respond = "passed"
rate = "50/s"
burst = 5
[[route]]
path = "/alone"
respond = "passed"
rate = "1/h"
burst = 30
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    directory = tmp_path_factory.mktemp("redis")
    (directory / "password").write_text(f"{PASSWORD}\n")
    redis = RedisServer(directory, "--requirepass", PASSWORD, password=PASSWORD)
    yield redis
    redis.kill()


@pytest.fixture
def redis(server: RedisServer) -> RedisServer:
    """One that runs and has seen no client yet."""
    if server.process is None:
        server.start()
    with server.client() as client:
        client.flushall()
    return server


def started(directory: Path, toml: str, workers: int = 1) -> Gateway:
    directory.mkdir()
    (directory / "proxy.toml").write_text(toml)
    return serve(directory, "", "--config", str(directory / "proxy.toml"), admin=True, workers=workers)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, server: RedisServer) -> Iterator[list[Gateway]]:
    """Two gateways; the second has two workers."""
    if server.process is None:
        server.start()
    directory = tmp_path_factory.mktemp("gateways")
    toml = SHARED.format(redis=server) + ALONE
    gateways = [started(directory / "one", toml), started(directory / "two", toml, workers=2)]
    yield gateways
    for gateway in gateways:
        gateway.close()
    for gateway in gateways:
        assert "Traceback" not in gateway.log
        assert PASSWORD not in gateway.log


@pytest.fixture
def gateways(redis: RedisServer, pair: list[Gateway]) -> list[Gateway]:
    for gateway in pair:
        until(lambda gateway=gateway: state(gateway) == "linked", "the gateways find Redis")
    return pair


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that counts alone, unless its file is changed."""
    gateway = started(tmp_path_factory.mktemp("single") / "gateway", ALONE)
    yield gateway
    gateway.close()
    assert "Traceback" not in gateway.log


def statuses(gateway: Gateway, path: str, count: int, *, http2: bool = False) -> list[int]:
    with httpx.Client(http1=not http2, http2=http2, timeout=20) as client:
        return [client.get(gateway.url + path).status_code for _ in range(count)]


def state(gateway: Gateway) -> str:
    return str(gateway.status()["shared_limits"]["state"])


def alone(gateways: list[Gateway]) -> list[float]:
    return [gateway.metric("limited_alone_total") for gateway in gateways]


def test_a_burst_is_exact_over_two_gateways(redis: RedisServer, gateways: list[Gateway]) -> None:
    before = alone(gateways)
    with ThreadPoolExecutor(4) as threads:
        asked = [
            threads.submit(statuses, gateway, "/burst", 30, http2=http2)
            for gateway in gateways
            for http2 in (False, True)
        ]
        found = [status for one in asked for status in one.result()]
    assert alone(gateways) == before
    assert sorted(found) == [200] * 50 + [429] * 70
    with redis.client() as client:
        (key,) = client.keys("*rate*")
        assert b"127" not in key
        assert 49 * 3600 < client.ttl(key) <= 50 * 3600


def test_quotas_and_refusals_are_told_as_without_redis(gateways: list[Gateway], single: Gateway) -> None:
    for gateway in (gateways[0], single):
        answers = [httpx.get(f"{gateway.url}/quota") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert [answer.headers["RateLimit"] for answer in answers[:2]] == ['"/quota";r=1;t=3600', '"/quota";r=0;t=3600']
        wait = int(answers[2].headers["Retry-After"])
        assert 3500 < wait <= 3600
        assert answers[2].headers["RateLimit"] == f'"/quota";r=0;t={wait}'


def test_a_bucket_refills_at_its_rate(redis: RedisServer, gateways: list[Gateway]) -> None:
    before = alone(gateways)
    passed = 0
    with httpx.Client() as client:
        begun = monotonic()
        for gateway, _ in zip(cycle(gateways), range(60), strict=False):
            passed += client.get(f"{gateway.url}/refill").status_code == 200
        most = 5 + 50 * (monotonic() - begun)
    assert alone(gateways) == before
    assert 5 <= passed <= most
    # a full bucket is as good as none
    with redis.client() as client:
        until(lambda: not client.keys("*rate*"), "Redis forgets the client")


def test_each_gateway_counts_alone_while_redis_is_lost(redis: RedisServer, gateways: list[Gateway]) -> None:
    gateway = gateways[1]
    assert statuses(gateway, "/alone", 10) == [200] * 10
    before = alone(gateways)[1]
    lost, back = gateway.log.count("is lost"), gateway.log.count("answers again")
    redis.kill()
    assert sorted(statuses(gateway, "/alone", 40)) == [200] * 30 + [429] * 10
    assert alone(gateways)[1] - before == 40
    assert gateway.metric("shared_limits_up") == 0
    until(lambda: "refused" in gateway.status()["shared_limits"]["fault"], "the reason in the status")
    assert gateway.status()["shared_limits"]["state"] == "lost"
    assert gateway.status()["shared_limits"]["lost_since"] > 0
    redis.start()
    until(lambda: state(gateway) == "linked", "the gateway finds Redis again")
    assert gateway.metric("shared_limits_up") == 1
    until(lambda: not gateway.status()["shared_limits"]["fault"], "no reason any more")
    assert gateway.status()["shared_limits"]["lost_since"] == 0
    assert sorted(statuses(gateway, "/alone", 40)) == [200] * 30 + [429] * 10
    assert gateway.log.count("is lost") - lost == gateway.log.count("answers again") - back == 1


def test_a_slow_redis_delays_few_requests_and_those_briefly(redis: RedisServer, gateways: list[Gateway]) -> None:
    gateway = gateways[0]
    assert statuses(gateway, "/burst", 1) == [200]
    before = alone(gateways)[0]
    redis.suspend()
    try:
        with httpx.Client() as client:
            took = [client.get(f"{gateway.url}/burst").elapsed.total_seconds() for _ in range(20)]
        gateway.wait_for("is lost (no answer")
        assert sum(seconds >= 1.0 for seconds in took) <= 3
        assert alone(gateways)[0] - before == 20
    finally:
        redis.resume()


def test_a_restarted_redis_is_used_at_once(redis: RedisServer, gateways: list[Gateway]) -> None:
    before = alone(gateways)[0]
    assert statuses(gateways[0], "/burst", 5) == [200] * 5
    redis.kill()
    redis.start()
    assert sorted(statuses(gateways[0], "/burst", 55)) == [200] * 50 + [429] * 5
    assert alone(gateways)[0] == before


def reload(gateway: Gateway, shared: str, wanted: str) -> None:
    (gateway.directory / "proxy.toml").write_text(shared + ALONE)
    gateway.signal(signal.SIGHUP)
    until(lambda: state(gateway) == wanted, f"sharing is {wanted}")


def test_a_reload_begins_corrects_and_ends_sharing(redis: RedisServer, single: Gateway, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("not the one")
    shared = SHARED.format(redis=redis)
    reload(single, shared.replace(f"{redis.directory}/password", f"{tmp_path}/wrong"), "lost")
    single.wait_for("is lost (invalid username-password pair")
    assert "not the one" not in single.log
    assert statuses(single, "/alone", 31) == [200] * 30 + [429]
    reload(single, shared, "linked")
    assert statuses(single, "/alone", 31) == [200] * 30 + [429]
    reload(single, "", "off")
    assert statuses(single, "/alone", 1) == [429]


def test_over_tls_only_the_right_authority_is_believed(single: Gateway, authority: Authority, tmp_path: Path) -> None:
    chain, key = authority.issue("127.0.0.1")
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    files = ("--tls-cert-file", str(chain), "--tls-key-file", str(key), "--tls-ca-cert-file", str(authority.file))
    secure = RedisServer(tmp_path, *files, "--tls-auth-clients", "no", tls=True)
    secure.start()
    try:
        for file, wanted in ((other.file, "lost"), (authority.file, "linked")):
            shared = f'shared_limits = "{secure.url}"\nshared_limits_ca = "{file}"\nshared_limits_timeout = "5s"\n'
            reload(single, shared, wanted)
            assert statuses(single, "/burst", 51) == [200] * 50 + [429]
        assert "CERTIFICATE_VERIFY_FAILED" in single.log
    finally:
        secure.kill()

"""Two applications and two gateways on one PostgreSQL and one Redis, as on two machines: what one is asked the other
shows, and whatever dies, nothing is lost and `/ready` tells the truth."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
import requests

from tests.aragora.storage.databases import PostgreSQL, postgresql, postgresql_template
from tests.aragora.storage.redis_server import RedisServer
from tests.conftest import program
from tests.deployment.processes import CHECKOUT, gateway, get, ports
from tests.deployment.test_kill_drills import Application, Watcher, asked, stored, whole
from tests.waiting import until

__all__ = ["postgresql", "postgresql_template"]

DEBATES = 3


class Machines:
    """Two of them, and what they share."""

    def __init__(self, url: str, redis: RedisServer, applications: list[Application], fronts: list[int]) -> None:
        self.url = url
        self.redis = redis
        self.applications = applications
        self.fronts = fronts

    def checks(self, machine: int) -> tuple[int, dict[str, bool]]:
        """What `/ready` says behind that gateway."""
        answer = get(self.fronts[machine], "/ready")
        return answer.status_code, {name: check["ok"] for name, check in answer.json()["checks"].items()}

    def all_say(self, status: int, **wanted: bool) -> bool:
        """Whether both machines say that, and nothing else is wrong with them."""
        for machine in range(2):
            try:
                found = self.checks(machine)
            except (requests.RequestException, KeyError, ValueError):
                return False
            if found[0] != status or any(found[1][name] is not ok for name, ok in wanted.items()):
                return False
        return True

    def runners(self) -> dict[str, int]:
        """The process that advances each unfinished debate."""
        with psycopg.connect(self.url) as connection:
            rows = connection.execute("SELECT id, lease_owner FROM debates WHERE lease_owner IS NOT NULL").fetchall()
        return {debate_id: int(owner.split(":")[1]) for debate_id, owner in rows}

    def claims(self, debate_id: str) -> int:
        """How often a runner has claimed that debate."""
        with psycopg.connect(self.url) as connection:
            found = connection.execute("SELECT lease_token FROM debates WHERE id = %s", [debate_id]).fetchone()
        assert found is not None
        return int(found[0])

    @contextmanager
    def watched(self) -> Iterator[list[str]]:
        """New debates, asked on the first machine and watched on both; afterwards everybody has seen all of each."""
        ids = [asked(self.fronts[0]) for _ in range(DEBATES)]
        watchers = [Watcher(front, debate_id) for debate_id in ids for front in self.fronts]
        with ThreadPoolExecutor(len(watchers)) as threads:
            following = [threads.submit(watcher.follow) for watcher in watchers]
            until(lambda: all(watcher.seen for watcher in watchers), "the beginning of every debate on both machines")
            yield ids
            for one in following:
                one.result()
        for debate_id in ids:
            log = stored(self.fronts[1], debate_id)
            whole([watcher for watcher in watchers if watcher.debate_id == debate_id], log)


@pytest.fixture
def machines(tmp_path: Path, postgresql: PostgreSQL, postgresql_template: str) -> Iterator[Machines]:
    url = postgresql.new_database(postgresql_template)
    redis = RedisServer(tmp_path)
    with ExitStack() as stack:
        stack.callback(redis.kill)
        redis.start()
        applications, fronts = [], []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            environ = {"DATABASE_URL": url, "ARAGORA_REDIS_URL": redis.url, "ARAGORA_DATABASE_POOL": "3"}
            applications.append(stack.enter_context(Application(tmp_path / name, **environ)))
            _process, front = stack.enter_context(gateway(tmp_path / name, applications[-1].http))
            fronts.append(front)
        yield Machines(url, redis, applications, fronts)
        assert [lines for application in applications for lines in application.tracebacks()] == []


@pytest.mark.component("postgresql", "redis")
@pytest.mark.timeout(240)
def test_nothing_is_lost_whatever_dies(machines: Machines, postgresql: PostgreSQL) -> None:
    assert machines.all_say(200, store=True, migrations=True, redis=True)

    with machines.watched() as ids:
        running = until(lambda: {name: pid for name, pid in machines.runners().items() if name in ids}, "a runner")
        victim = next(iter(running.values()))
        os.kill(victim, signal.SIGKILL)
        # those it had still not finished when it died
        orphans = [debate_id for debate_id, pid in machines.runners().items() if pid == victim]
    assert all(machines.claims(debate_id) > 1 for debate_id in orphans)

    with machines.watched():
        postgresql.stop()
        try:
            until(lambda: machines.all_say(503, store=False), "503 while PostgreSQL is away")
            for front in machines.fronts:
                assert get(front, "/healthz").status_code == 200
                refused = get(front, "/api/debates")
                assert refused.status_code == 503
                assert int(refused.headers["Retry-After"]) >= 1
        finally:
            postgresql.start()
        until(lambda: machines.all_say(200, store=True), "200 when PostgreSQL is back")

    with machines.watched():
        machines.redis.kill()
        until(lambda: machines.all_say(503, store=True, redis=False), "503 while Redis is away")
    machines.redis.start()
    until(lambda: machines.all_say(200, redis=True), "200 when Redis is back")


POOLER = """
listen_addr =
unix_socket_dir = {directory}
listen_port = {port}
auth_type = any
default_pool_size = {size}
[databases]
* = host={host} user=postgres
"""


def snippet(kind: str) -> str:
    """The code of that kind on the page about scaling."""
    found = re.search(rf"^```{kind}\n(.*?)^```", (CHECKOUT / "docs/deployment/SCALING.md").read_text(), re.M | re.S)
    assert found
    return found[1]


@pytest.mark.component("postgresql", "pgbouncer")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_through_pgbouncer(mode: str, tmp_path: Path, postgresql: PostgreSQL, postgresql_template: str) -> None:
    """Two connections of the server are enough for two workers of four each, in transaction mode."""
    name = postgresql.new_database(postgresql_template).partition("@/")[2].partition("?")[0]
    (port,) = ports(1)
    directory = postgresql.directory / f"pooler-{mode}"
    directory.mkdir()
    directory.chmod(0o777)
    file = directory / "pgbouncer.ini"
    size = {"session": 20, "transaction": 2}[mode]
    ours = snippet("ini").replace("pool_mode = transaction", f"pool_mode = {mode}")
    file.write_text(ours + POOLER.format(host=postgresql.directory, directory=directory, port=port, size=size))
    with psycopg.connect(postgresql.url(name)) as connection:
        connection.execute("CREATE ROLE aragora")
        connection.execute(snippet("sql"))
        connection.rollback()
    user = ["--user", postgresql.user] if os.getuid() == 0 else []
    with (directory / "log").open("wb") as log:
        pooler = subprocess.Popen([program("pgbouncer") or "", *user, str(file)], stdout=log, stderr=log)
    try:
        until((directory / f".s.PGSQL.{port}").exists, "PgBouncer's socket")
        url = f"postgresql://postgres@/{name}?host={directory}&port={port}"
        environ = {"DATABASE_URL": url, "ARAGORA_DATABASE_POOL": "4", "ARAGORA_DATABASE_TIMEOUT": "20"}
        if mode == "transaction":
            environ["ARAGORA_DATABASE_PREPARE"] = "0"
        with Application(tmp_path, **environ) as application:
            ids = [asked(application.http) for _ in range(6)]
            watchers = [Watcher(application.http, debate_id) for debate_id in ids]
            with ThreadPoolExecutor(len(watchers)) as threads:
                list(threads.map(Watcher.follow, watchers))
            for watcher in watchers:
                whole([watcher], stored(application.http, watcher.debate_id))
            assert application.tracebacks() == []
    finally:
        pooler.kill()
        pooler.wait()

"""Under gevent: waiting for PostgreSQL lets other greenlets run, and SQLite's pieces are short."""

import json
import subprocess
import sys
import textwrap
from typing import Any

import pytest

PRELUDE = """
from gevent import monkey
monkey.patch_all()
import json, time
import gevent
import sqlalchemy as sa
from aragora.settings import load
from aragora.storage import Store
store = Store.open(load())
"""


def run(environ: dict[str, str], code: str) -> dict[str, Any]:
    """What the code prints as JSON, run with the standard library patched as gunicorn's worker does."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(code)],
        env=environ | {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.alone
@pytest.mark.component("postgresql")
@pytest.mark.parametrize("environ", ["postgresql"], indirect=True)
def test_a_slow_statement_lets_other_greenlets_run(environ: dict[str, str]) -> None:
    found = run(
        environ,
        """
        ticks = []

        def tick():
            while True:
                ticks.append(time.monotonic())
                gevent.sleep(0.01)  # the gaps between these show whether others may run

        def sleep():
            with store.database.reading() as connection:
                connection.execute(sa.text("SELECT pg_sleep(1)"))  # the slow statement

        ticker = gevent.spawn(tick)
        began = time.monotonic()
        gevent.joinall([gevent.spawn(sleep) for _ in range(5)], raise_error=True)
        took = time.monotonic() - began
        print(json.dumps({"took": took, "ticks": len(ticks), "gap": max(b - a for a, b in zip(ticks, ticks[1:]))}))
        """,
    )
    assert 1.0 <= found["took"] < 4.0  # the five slept at the same time
    assert found["ticks"] > 10
    assert found["gap"] < 0.9


@pytest.mark.component("postgresql")
@pytest.mark.parametrize("environ", ["postgresql"], indirect=True)
def test_waiting_for_a_connection_lets_other_greenlets_run(environ: dict[str, str]) -> None:
    found = run(
        environ | {"ARAGORA_DATABASE_POOL": "1"},
        """
        import gevent.event
        released, served = gevent.event.Event(), []

        def serve(number):
            with store.database.reading() as connection:
                served.append(connection.execute(sa.select(number)).scalar())
                released.wait()

        waiting = [gevent.spawn(serve, number) for number in range(3)]
        gevent.sleep(0.1)  # would not return if one of them waited for the connection without letting others run
        first = list(served)
        released.set()
        gevent.joinall(waiting, raise_error=True)
        print(json.dumps({"first": first, "served": served}))
        """,
    )
    assert len(found["first"]) <= 1, "one at a time through the only connection"
    assert sorted(found["served"]) == [0, 1, 2]


@pytest.mark.alone
def test_greenlets_that_write_at_once_all_get_through(environ: dict[str, str]) -> None:
    found = run(
        environ,
        """
        from tests.aragora.storage.debates import message, spec
        record = store.create(spec())
        gaps, last = [], time.monotonic()

        def tick():
            global last
            while True:
                gevent.sleep(0.001)  # the gaps between these show whether others may run
                gaps.append(time.monotonic() - last)
                last = time.monotonic()

        gevent.spawn(tick)

        def write(number):
            store.append(record.id, None, [message(str(number))], lease=None, at=time.time())

        gevent.joinall([gevent.spawn(write, number) for number in range(200)], raise_error=True)
        print(json.dumps({"last": store.get(record.id).last_seq, "gap": max(gaps)}))
        """,
    )
    assert found["last"] == 200
    assert found["gap"] < 0.5


@pytest.mark.parametrize("environ", ["sqlite"], indirect=True)
def test_waiting_for_a_writer_lets_greenlets_run(environ: dict[str, str]) -> None:
    found = run(
        environ,
        """
        import sqlite3, threading
        from tests.aragora.storage.debates import message, spec
        record = store.create(spec())
        other = sqlite3.connect(store.database.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        writer = gevent.spawn(lambda: store.append(record.id, 0, [message("x")], lease=None, at=1.0))
        gevent.sleep(0.3)  # would not return if the writer waited inside SQLite
        free = time.monotonic() - began
        other.execute("ROLLBACK")
        writer.get()
        print(json.dumps({"free": free, "last": store.get(record.id).last_seq}))
        """,
    )
    assert found["free"] < 2
    assert found["last"] == 1

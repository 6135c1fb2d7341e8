"""A gateway whose worker only says who it is: the supervisor's tests run it as `python -m tests.proxy.process.tiny`.

A connection carries one line and gets one line or more: `who` is answered at once with a JSON object, `wait` with
"waiting" and, when another line came, with "done"; `/...` asks the admin pages. `die` kills the worker's own process.
"""

import json
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
from functools import partial
from typing import Any

from gunicorn.workers.base import Worker as BaseWorker

from proxy.admin.admin import Admin
from proxy.admin.response import AdminRequest
from proxy.cli import main
from proxy.observe.numbers import Gauge
from proxy.process import supervisor
from proxy.process.shared import Seat, Shared


class Worker(BaseWorker):  # type: ignore[misc]
    """Serves each connection in a thread; a drain waits for all of them."""

    shared: Shared
    seat: Seat

    def init_signals(self) -> None:
        super().init_signals()
        self.reload_wanted = False
        signal.signal(signal.SIGHUP, self.handle_hup)

    def handle_hup(self, _sig: int, _frame: object) -> None:
        """Leaves a note: the next signal may come while this one is handled."""
        self.reload_wanted = True

    def reload(self) -> None:
        self.reload_wanted = False
        self.settings = self.shared.config.get() or self.settings
        self.adopt()
        self.log.info("worker runs with retry_wait %g", self.settings.retry_wait)

    def adopt(self) -> None:
        self.counters.gauge(Gauge.OVERRIDES, self.shared.overrides.get().version)

    def run(self) -> None:
        self.settings = self.shared.settings
        self.counters = self.shared.board.counters(self.seat.slot)
        shared = self.shared
        self.admin = Admin(
            shared.board, shared.reports, shared.overrides, shared.version, lambda: self.settings, probe=lambda *_: ""
        )
        self.adopt()
        threads: list[threading.Thread] = []
        for listener in self.sockets:
            listener.setblocking(False)
        while self.alive and self.ppid == os.getppid():
            self.notify()
            if self.reload_wanted:
                self.reload()
            readable, _, _ = select.select(self.sockets, [], [], 0.05)
            for listener in readable:
                try:
                    connection, _ = listener.accept()
                except BlockingIOError:
                    continue
                self.counters.accepted()
                thread = threading.Thread(
                    target=self.serve, args=(connection, shared.listeners.is_admin(listener)), daemon=True
                )
                thread.start()
                threads.append(thread)
        for listener in self.sockets:
            listener.close()
        end = time.monotonic() + self.settings.graceful
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))

    def serve(self, connection: socket.socket, is_admin: bool) -> None:
        with connection, connection.makefile("rw") as lines:
            try:
                self.answer(lines, lines.readline().strip(), is_admin)
            except OSError:  # the test's side is gone
                pass

    def answer(self, lines: Any, line: str, is_admin: bool) -> None:
        if line.startswith("/"):
            page = self.admin.respond(AdminRequest(b"GET", line.encode()))
            print(page.body.decode() if is_admin else "not here", file=lines, flush=True)
        elif line == "wait":
            print("waiting", file=lines, flush=True)
            lines.readline()
            print("done", file=lines, flush=True)
        elif line == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            facts = {
                "pid": os.getpid(),
                "master": os.getppid(),
                "retry_wait": self.settings.retry_wait,
                "admin": is_admin,
                "slot": self.seat.slot,
                "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
                "user": os.getuid(),
                "users": os.getresuid(),
                "main_groups": os.getresgid(),
                "groups": os.getgroups(),
            }
            self.counters.route("tiny")[""].exchange(b"GET", 200, 0.001, len(line), 0)
            print(json.dumps(facts), file=lines, flush=True)


class Unbootable(Worker):
    """Cannot start."""

    def init_process(self) -> None:
        raise RuntimeError("this worker cannot start")


class Fleeting(Worker):
    """Starts, and dies at once."""

    def run(self) -> None:
        raise RuntimeError("this worker dies")


if __name__ == "__main__":
    worker = os.environ.get("TINY_WORKER", "tests.proxy.process.tiny:Worker")
    sys.exit(main(serve=partial(supervisor.run, worker=worker)))

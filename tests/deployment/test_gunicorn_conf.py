"""conf/gunicorn.conf.py: its values by environment, and what they do under the real gunicorn."""

import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from proxy.settings import Settings
from tests.deployment.processes import CHECKOUT, GUNICORN, application, get
from tests.waiting import until

CONF = str(CHECKOUT / "conf" / "gunicorn.conf.py")
ADMITTED = {"ARAGORA_ENV": "production", "ARAGORA_API_TOKEN": "not-a-secret-of-anyone"}


@pytest.fixture
def conf(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Reads the file under exactly the given variables; this process keeps its own modules."""

    def read(**environ: str) -> dict[str, Any]:
        for name in [name for name in os.environ if name.startswith("ARAGORA_")]:
            monkeypatch.delenv(name)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        kept = dict(sys.modules)
        try:
            return runpy.run_path(CONF)
        finally:
            sys.modules.update(kept)

    return read


def test_workers_follow_the_workload(conf: Any) -> None:
    cores = conf()["cores"]()
    assert conf(ARAGORA_WORKLOAD="cpu")["workers"] == cores
    assert conf(ARAGORA_WORKLOAD="io")["workers"] == 2 * cores + 1
    assert conf(ARAGORA_WORKLOAD="mixed")["workers"] == 2 * cores
    assert conf(ARAGORA_WORKLOAD="7")["workers"] == 7


def test_timeouts_follow_the_environment(conf: Any) -> None:
    development, production = conf(), conf(**ADMITTED)
    assert (development["timeout"], development["graceful_timeout"]) == (120, 10)
    assert (production["timeout"], production["graceful_timeout"]) == (300, 30)
    assert conf(ARAGORA_TIMEOUT="45", **ADMITTED)["timeout"] == 45


def test_the_rest_stands_as_documented(conf: Any) -> None:
    values = conf()
    assert values["bind"] == ["127.0.0.1:8080", "127.0.0.1:8766"]
    assert (values["worker_class"], values["worker_connections"], values["keepalive"]) == ("gevent", 1000, 5)
    assert (values["max_requests"], values["max_requests_jitter"]) == (0, 50)
    assert values["limit_request_line"] == Settings().max_request_line
    assert (values["proc_name"], values["preload_app"], values["pidfile"]) == ("aragora", False, None)


def test_one_address_may_serve_for_both(conf: Any) -> None:
    both = {"ARAGORA_BIND": "127.0.0.1:9000", "ARAGORA_WS_BIND": "127.0.0.1:9000"}
    assert conf(**both)["bind"] == ["127.0.0.1:9000"]


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"ARAGORA_TIMEOUT": "soon"}, "ARAGORA_TIMEOUT"),
        ({"ARAGORA_WORKLOAD": "lots"}, "ARAGORA_WORKLOAD"),
        ({"ARAGORA_ENV": "production"}, "ARAGORA_API_TOKEN"),
    ],
)
def test_a_value_that_does_not_fit_stops_the_start_with_one_line(environ: dict[str, str], said: str) -> None:
    refused = subprocess.run(
        [GUNICORN, "-c", CONF],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert refused.returncode == 1
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_both_addresses_serve_the_same_application(tmp_path: Path) -> None:
    with application(tmp_path) as (running, http, ws):
        assert get(http, "/ready").status_code == get(ws, "/ready").status_code == 200
        running.signal(signal.SIGTERM)
        assert running.ended() == 0
        assert not running.left_behind()


def test_the_documented_start_command_works_as_it_stands(tmp_path: Path) -> None:
    command = "aragora.server.wsgi:application --config conf/gunicorn.conf.py --workers 4 --timeout 300"
    with application(tmp_path, *command.split()) as (running, http, ws):
        assert get(ws, "/ready").status_code == 200
        until(lambda: len(re.findall("Booting worker", running.output())) == 4, "the start of four workers")
        assert get(http, "/ready").status_code == 200


MARKED = """
from aragora import settings as _settings
from gevent import monkey as _monkey
import os as _os, socket as _socket
_inner = application


def application(environ, start_response):
    if environ["PATH_INFO"] != "/which":
        return _inner(environ, start_response)
    start_response("200 OK", [("Content-Type", "text/plain")])
    patched = _monkey.is_module_patched("socket") and _socket.socket.__module__.startswith("gevent")
    return [f"{MARK} {_settings.MARK} {patched} {_os.getpid()}".encode()]
"""


def copied(directory: Path) -> Path:
    """A checkout of its own, whose code a test may change."""
    checkout = directory / "checkout"
    for name in ("aragora", "conf"):
        shutil.copytree(CHECKOUT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    return checkout


def mark(checkout: Path, word: str) -> None:
    """Put a word into the application's module and into the settings', which the configuration file reads too."""
    for name, code in [("aragora/server/wsgi.py", MARKED), ("aragora/settings/__init__.py", "")]:
        original = (CHECKOUT / name).read_text()
        (checkout / name).write_text(f"{original}\nMARK = {word!r}\n{code}")


@pytest.mark.parametrize(("preload", "after"), [("0", "new"), ("1", "old")])
def test_hup_loads_new_code_unless_the_master_has_preloaded_it(tmp_path: Path, preload: str, after: str) -> None:
    checkout = copied(tmp_path)
    mark(checkout, "old")
    # bytecode is trusted by time and size; two edits in one second of the same length would be taken for one
    environ = {"ARAGORA_PRELOAD": preload, "PYTHONDONTWRITEBYTECODE": "1"}
    with application(tmp_path, cwd=checkout, **environ) as (running, http, _ws):
        first = get(http, "/which").text.split()
        assert first[:3] == ["old", "old", "True"]
        mark(checkout, "new")
        running.signal(signal.SIGHUP)
        until(lambda: running.output().count("Worker exiting") == 2, "the end of the old workers")
        for _ in range(4):
            answer = get(http, "/which").text.split()
            assert answer[:3] == [after, after, "True"]
            assert answer[3] != first[3]
        running.signal(signal.SIGTERM)
        assert running.ended() == 0
        assert "Traceback" not in running.output()
        assert not running.left_behind()


def test_a_reload_lets_no_request_wait_for_the_new_workers(tmp_path: Path) -> None:
    checkout = copied(tmp_path)
    mark(checkout, "old")
    gate = tmp_path / "gate"
    with application(tmp_path, cwd=checkout, PYTHONDONTWRITEBYTECODE="1") as (running, http, _ws):
        mark(checkout, "new")
        code = checkout / "aragora" / "server" / "process.py"
        # the worker's own start is slow; it asks for a file, which no event announces
        wait = f"while not pathlib.Path({str(gate)!r}).exists():\n        time.sleep(0.05)\n"
        slow = f"import pathlib\n_start = start\ndef start():\n    {wait}    _start()\n"
        code.write_text(code.read_text() + slow)
        running.signal(signal.SIGHUP)
        until(lambda: running.output().count("Booting worker") == 4, "the start of the new workers")
        # Longer than an old worker takes to notice that it was told to go; each request has a connection of its own.
        served = time.monotonic() + 2.5
        while time.monotonic() < served:
            assert get(http, "/which", patience=1).text.startswith("old")
        gate.touch()
        until(lambda: running.output().count("Worker exiting") == 2, "the end of the old workers")
        assert get(http, "/which").text.startswith("new")


BROKEN = {
    "code": ("aragora/server/wsgi.py", "\nthis is no Python\n"),
    "code that ends": ("aragora/server/process.py", "\nraise SystemExit(0)\n"),
    "settings' code": ("aragora/settings/table.py", "\nraise RuntimeError('broken')\n"),
    "configuration": ("conf/gunicorn.conf.py", "\nworkers = 'many'\n"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_reload_of_what_cannot_be_loaded_changes_nothing(tmp_path: Path, what: str) -> None:
    checkout = copied(tmp_path)
    mark(checkout, "old")
    with application(tmp_path, cwd=checkout, PYTHONDONTWRITEBYTECODE="1") as (running, http, _ws):
        first = get(http, "/which").text.split()
        file, mistake = BROKEN[what]
        working = (checkout / file).read_text()
        (checkout / file).write_text(working + mistake)
        running.signal(signal.SIGHUP)
        until(lambda: "everything goes on as it was" in running.output(), "a refusal")
        assert get(http, "/which").text.split()[0] == first[0]
        assert "Worker exiting" not in running.output()
        (checkout / file).write_text(working)
        mark(checkout, "new")
        running.signal(signal.SIGHUP)
        until(lambda: running.output().count("Worker exiting") == 2, "the end of the old workers")
        assert get(http, "/which").text.startswith("new")


def test_a_reload_without_the_token_s_file_changes_nothing(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-of-the-tests\n")
    with application(tmp_path, ARAGORA_API_TOKEN_FILE=str(token)) as (running, http, _ws):
        token.unlink()
        running.signal(signal.SIGHUP)
        until(lambda: "everything goes on as it was" in running.output(), "a refusal")
        assert "ARAGORA_API_TOKEN_FILE" in running.output()
        assert get(http, "/ready").status_code == 200


def test_a_worker_finds_its_libraries_loaded(tmp_path: Path) -> None:
    checkout = copied(tmp_path)
    code = checkout / "aragora" / "server" / "__init__.py"
    code.write_text("import sys\nLOADED = {'sqlalchemy', 'pydantic', 'falcon'} <= set(sys.modules)\n")
    mark(checkout, "old")
    asked = "from aragora import server as _server\nMARK = f'{_server.LOADED}'\n"
    wsgi = checkout / "aragora" / "server" / "wsgi.py"
    wsgi.write_text(wsgi.read_text() + asked)
    with application(tmp_path, cwd=checkout) as (_running, http, _ws):
        assert get(http, "/which").text.split()[0] == "True"


def test_a_worker_that_holds_too_much_is_replaced(tmp_path: Path) -> None:
    checkout = copied(tmp_path)
    hooks = checkout / "aragora" / "server" / "succession.py"
    hasty = hooks.read_text().replace("LEAST_LIFE_SECONDS = 3600.0", "LEAST_LIFE_SECONDS = 0.0")
    hooks.write_text(hasty.replace("MEMORY_CHECK_SECONDS = 10.0", "MEMORY_CHECK_SECONDS = 0.2"))
    with application(tmp_path, cwd=checkout, ARAGORA_MAX_MEMORY="1") as (running, http, _ws):
        until(lambda: running.output().count("Booting worker") > 2, "the replacement of a worker")
        assert "over ARAGORA_MAX_MEMORY" in running.output()
        assert get(http, "/healthz").status_code == 200


@pytest.mark.parametrize("preload", ["0", "1"])
def test_a_killed_worker_is_replaced(tmp_path: Path, preload: str) -> None:
    with application(tmp_path, ARAGORA_PRELOAD=preload) as (running, http, _ws):
        until(lambda: running.output().count("Booting worker") == 2, "the start of both workers")
        victim = int(re.findall(r"Booting worker with pid: (\d+)", running.output())[0])
        os.kill(victim, signal.SIGKILL)
        until(lambda: running.output().count("Booting worker") == 3, "a replacement")
        assert get(http, "/ready").status_code == 200


def test_usr2_brings_a_successor_on_the_same_sockets(tmp_path: Path) -> None:
    pidfile = tmp_path / "master.pid"
    with application(tmp_path, ARAGORA_PIDFILE=str(pidfile), ARAGORA_PRELOAD="1") as (running, http, _ws):
        running.signal(signal.SIGUSR2)
        successor = Path(f"{pidfile}.2")
        until(lambda: successor.exists() and successor.read_text().strip(), "the successor's pid file")
        pid = int(successor.read_text())
        until(lambda: running.output().count("Booting worker") == 4, "the successor's workers")
        running.signal(signal.SIGTERM)
        assert running.ended() == 0
        until(lambda: pidfile.exists() and int(pidfile.read_text()) == pid, "the successor's promotion")
        assert get(http, "/ready").status_code == 200
        os.kill(pid, signal.SIGTERM)
        until(lambda: not running.left_behind(), "the successor's end")


def test_worker_recycling_loses_no_request(tmp_path: Path) -> None:
    with application(tmp_path, ARAGORA_MAX_REQUESTS="20", ARAGORA_MAX_REQUESTS_JITTER="5") as (running, http, _ws):

        def replaced() -> bool:
            # One worker alone may answer hundreds until it looks, once a second, whether it has had enough.
            assert get(http, "/healthz").status_code == 200
            return running.output().count("Booting worker") > 3

        until(replaced, "the replacement of both workers")
        until(lambda: get(http, "/ready").ok, "readiness of the new ones")


def test_no_control_socket_is_left_in_the_home_directory(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with application(tmp_path, HOME=str(home), XDG_RUNTIME_DIR=str(home)) as (running, http, _ws):
        assert get(http, "/ready").status_code == 200
        running.signal(signal.SIGTERM)
        assert running.ended() == 0
    assert not list(home.iterdir())

"""The worst day, rehearsed: copies by the timer's own command, the database lost, the drill, the restored service."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.aragora.storage.databases import PostgreSQL, postgresql, postgresql_template
from tests.conftest import program
from tests.deployment.processes import CHECKOUT, application, get
from tests.waiting import until

__all__ = ["postgresql", "postgresql_template"]

UNITS = CHECKOUT / "conf" / "systemd"
PAGE = CHECKOUT / "docs" / "deployment" / "DISASTER_RECOVERY.md"
BACKUPS = "/var/lib/aragora/backups"
QUESTION = {"question": "Should we adopt event sourcing?", "agents": ["demo", "demo"], "rounds": 1}
CLEAN = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


def timed_command(directory: Path) -> list[str]:
    """What aragora-backup.service runs, with this interpreter and that directory."""
    found = re.search(r"^ExecStart=(.*)$", (UNITS / "aragora-backup.service").read_text(), re.MULTILINE)
    assert found
    interpreter, *words = found[1].split()
    assert interpreter == "/opt/aragora/current/bin/python"
    assert words[:4] == ["-m", "aragora", "backup", BACKUPS]
    return [sys.executable, *words[:3], str(directory), *words[4:]]


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=CHECKOUT, env=CLEAN | environ, capture_output=True, text=True, timeout=90)


def copied(directory: Path, **environ: str) -> Path:
    done = run(*timed_command(directory), **environ)
    assert done.returncode == 0, done.stderr
    return max(directory.iterdir())


def written(beginning: str, changes: dict[str, str], **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command of the page that begins so, with its examples replaced."""
    (line,) = re.findall(rf"^ *({re.escape(beginning)}.*)$", PAGE.read_text(), re.MULTILINE)
    for old, new in changes.items():
        assert old in line
        line = line.replace(old, new)
    path = f"{Path(sys.executable).parent}:{CLEAN['PATH']}"
    return run("bash", "-c", line, **environ | {"PATH": path})


def drilled(directory: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    done = run("scripts/drill_recovery", str(directory), "--json", *words)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def asked(port: int) -> str:
    answer = get(port, "/api/debates?wait=25", method="POST", json=QUESTION)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def log(port: int, debate_id: str) -> list[dict[str, Any]]:
    answer = get(port, f"/api/debates/{debate_id}/events?limit=500")
    return list(answer.json()["events"]) if answer.ok else []


@pytest.mark.timeout(240)
def test_a_lost_database_comes_back_as_the_last_copy_shows_it(tmp_path: Path) -> None:
    directory = tmp_path / "directory"
    directory.mkdir()
    data = tmp_path / "data"
    own = {"ARAGORA_DATA_DIR": str(data), "ARAGORA_DEMO_DELAY": "0"}
    with application(tmp_path, **own) as (running, port, _ws):
        first = asked(port)
        copied(directory, **own)
        second = asked(port)
        begun = time.time()
        until(lambda: time.time() >= int(begun) + 1, "the next second, and with it another name")
        copied(directory, **own)
        logs = {debate_id: log(port, debate_id) for debate_id in (first, second)}
        noted = until(lambda: told(port, "aragora_backup_last_success_timestamp_seconds ", begun), "the new age")
        assert noted <= time.time()
        lost = asked(port)
        running.signal(signal.SIGKILL)
        running.ended()
        until(lambda: not running.left_behind(), "the end of the orphans")
    shutil.rmtree(data)

    code, found, errors = drilled(directory)
    assert code == 0, errors
    assert found["kept"] is True
    assert (found["debates"], found["events"]) == (2, sum(map(len, logs.values())))
    assert 0 <= found["point_seconds"] < 90
    assert 0 < found["restore_seconds"] < found["recovery_seconds"] < 90
    assert not data.exists(), "the drill stays beside the service"

    newest = max(directory.iterdir())
    verified = written("aragora backup verify /var/lib/aragora/backups/*", {BACKUPS: str(directory)}, **own)
    assert verified.returncode == 0, verified.stderr
    assert len(verified.stdout.splitlines()) == 2
    # which would have an installation's settings
    example = {f"{BACKUPS}/aragora-20260131-120000.db": str(newest), "aragora-service": "aragora"}
    restored = written("aragora-service restore", example, **own)
    assert restored.returncode == 0, restored.stderr
    with application(tmp_path, **own) as (_running, port, _ws):
        assert {debate_id: log(port, debate_id) for debate_id in logs} == logs
        assert get(port, f"/api/debates/{lost}").status_code == 404
        refused = written("aragora-service restore", example, **own)
        assert refused.returncode == 1
        assert "in use" in refused.stderr


def told(port: int, name: str, least: float) -> float:
    """The value of that metric once it is large enough."""
    lines = [line for line in get(port, "/metrics").text.splitlines() if line.startswith(name)]
    value = float(lines[0].rpartition(" ")[2]) if lines else 0.0
    return value if value >= least else 0.0


@pytest.mark.timeout(240)
def test_drill_fails_when_late_or_without_a_sound_copy(tmp_path: Path) -> None:
    directory = tmp_path / "directory"
    directory.mkdir()
    assert drilled(directory)[0] == 1
    own = {"ARAGORA_DATA_DIR": str(tmp_path / "data")}
    assert run(sys.executable, "-m", "aragora", "migrate", **own).returncode == 0
    copy = copied(directory, **own)
    code, found, _ = drilled(directory, "--rto", "0.01")
    assert (code, found["kept"]) == (1, False)

    old = directory / f"aragora-{datetime.fromtimestamp(time.time() - 901, UTC):%Y%m%d-%H%M%S}.db"
    copy.rename(old)
    code, found, _ = drilled(directory)
    assert (code, found["kept"]) == (1, False)
    assert found["point_seconds"] > 900

    old.write_bytes(old.read_bytes()[:-4096])
    code, found, errors = drilled(directory)
    assert (code, found) == (1, {})
    assert "damaged" in errors or "not a database" in errors


@pytest.mark.component("postgresql", "age")
@pytest.mark.timeout(240)
def test_encrypted_postgresql_copy_restores_in_a_drill(
    tmp_path: Path, postgresql: PostgreSQL, postgresql_template: str
) -> None:
    directory = tmp_path / "directory"
    directory.mkdir()
    key = tmp_path / "key"
    subprocess.run(["age-keygen", "-o", str(key)], check=True, capture_output=True, timeout=30)
    public = re.search(r"# public key: (\S+)", key.read_text())
    assert public
    own = {
        "ARAGORA_DATA_DIR": str(tmp_path / "data"),
        "DATABASE_URL": postgresql.new_database(postgresql_template),
        "ARAGORA_BACKUP_RECIPIENT": public[1],
    }
    with application(tmp_path, **own, ARAGORA_DEMO_DELAY="0") as (_running, port, _ws):
        asked(port)
        copy = copied(directory, **own)
    assert copy.name.endswith(".dump.age")
    into = ("--into", postgresql.new_database())
    assert drilled(directory, *into)[0] == 1  # without the key
    done = written(
        f"scripts/drill_recovery {BACKUPS} --identity",
        {BACKUPS: str(directory), "--identity key": f"--identity {key}", "postgresql:///drill": f"'{into[1]}'"},
    )
    assert done.returncode == 0, done.stderr
    assert "1 debates" in done.stdout
    assert done.stdout.endswith("kept\n")


@pytest.mark.component("systemd")
def test_the_timer_is_accepted(tmp_path: Path) -> None:
    """By systemd's own tool; an interpreter that is there stands for the installed one."""
    for unit in UNITS.glob("aragora-backup.*"):
        text = unit.read_text().replace("/opt/aragora/current/bin/python", sys.executable)
        (tmp_path / unit.name).write_text(text)
    checked = run(program("systemd-analyze") or "", "verify", *map(str, sorted(tmp_path.iterdir())))
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "OnCalendar=*:0/10\n" in (UNITS / "aragora-backup.timer").read_text()

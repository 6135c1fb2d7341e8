"""The command line as a user runs it: real processes, a real server, plain output and exit codes."""

import json
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from aragora.cli import main
from aragora.commands import doctor
from tests.ports import ports
from tests.unwritten import OUTPUTS, check_unwritten
from tests.waiting import until

QUESTION = "Should we adopt event sourcing?"
DEADLINE = 60.0


def aragora(environ: dict[str, str], *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "aragora", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        cwd=environ["ARAGORA_DATA_DIR"],
    )
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    directory = tmp_path_factory.mktemp("data")
    return {
        "ARAGORA_DATA_DIR": str(directory),
        "ARAGORA_DEMO_DELAY": "0.2",
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HOME": str(directory),
    }


@pytest.fixture
def production(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """An environment that keeps the rules of production."""
    return environ | {
        "ARAGORA_ENV": "production",
        "ARAGORA_API_TOKEN": "a-token-that-is-long-enough",
        "ARAGORA_DATA_DIR": str(tmp_path),
        "ARAGORA_BIND": "127.0.0.1:0",
        "ARAGORA_WS_BIND": "127.0.0.1:0",
        "ARAGORA_WORKER_CONNECTIONS": "10",
    }


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def server(environ: dict[str, str]) -> Iterator[dict[str, str]]:
    """A development server; the environment of its users."""
    process = subprocess.Popen(
        [sys.executable, "-m", "aragora", "serve", "--no-reload", "--bind", "127.0.0.1:0"],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://\S+", line)
    assert found, line
    until(lambda: answers(found[0] + "/healthz"), "the server answers")
    yield environ | {"ARAGORA_URL": found[0]}
    process.terminate()
    process.wait(DEADLINE)
    process.stdout.close()


def test_ask_shows_the_debate_and_its_result(server: dict[str, str]) -> None:
    out = aragora(server, "ask", QUESTION, "--agents", "demo,demo", "--rounds", "1").stdout

    assert out.startswith(QUESTION)
    assert re.search(r"^adhoc_[0-9a-f]{26}: demo-1, demo-2; 1 rounds$", out, re.MULTILINE)
    for words in ("Round 1", "demo-1 (proposer)", "demo-2 on demo-1, severity", "votes for", "alike", "completed: "):
        assert words in out
    assert "\x1b" not in out


def test_ask_and_watch_as_json_are_the_events_without_a_gap(server: dict[str, str]) -> None:
    lines = aragora(server, "ask", QUESTION, "--agents", "demo,demo", "--rounds", "1", "--json").stdout.splitlines()
    *events, last = (json.loads(line) for line in lines)

    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "debate_end"
    assert (last["type"], last["status"]) == ("debate", "completed")

    again = aragora(server, "watch", last["id"], "--json").stdout.splitlines()
    assert [json.loads(line) for line in again[:-1]] == events
    rest = aragora(server, "watch", last["id"], "--since", str(len(events) - 2), "--json").stdout.splitlines()
    assert [json.loads(line)["seq"] for line in rest[:-1]] == [len(events) - 1, len(events)]


def test_list_export_and_cancel(server: dict[str, str], tmp_path: Path) -> None:
    never = ("--no-early-stop", "--rounds", "10", "--agents", ",".join(["demo"] * 10))
    debate_id = aragora(server, "ask", "Is this one to be cancelled?", *never, "--detach").stdout.strip()
    assert "cancelled" in aragora(server, "cancel", debate_id).stdout
    assert "409" in aragora(server, "cancel", debate_id, code=1).stderr
    assert "cancelled" in aragora(server, "watch", debate_id, code=3).stdout

    assert debate_id in aragora(server, "list", "--search", "to be CANCELLED", "--status", "cancelled").stdout
    page = json.loads(aragora(server, "list", "--json", "--limit", "1").stdout)
    assert page["count"] == 1

    target = tmp_path / "debate.html"
    aragora(server, "export", debate_id, "--format", "html", "-o", str(target))
    assert target.read_text().startswith("<!doctype html>")
    assert aragora(server, "export", debate_id, "--format", "csv").stdout.startswith("seq,type,")
    assert "cannot write" in aragora(server, "export", debate_id, "-o", "/nonexistent/x", code=1).stderr


def test_what_the_server_refuses_is_said_in_one_line(server: dict[str, str]) -> None:
    for arguments, words in (
        (("ask", "why?"), "400 validation_error: question: at least 5 characters"),
        (("ask", QUESTION, "--agents", "demo,nobody"), "no agent 'nobody'"),
        (("watch", "adhoc_unknown"), "404 not_found"),
        (("export", "../../etc/passwd"), "404"),
    ):
        error = aragora(server, *arguments, code=1).stderr
        assert words in error
        assert len(error.splitlines()) == 1


def test_no_server_is_said_with_the_mend(environ: dict[str, str]) -> None:
    (port,) = ports(1)
    error = aragora(environ, "list", "--url", f"http://127.0.0.1:{port}", code=1).stderr
    assert f"no server answers at http://127.0.0.1:{port}" in error
    assert "scripts/up" in error


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("frobnicate",),
        ("ask",),
        ("ask", QUESTION, "--rounds", "many"),
        ("ask", QUESTION, "--bogus"),
        ("list", "--status", "asleep"),
        ("list", "--url", "ftp://host"),
        ("export", "id", "--format", "pdf"),
        ("ask", QUESTION, "--context", "@/nonexistent"),
        ("watch", "id", "--since", "-1"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_2(environ: dict[str, str], arguments: tuple[str, ...]) -> None:
    done = aragora(environ, *arguments, code=2)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_a_wrong_setting_is_one_line_and_exit_2(environ: dict[str, str]) -> None:
    error = aragora(environ | {"ARAGORA_TIMEOUT": "soon"}, "list", code=2).stderr
    assert error == "aragora: ARAGORA_TIMEOUT: 'soon' does not fit: write a whole number from 1 to 86400\n"
    error = aragora(environ | {"ARAGORA_ENV": "production"}, "serve", code=2).stderr
    assert "needs ARAGORA_API_TOKEN" in error


def test_help_names_every_command_and_the_exit_codes(environ: dict[str, str]) -> None:
    out = aragora(environ, "--help").stdout
    for word in (
        "ask",
        "watch",
        "list",
        "export",
        "cancel",
        "evaluate",
        "serve",
        "doctor",
        "migrate",
        "backup",
        "restore",
        "exit codes",
    ):
        assert word in out


def test_migrate_backup_and_restore(environ: dict[str, str], tmp_path: Path) -> None:
    mine = environ | {"ARAGORA_DATA_DIR": str(tmp_path)}
    assert "revision" in aragora(mine, "migrate").stdout
    assert json.loads(aragora(mine, "migrate", "--json").stdout)["migrated"] is False
    copy = tmp_path / "copy.db"
    assert "0 debates with 0 events copied" in aragora(mine, "backup", str(copy)).stdout
    assert "--force" in aragora(mine, "backup", str(copy), code=1).stderr
    assert "--force" in aragora(mine, "restore", str(copy), code=1).stderr
    assert json.loads(aragora(mine, "restore", str(copy), "--force", "--json").stdout)["debates"] == 0


def test_doctor_says_what_is_wrong_and_what_to_do(environ: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        mine = environ | {
            "ARAGORA_DATA_DIR": str(tmp_path),
            "ARAGORA_BIND": f"127.0.0.1:{port}",
            "ARAGORA_WS_BIND": "127.0.0.1:0",
            "ARAGORA_TIMEOUTS": "1",
        }
        found = json.loads(aragora(mine, "doctor", "--json", code=1).stdout)
        words = aragora(mine, "doctor", code=1).stdout
    states = {(finding["name"], finding["state"]) for finding in found}
    assert {("port", "failure"), ("port", "ok"), ("settings", "warning"), ("token", "warning")} <= states
    assert all(finding["mend"] or finding["state"] == "ok" for finding in found if finding["name"] != "agents")
    assert "ARAGORA_TIMEOUT?" in words

    strict = aragora(environ | {"ARAGORA_DATA_DIR": str(tmp_path)}, "doctor", "--production", code=1).stdout
    assert "set ARAGORA_ENV=production" in strict
    assert "set ARAGORA_API_TOKEN" in strict


def test_doctor_knows_the_running_server(server: dict[str, str]) -> None:
    mine = server | {"ARAGORA_BIND": server["ARAGORA_URL"].removeprefix("http://"), "ARAGORA_WS_BIND": "127.0.0.1:0"}
    out = aragora(mine, "doctor").stdout
    assert "is served by aragora" in out
    assert "sound, journal mode wal" in out


def test_doctor_demands_the_rules_of_production(production: dict[str, str], tmp_path: Path) -> None:
    def findings(**changed: str) -> dict[tuple[str, str], str]:
        found = doctor.examine(production | changed, production=True)
        return {(finding.name, finding.state): finding.detail for finding in found}

    found = findings()
    assert [name for name, state in found if state == "failure"] == []
    assert found["audit log", "ok"] == "standard output"
    assert found["backup", "warning"] == "none was made here"
    assert "127.0.0.1" in found["gateway", "ok"]
    aragora(production, "migrate")
    aragora(production, "backup", str(tmp_path / "copy.db"))
    assert str(tmp_path / "copy.db") in findings()["backup", "ok"]

    bad = {
        ("port", "failure"): {"ARAGORA_BIND": "8.8.8.8:8080"},
        ("port", "warning"): {"ARAGORA_BIND": "0.0.0.0:0"},
        ("tls", "failure"): {"ARAGORA_URL": "http://aragora.example"},
        ("environment", "failure"): {"ARAGORA_ENV": "development"},
    }
    for expected, changed in bad.items():
        assert expected in findings(**changed), changed
    for believed in ("*", "0.0.0.0/0", "127.0.0.1, ::/0", "203.0.113.0/24"):
        assert ("gateway", "failure") in findings(ARAGORA_FORWARDED_ALLOW_IPS=believed), believed
    assert ("gateway", "ok") in findings(ARAGORA_FORWARDED_ALLOW_IPS="203.0.113.5,10.0.0.0/8,fc00::/7")
    for place in (tmp_path, tmp_path / "none" / "audit.log"):
        assert ("audit log", "failure") in findings(ARAGORA_AUDIT_LOG=str(place))
    assert findings(ARAGORA_AUDIT_LOG="")["audit log", "ok"] == "standard output"  # cannot be turned off


@pytest.mark.component("machine")
def test_doctor_knows_that_this_machine_is_on_the_internet(environ: dict[str, str], tmp_path: Path) -> None:
    setup = "ip link set lo up; ip address add 8.8.4.4/32 dev lo; ip route add default dev lo src 8.8.4.4"
    code = f"{setup}; exec {sys.executable} -m aragora doctor --production"
    mine = environ | {"ARAGORA_DATA_DIR": str(tmp_path), "ARAGORA_BIND": "0.0.0.0:8080"}
    done = subprocess.run(["unshare", "--net", "sh", "-c", code], env=mine, capture_output=True, text=True, timeout=60)
    assert "ARAGORA_BIND=0.0.0.0:8080 is open to the internet at 8.8.4.4" in done.stdout, done.stderr


def test_doctor_has_the_gateway_examine_its_file(production: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"

    def findings(text: str, code: int) -> str:
        file.write_text(text)
        return aragora(production, "doctor", "--production", "--gateway", str(file), code=code).stdout

    good = 'upstream = "127.0.0.1:8080"\n'
    bad = findings(good + 'bind = "0.0.0.0:8000"\naccess_log = "off"\n', code=1)
    for rule in ("rate: not set", "without TLS", "access_log is off"):
        assert rule in bad
    assert "upstream" in findings('upstream = "x"\n', code=1)
    assert "rate limits and access log are set" in findings(good + 'rate = "20/s"\n', code=0)


def test_doctor_finds_the_development_server_in_production(environ: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        code = "from aragora.server import dev; import sys; dev.adopt(int(sys.argv[1]))"
        mine = environ | {
            "ARAGORA_DATA_DIR": str(tmp_path),
            "ARAGORA_BIND": f"127.0.0.1:{listener.getsockname()[1]}",
            "ARAGORA_WS_BIND": "127.0.0.1:0",
        }
        command = [sys.executable, "-c", code, str(listener.fileno())]
        with subprocess.Popen(command, env=mine, pass_fds=[listener.fileno()], stderr=subprocess.DEVNULL) as process:
            try:
                # answered once it serves
                urllib.request.urlopen(f"http://{mine['ARAGORA_BIND']}/healthz", timeout=DEADLINE).close()
                out = aragora(mine, "doctor", "--production", code=1).stdout
            finally:
                process.kill()
    assert "is served by the development server" in out


def test_doctor_names_a_database_that_is_away(environ: dict[str, str]) -> None:
    away = environ | {"DATABASE_URL": "postgresql://u:sesame@127.0.0.1:1/x", "ARAGORA_WS_BIND": "127.0.0.1:0"}
    done = aragora(away, "doctor", code=1)
    assert "failure  database: " in done.stdout
    assert "sesame" not in done.stdout + done.stderr


def test_backup_of_a_database_that_is_away_is_a_failure(environ: dict[str, str], tmp_path: Path) -> None:
    away = environ | {"DATABASE_URL": "postgresql://u:sesame@127.0.0.1:1/x"}
    error = aragora(away, "backup", str(tmp_path / "copy"), code=1).stderr
    assert "sesame" not in error
    assert not (tmp_path / "copy").exists()


def test_an_estimate_is_printed_and_nothing_begun(server: dict[str, str]) -> None:
    before = json.loads(aragora(server, "list", "--json").stdout)["count"]
    told = aragora(server, "ask", QUESTION, "--agents", "demo,demo", "--rounds", "1", "--estimate").stdout
    assert re.fullmatch(r"at most \d+ questions, which cost nothing\n", told)
    given = ("--agents", "demo,demo", "--budget", "0.5", "--budget-tokens", "9", "--budget-questions", "8")
    found = json.loads(aragora(server, "ask", QUESTION, *given, "--estimate", "--json").stdout)
    assert found["budget"] == {"money": 0.5, "tokens": 9, "questions": 8}
    assert json.loads(aragora(server, "list", "--json").stdout)["count"] == before


def test_councils_are_kept_and_taken_over(server: dict[str, str], tmp_path: Path) -> None:
    council = {"agents": ["demo", {"type": "demo", "name": "Ann", "role": "skeptic"}], "rounds": 1}
    (tmp_path / "council.json").write_text(json.dumps(council))
    assert "red is kept" in aragora(server, "presets", "save", "red", str(tmp_path / "council.json")).stdout
    assert aragora(server, "presets", "list").stdout.split() == ["red", "demo,", "Ann"]
    assert json.loads(aragora(server, "presets", "show", "red").stdout) == {"description": ""} | council
    asked = json.loads(aragora(server, "ask", QUESTION, "--preset", "red", "--detach", "--json").stdout)
    found = json.loads(aragora(server, "list", "--json", "--limit", "1").stdout)["debates"][0]
    assert (found["id"], found["agents"], found["rounds"]) == (asked["debate_id"], ["demo-1", "Ann"], 1)
    assert found["participants"][1]["role"] == "skeptic"
    assert "forgotten" in aragora(server, "presets", "remove", "red").stdout
    (tmp_path / "broken.json").write_text("{")
    assert "is not JSON" in aragora(server, "presets", "save", "x", str(tmp_path / "broken.json"), code=2).stderr


def test_files_become_context(server: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "plan.md").write_text("# Plan")
    (tmp_path / "page.html").write_text("<p>Four people.")
    given = ("--agents", "demo,demo", "--context", "Ours.", "--detach", "--json")
    files = ("--source", str(tmp_path / "plan.md"), "--source", str(tmp_path / "page.html"))
    aragora(server, "ask", QUESTION, *given, *files)
    found = json.loads(aragora(server, "list", "--json", "--limit", "1").stdout)["debates"][0]
    assert found["context"] == "Ours.\n\nSource: plan.md\n\n# Plan\n\nSource: page.html\n\nFour people."
    told = aragora(server, "ask", QUESTION, "--source", "http://127.0.0.1:8001/", code=1).stderr
    assert "it leads to an address that is not public" in told
    assert "cannot read" in aragora(server, "ask", QUESTION, "--source", str(tmp_path / "none"), code=2).stderr


def test_a_share_link_is_printed_and_withdrawn(server: dict[str, str]) -> None:
    asked = aragora(server, "ask", QUESTION, "--agents", "demo,demo", "--rounds", "1", "--detach").stdout.strip()
    address = aragora(server, "share", asked).stdout.strip()
    with urllib.request.urlopen(address, timeout=DEADLINE) as page:
        assert QUESTION in page.read().decode()
    assert aragora(server, "share", asked, "--json").stdout == json.dumps({"share": address}) + "\n"
    assert "any more" in aragora(server, "share", asked, "--revoke").stdout
    with pytest.raises(urllib.error.HTTPError, match="404") as gone:
        urllib.request.urlopen(address, timeout=DEADLINE)
    gone.value.close()


def test_usage_is_printed_by_agent_and_by_day(server: dict[str, str]) -> None:
    asked = aragora(server, "ask", QUESTION, "--agents", "demo,demo", "--rounds", "1", "--detach").stdout.strip()
    columns = ["agent", "answers", "input", "output", "cached", "thought", "cost"]
    assert aragora(server, "usage", asked).stdout.split() == columns
    assert json.loads(aragora(server, "usage", "--json").stdout) == {"days": [], "count": 0}
    assert "days" in aragora(server, "usage", "--days", "0", code=1).stderr


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["unknown"]], ids=" ".join)
@pytest.mark.parametrize("output", OUTPUTS)
def test_output_that_cannot_be_written_ends_in_no_traceback(arguments: list[str], output: str) -> None:
    check_unwritten("aragora", arguments, output)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("token", "aragora: token: no such command; did you mean aragora tokens?; see aragora --help"),
        ("x", "aragora: x: no such command; see aragora --help"),
    ],
)
def test_an_unknown_command_is_named(word: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([word])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"{told}\n"

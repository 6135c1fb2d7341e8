"""The command line: one line for each mistake and exit code 2; check says what would run."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import bcrypt
import pytest

from proxy.cli import help_text, main
from proxy.form import form
from proxy.process import gateway
from proxy.settings import Settings, table
from tests.ports import ports
from tests.proxy.gateway import ROOT
from tests.unwritten import OUTPUTS, check_unwritten


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--upstrem", "a:1"], "--upstrem: unknown flag; did you mean --upstream?"),
        (["--zzz=1"], "--zzz: unknown flag; aragora-proxy --help lists all settings"),
        (["--upstream"], "--upstream: missing value; add one"),
        (["--retry-wait"], "--retry-wait: missing value; add one"),
        (
            ["--upstream", "a"],
            "--upstream a: expected HOST:PORT or unix:PATH, with a port from 1 to 65535, such as 127.0.0.1:8000",
        ),
        (["--upstream", "a:1", "--workers=0"], "--workers 0: expected a whole number from 1 to 128"),
        (["a:1"], "a:1: unexpected argument; settings are flags, such as --upstream a:1"),
        (["stauts"], "stauts: unexpected argument; did you mean aragora-proxy status?"),
        (["--config", "/nowhere.toml"], "/nowhere.toml: cannot be read: No such file or directory"),
        (["--config", ""], "--config : expected the path of a file or directory"),
        (["check"], "check: file name missing, such as: aragora-proxy check /etc/proxy.toml"),
        (["check", "a", "b"], "check: only one file allowed"),
    ],
)
def test_a_wrong_command_line_gets_one_line_and_exit_2(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr() == ("", f"aragora-proxy: {line}\n")


def test_check_shows_what_would_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "proxy.toml"
    path.write_text('upstream = ["127.0.0.1:8080", "unix:/run/app.sock"]\nretry_wait = "2s"\n')
    assert main(["check", str(path), "--max-body", "1g"]) == 0
    out = capsys.readouterr().out
    assert f"{path}: good" in out
    assert "  upstream = 127.0.0.1:8080, unix:/run/app.sock\n" in out
    assert "  retry_wait = 2s\n" in out
    assert "  max_body = 1g\n" in out
    assert "(default)" not in out
    assert main(["check", "--config", str(path), "--all"]) == 0
    out = capsys.readouterr().out
    assert "  retry_wait = 2s\n" in out
    assert "  linger_timeout = 5s  (default)\n" in out
    assert f"  config = {path}\n" in out


def test_check_says_first_what_matters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "proxy.toml"
    with socket.create_server(("127.0.0.1", 0)) as application:
        upstream = f"127.0.0.1:{application.getsockname()[1]}"
        path.write_text(f'upstream = "{upstream}"\n')
        assert main(["check", str(path)]) == 0
        assert capsys.readouterr().out.splitlines() == [
            f"{path}: good",
            "This would run, with defaults for everything else (--all shows them):",
            f"  upstream = {upstream}",
        ]
    path.write_text('redirect = "https://a.example"\nbind = "0.0.0.0:80"\ngraceful = 10\n')
    assert main(["check", str(path)]) == 0
    words = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert words == [f"{path}:", "risk:", "risk:", "note:", "This", "bind", "graceful", "redirect"]


def test_check_names_upstreams_that_are_not_there_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "proxy.toml"
    (port,) = ports(1)
    peers = [f"127.0.0.1:{port}", "no-such-host.invalid:80", f"unix:{tmp_path}/app.sock"]
    path.write_text(f"[[route]]\nupstream = {peers}\n")
    assert main(["check", str(path)]) == 0
    now = [line for line in capsys.readouterr().out.splitlines() if line.startswith("now: ")]
    assert now[0] == f"now: upstream 127.0.0.1:{port}: nothing listens there"
    assert now[1].startswith("now: upstream no-such-host.invalid:80: ")
    assert now[2] == f"now: upstream unix:{tmp_path}/app.sock: no such socket"


def test_check_shows_certificates_and_their_days(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "proxy.toml"
    path.write_text('redirect = "/"\ntls = "self-signed"\n')
    assert main(["check", str(path)]) == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("certificate: ")]
    assert len(shown) == 1
    assert re.fullmatch(
        r"certificate: localhost, 127\.0\.0\.1, ::1 \(made by the gateway\): until \d{4}-\d\d-\d\d, \d+ days left",
        shown[0],
    )


def test_check_notes_users_that_are_not_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "proxy.toml"
    path.write_text(
        'upstream = "a:1"\nset_request_fields = { X-C = \'{"a": 1}\', X-D = "{user}", X-E = "{client}" }\n'
        'set_response_fields = { X-Path = "{path}", X-User = "{user}", NEL = "{}" }\n'
    )
    assert main(["check", str(path)]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert len(said) == 2
    assert "set_request_fields: X-D has {user}: no user is known here" in said[0]
    assert "set_response_fields: X-User has {user}: no user is known here" in said[1]
    path.write_text(f'root = "{tmp_path}"\nfallback = "/index.html"\n')
    assert main(["check", str(path)]) == 0
    assert "note: fallback /index.html: there is no such file below" in capsys.readouterr().out
    (tmp_path / "users").write_bytes(b"ann:" + bcrypt.hashpw(b"x", bcrypt.gensalt(4)))
    path.write_text(
        f'upstream = "a:1"\n[[route]]\nupstream = "a:1"\npath = "/a"\nbasic_auth = "{tmp_path}/users"\n'
        'set_request_fields = { X-Webauth-User = "{user}" }\n'
        '[[route]]\nupstream = "a:1"\npath = "/b"\nforward_auth = "http://a/"\n'
        'forward_auth_fields = "X-Forwarded-User"\nset_request_fields = { X-Webauth-User = "{user}" }\n'
    )
    assert main(["check", str(path)]) == 0
    assert "note: set_request" not in capsys.readouterr().out


def test_check_shows_what_each_route_does_differently(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "proxy.toml"
    route = 'name = "up"\nexact = "/up"\ngateway_health = true\n'
    path.write_text(f'upstream = "a:1"\nretry_wait = "2s"\n[[route]]\n{route}')
    assert main(["check", str(path)]) == 0
    out = capsys.readouterr().out
    assert "  route up: any host, exactly /up\n    upstream = none\n    gateway_health = on\n" in out


def test_check_names_mistakes_of_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "proxy.toml"
    path.write_text(
        '[[route]]\nname = "x"\nredirect = "/a"\nrespond = "b"\n'
        '[[route]]\nname = "y"\nrespond = "c"\nerror_pages = "/nowhere"\n'
    )
    assert main(["check", str(path)]) == 2
    said = capsys.readouterr().err
    assert f"{path}:1: route x: redirect and respond exclude each other; remove one" in said
    assert "route y: error_pages /nowhere: No such file or directory; expected a directory of pages" in said
    path.write_text('upstream = "a:1"\nadmin = "0.0.0.0:9180"\n')
    assert main(["check", str(path)]) == 2
    said = capsys.readouterr().err
    assert f"{path}:2: admin = 0.0.0.0:9180: reachable from other machines; add admin_token_file" in said
    assert main(["check", str(path), "--admin", "0.0.0.0:1"]) == 2
    assert "aragora-proxy: --admin 0.0.0.0:1: reachable from other machines" in capsys.readouterr().err, (
        "not from the file"
    )


def test_check_notes_what_may_surprise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "proxy.toml"
    (tmp_path / "token").write_text("0123456789abcdef")
    (tmp_path / "token").chmod(0o600)
    path.write_text(
        'upstream = "a:1"\ngraceful = 5\nupstream_keepalive = 1\nadmin = "0.0.0.0:9180"\n'
        f'admin_token_file = "{tmp_path}/token"\nbind = "0.0.0.0:80"\naccess_log = "off"\n'
    )
    assert main(["check", str(path)]) == 0
    said = [line.split()[:2] for line in capsys.readouterr().out.splitlines() if line.startswith(("note: ", "risk: "))]
    assert [word for kind, word in said if kind == "risk:"] == ["bind:", "rate:", "access_log"]
    assert [word for kind, word in said if kind == "note:"] == ["graceful", "upstream_keepalive", "admin"]
    path.write_text('upstream = "a:1"\nread_timeout = 30\nrate = "20/s"\ntrusted_proxies = "127.0.0.1"\n')
    assert main(["check", str(path)]) == 0
    out = capsys.readouterr().out
    assert "note: " not in out
    assert "risk: " not in out
    path.write_text('upstream = "a:1"\nread_timeout = 30\nburst = 5\nhsts = "1d"\n')
    assert main(["check", str(path)]) == 0
    said = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert said == ["hsts:", "burst"]
    path.write_text('upstream = "a:1"\nread_timeout = 30\nrate = "20/s"\nhealth_path = "/up"\n')
    assert main(["check", str(path), "--trusted-proxies", "127.0.0.1"]) == 0
    assert "note: health_path: probes send the peer's address as Host" in capsys.readouterr().out
    path.write_text('health_path = "/up"\n[[route]]\nhost = "a.example"\nupstream = "a:1"\nread_timeout = 30\n')
    assert main(["check", str(path)]) == 0
    assert "note: health_path" not in capsys.readouterr().out


def test_check_notes_who_may_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "proxy.toml"
    (tmp_path / "token").write_text("0123456789abcdef")
    path.write_text(f'upstream = "a:1"\nadmin_token_file = "{tmp_path}/token"\n')
    (tmp_path / "token").chmod(0o644)
    assert main(["check", str(path)]) == 0
    assert "every account on this machine can read it and send commands; chmod 600" in capsys.readouterr().out
    path.write_text('upstream = "a:1"\nadmin_socket = "off"\n')
    assert main(["check", str(path)]) == 0
    assert "note: admin_socket is off and admin_token_file is not set" in capsys.readouterr().out
    path.write_text(f'upstream = "a:1"\nadmin = "unix:{tmp_path}/admin.sock"\nsocket_mode = "666"\n')
    assert main(["check", str(path)]) == 0
    assert "every account may connect (socket_mode), so commands there need the token" in capsys.readouterr().out
    path.write_text('upstream = "a:1"\nadmin_group = "nowhere"\nadmin_socket = "unix:@name"\n')
    assert main(["check", str(path)]) == 2
    assert "abstract sockets have no permissions" in capsys.readouterr().err
    path.write_text('upstream = "a:1"\nadmin_group = "nowhere"\n')
    assert main(["check", str(path)]) == 2
    assert "admin_group = nowhere: no such group on this machine" in capsys.readouterr().err


def test_check_names_every_mistake_on_its_own_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "proxy.toml"
    path.write_text('upstream = "x"\nhould = 1\nretry_wait = "x"\n')
    assert main(["check", str(path)]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 3
    assert all(line.startswith(f"aragora-proxy: {path}:") for line in err)


def test_help_and_version_name_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert main(["--version"]) == 0
    out = capsys.readouterr().out
    assert all((f"  {row.flag} " in out) == row.has_flag for row in table())
    assert out.endswith(f"aragora-proxy {gateway.version()} ({form()})\n")


@pytest.mark.parametrize("columns", [20, 80, 300])
def test_help_fits_the_terminal(columns: int) -> None:
    settings = help_text(columns).partition("addresses:")[2].partition("other:")[0]
    assert all(len(line) <= max(60, min(columns, 120)) for line in settings.splitlines())


def test_flags_are_passed_on_for_reloads() -> None:
    seen: list[tuple[Settings, object]] = []

    def serve(settings: Settings, flags: object) -> int:
        seen.append((settings, flags))
        return 7

    assert main(["--upstream", "127.0.0.1:8080", "--upstream", "unix:/b", "--graceful-timeout", "9"], serve) == 7
    [(settings, flags)] = seen
    assert settings.graceful == 9.0
    assert flags == {"upstream": ["127.0.0.1:8080", "unix:/b"], "graceful": "9"}


def test_a_service_that_is_asked_must_read_the_path_that_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "proxy.toml"
    path.write_text(
        'upstream = "a:1"\ndot_segments = "pass"\n[[route]]\nname = "x"\npath = "/x"\nforward_auth = "http://a/"\n'
    )
    assert main(["check", str(path)]) == 2
    assert (
        f"{path}:3: route x: dot_segments and forward_auth: the service and the application may see"
        in capsys.readouterr().err
    )
    path.write_text('upstream = "a:1"\ndot_segments = "up"\n')
    assert main(["check", str(path)]) == 2
    assert "expected refuse or pass" in capsys.readouterr().err


def test_a_server_loads_no_code_of_commands() -> None:
    """Tables, terminals and the importer double the time and the memory of a start."""
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys; import proxy.cli; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"rich", "proxy.nginx", "proxy.commands.commands", "proxy.commands.import_nginx"} & set(loaded)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["unknown"]], ids=" ".join)
@pytest.mark.parametrize("output", OUTPUTS)
def test_output_that_cannot_be_written_ends_in_no_traceback(arguments: list[str], output: str) -> None:
    check_unwritten("proxy", arguments, output)

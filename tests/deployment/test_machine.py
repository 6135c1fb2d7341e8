"""One machine as scripts/install leaves it, under a real systemd: sockets, sandboxes, reloads, deployments, the end.

The tests of this file follow one another on one machine.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.deployment.machine import Machine, machine
from tests.deployment.processes import Counts, load
from tests.waiting import until

pytestmark = [
    *map(pytest.mark.component, ("machine", "systemd", "logrotate", "nginx", "openssl", "curl")),
    pytest.mark.timeout(300),
]

PYTHON = "/opt/aragora/current/bin/python"
SERVICE = "/usr/local/sbin/aragora-service"
SERVICES = ("aragora@blue.service", "aragora-gateway.service")
SOCKETS = ("aragora-gateway.socket", "aragora-gateway-plain.socket")


@pytest.fixture(scope="module")
def host(released: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with two releases at hand: the checkout's, and one that differs in what /health calls its build."""
    overlay = tmp_path_factory.mktemp("overlay")
    releases = overlay / "opt/aragora/releases"
    # hard links: a file is replaced, never written to
    subprocess.run(["cp", "-al", released / "opt", overlay / "opt"], check=True, timeout=60)
    (first,) = releases.iterdir()
    for name, module, code in (
        ("next", "server/build.py", "{}\n# the next release\n"),
        ("broken", "server/wsgi.py", "raise SystemExit('this release does not start')\n"),
    ):
        subprocess.run(["cp", "-al", first, releases / name], check=True, timeout=60)
        (package,) = (releases / name).glob("lib/python3*/site-packages/aragora")
        before = (package / module).read_text()
        (package / module).unlink()
        (package / module).write_text(code.format(before))
    with machine(overlay) as running:
        shutil.rmtree(overlay)
        yield running


def fetch(host: Machine, address: str, *arguments: str) -> str:
    """What curl gets, over a certificate that nobody knows."""
    curl = ("curl", "--silent", "--show-error", "--insecure", "--fail", "--max-time", "30")
    return host.run(*curl, *arguments, address).stdout


def build(host: Machine) -> str:
    """Which code serves, once any does: health is told at once, also when it is bad."""
    ready = ("curl", "--silent", "--insecure", "--fail", "--output", "/dev/null", "https://127.0.0.1/ready")
    until(lambda: host.run(*ready, check=False).returncode == 0, "readiness")
    return re.findall(r'"build":"(\w+)"', fetch(host, "https://127.0.0.1/health"))[0]


def counted(host: Machine) -> AbstractContextManager[Counts]:
    """Load on the machine's HTTPS port while the block runs."""
    token = host.run("cat", "/etc/aragora/api-token").stdout
    return load("https://127.0.0.1", token, inside=host.command(), python=PYTHON)


def nothing_lost(counts: Counts) -> None:
    print(f"\n{counts.seen}")
    assert counts.lost == []
    assert counts.seen["watched"] >= 3


def test_anybody_may_ask_what_would_be_done(host: Machine) -> None:
    said = host.run("setpriv", "--reuid=nobody", "--clear-groups", "scripts/install", "--dry-run").stdout
    assert "systemctl start aragora-gateway.service" in said


def test_installer_names_a_taken_port_first(host: Machine) -> None:
    with subprocess.Popen(host.command("python3", "-m", "http.server", "80"), stderr=subprocess.DEVNULL) as server:
        until(lambda: ":80 " in host.run("ss", "-lnt").stdout, "a server on port 80")
        refused = host.run("scripts/install", check=False)
        host.run("pkill", "--full", "http.server")
        server.wait(20)
    assert refused.returncode == 1
    assert refused.stderr.startswith("install: port 80 is in use: stop what listens there")
    assert host.run("id", "aragora", check=False).returncode != 0


def test_installer_starts_everything_and_is_idempotent(host: Machine) -> None:
    said = host.run("scripts/install").stdout
    assert "systemctl start aragora-gateway.service" in said
    for unit in (*SERVICES, *SOCKETS, "aragora-backup.timer"):
        assert host.unit(unit, "ActiveState") == "active"
    assert host.run("scripts/install").stdout == "nothing to change\n"
    build(host)  # once it is ready: workers are still starting
    assert fetch(host, "https://127.0.0.1/ready").startswith('{"status":"ready"')
    assert fetch(host, "https://localhost/healthz", "--http2", "--write-out", " %{http_version}").endswith(" 2")


def test_a_backup_is_made_by_its_unit(host: Machine) -> None:
    host.run("systemctl", "start", "aragora-backup.service")
    assert host.run("ls", "/var/lib/aragora/backups").stdout.strip()


def test_commands_look_after_the_service_s_own_database(host: Machine) -> None:
    host.run("sh", "-c", """echo "ARAGORA_AUDIT_LOG='/var/log/aragora/\\$(who) did.log'" >>/etc/aragora/aragora.env""")
    said = host.run(SERVICE, "doctor", "--production").stdout
    host.run("sed", "-i", "$ d", "/etc/aragora/aragora.env")
    assert "audit log: /var/log/aragora/$(who) did.log" in said
    assert "/var/lib/aragora/data/aragora.db answers" in said
    assert "127.0.0.1:8080 is served by aragora" in said
    assert "/etc/aragora/proxy.toml: TLS, rate limits and access log are set" in said
    assert "failure" not in said
    host.run(SERVICE, "list", "--status", "running")
    newest = host.run("sh", "-c", "ls /var/lib/aragora/backups/*.db | tail -n 1").stdout.strip()
    refused = host.run(SERVICE, "restore", newest, check=False)
    assert refused.returncode == 1
    assert "/var/lib/aragora/data/aragora.db exists: stop the server" in refused.stderr


def test_plain_http_is_only_a_redirect(host: Machine) -> None:
    said = fetch(host, "http://127.0.0.1/api/debates", "--write-out", "%{response_code} %{redirect_url}")
    assert said.endswith("308 https://127.0.0.1/api/debates")


def test_prometheus_finds_the_application_on_this_machine_alone(host: Machine) -> None:
    assert "\naragora_workers " in fetch(host, "http://127.0.0.1:8080/metrics")
    outside = host.run("curl", "--silent", "--insecure", "https://127.0.0.1/metrics").stdout
    assert "aragora_workers" not in outside


def test_systemd_finds_nothing_wrong_with_the_units(host: Machine) -> None:
    units = [f"/usr/local/lib/systemd/system/{unit}" for unit in (*SOCKETS, "aragora.socket", "aragora.service")]
    units += [
        "aragora@blue.service",
        "aragora-local.socket",
        "aragora-local.service",
        "aragora-gateway.service",
        "aragora-backup.service",
        "aragora-backup.timer",
    ]
    checked = host.run("systemd-analyze", "verify", "--man=no", *units)
    assert "aragora" not in checked.stderr


def test_the_services_have_no_more_rights_than_they_need(host: Machine) -> None:
    for service in SERVICES:
        process = host.unit(service, "MainPID")
        status = host.run("cat", f"/proc/{process}/status").stdout
        assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
        assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
        uid = host.run("id", "-u", "aragora").stdout.strip()
        assert re.search(rf"^Uid:\s+{uid}\s", status, re.MULTILINE)
        inside = ("nsenter", "--target", process, "--mount", "--")
        assert host.run(*inside, "touch", "/etc/aragora/written", check=False).returncode != 0
        assert host.run(*inside, "ls", "/home", check=False).stdout == ""
    gateway = host.unit("aragora-gateway.service", "MainPID")
    for secret in ("/etc/aragora/api-token", "/var/lib/aragora/data/aragora.db"):
        assert host.run("nsenter", "--target", gateway, "--mount", "cat", secret, check=False).stdout == ""


def test_a_gateway_file_with_a_mistake_fails_the_reload_alone(host: Machine) -> None:
    host.run("sh", "-c", "cp -p /etc/aragora/proxy.toml /tmp/good && echo 'bnd = 1' >>/etc/aragora/proxy.toml")
    assert host.run("systemctl", "reload", "aragora-gateway", check=False).returncode != 0
    assert "bnd" in host.journal()
    assert fetch(host, "https://127.0.0.1/healthz")
    # the tests below ask faster than one client may
    host.run("sh", "-c", "sed '/^rate /d; /^burst /d' /tmp/good >/etc/aragora/proxy.toml")
    host.run("systemctl", "reload", "aragora-gateway")
    until(lambda: "settings reloaded" in host.journal(), "the reload")


def test_logs_are_rotated_and_opened_anew(host: Machine) -> None:
    logs = ("/var/log/aragora/access.log", "/var/log/aragora/gateway.log")
    fetch(host, "https://127.0.0.1/health?before")
    for log in logs:
        until(lambda log=log: "before" in host.run("cat", log).stdout, f"a line in {log}")
    rotated = host.run("logrotate", "--verbose", "--force", "/etc/logrotate.d/aragora")
    assert "error" not in rotated.stderr
    for log in logs:
        until(lambda log=log: "-rw-r-----" in host.run("ls", "-l", log).stdout, "the new file")
    fetch(host, "https://127.0.0.1/health?after")
    for log in logs:
        until(lambda log=log: "after" in host.run("cat", log).stdout, f"a line in the new {log}")
        assert "before" not in host.run("cat", log).stdout
        assert "before" in host.run("cat", f"{log}.1").stdout


def test_the_drill_needs_nothing_but_what_is_installed(host: Machine) -> None:
    bare = "mkdir /tmp/bare && cp -r scripts conf /tmp/bare && cd /tmp/bare"
    drill = f"{bare} && scripts/drill_recovery /var/lib/aragora/backups"
    assert host.run("sh", "-c", drill).stdout.endswith("kept\n")


def test_restarts_and_reloads_lose_no_request(host: Machine) -> None:
    host.run("sh", "-c", "echo ARAGORA_DEMO_DELAY=0.1 >>/etc/aragora/aragora.env")  # quicker debates from here on
    host.run("systemctl", "restart", "aragora@blue")
    with counted(host) as counts:
        host.run("systemctl", "reload", "aragora@blue")
        host.run("systemctl", "restart", "aragora-gateway")
        host.run("systemctl", "reload", "aragora-gateway")
        assert build(host)
    nothing_lost(counts)


def test_a_deployment_loses_nothing(host: Machine) -> None:
    before = build(host)
    with counted(host) as counts:
        said = host.run("scripts/deploy", "--release", "next").stdout
    nothing_lost(counts)
    assert "blue has stopped" in said
    assert build(host) != before


def test_after_a_boot_the_colour_that_served_serves(host: Machine) -> None:
    served = build(host)
    host.run("systemctl", "stop", "aragora@green", "aragora-gateway", *SOCKETS)
    host.run("sh", "-c", "rm -r /run/aragora && systemd-tmpfiles --create aragora.conf")
    wanted = host.run("ls", "/etc/systemd/system/multi-user.target.wants").stdout.split()
    assert "aragora@green.service" in wanted
    assert "aragora@blue.service" not in wanted
    host.run("systemctl", "start", *[unit for unit in wanted if unit.startswith("aragora")])
    assert build(host) == served
    assert host.run("readlink", "/run/aragora/current.sock").stdout == "green.sock\n"
    assert served in fetch(host, "http://127.0.0.1:8080/health")


def test_the_way_back_loses_nothing(host: Machine) -> None:
    before = build(host)
    with counted(host) as counts:
        host.run("scripts/deploy", "--rollback")
    nothing_lost(counts)
    assert build(host) != before
    assert host.unit("aragora@green.service", "ActiveState") == "inactive"
    assert host.run("systemctl", "is-enabled", "aragora@green.service", check=False).stdout == "disabled\n"


def test_release_that_fails_to_start_leaves_the_old_serving(host: Machine) -> None:
    before = build(host)
    failed = host.run("scripts/deploy", "--release", "broken", "--timeout", "8", check=False)
    assert failed.returncode == 1
    assert "deploy: " in failed.stderr
    assert build(host) == before
    assert host.unit("aragora@green.service", "ActiveState") in ("inactive", "failed")
    # and the way back still leads to what ran before
    assert host.run("readlink", "/opt/aragora/green").stdout == "releases/next\n"


def test_behind_nginx_a_restart_loses_nothing(host: Machine) -> None:
    host.run("systemctl", "disable", "--now", "aragora-gateway", "aragora@blue", "aragora-local.socket", *SOCKETS)
    host.run("scripts/install", "--front", "nginx")
    key, made = "/etc/ssl/private/aragora.key", "/etc/ssl/certs/aragora.crt"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=api.aragora.ai"]
    host.run(*request, "-keyout", key, "-out", made)
    # the load asks faster than one client may
    host.run("sed", "-i", "s/rate=20r/rate=9999r/", "/etc/nginx/conf.d/aragora.conf")
    host.run("nginx", "-t")
    host.run("systemctl", "restart", "nginx")
    with counted(host) as counts:
        host.run("systemctl", "restart", "aragora")
        host.run("systemctl", "reload", "aragora")
        until(lambda: "Booting worker" in host.journal(), "new workers")
    nothing_lost(counts)
    host.run("systemctl", "stop", "nginx")
    host.run("rm", "/var/log/nginx/aragora.log", key, made)


def test_uninstalled_nothing_is_left(host: Machine) -> None:
    host.run("scripts/install", "--uninstall")
    assert host.run("ls", "/var/lib/aragora/data/aragora.db").stdout
    host.run("scripts/install", "--uninstall", "--purge")
    places = (
        "/etc/aragora",
        "/etc/nginx",
        "/etc/systemd",
        "/etc/security",
        "/etc/logrotate.d",
        "/opt",
        "/usr/local",
        "/var",
        "/run",
    )
    assert host.run("find", *places, "-name", "*aragora*", check=False).stdout == ""
    assert host.run("id", "aragora", check=False).returncode != 0
    assert not host.run("pgrep", "--full", "/opt/aragora", check=False).stdout

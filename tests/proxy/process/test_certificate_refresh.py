"""Certificates change while the gateway runs: new clients see the new one, and nobody who is there notices."""

import contextlib
import os
import signal
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import websocket
from cryptography import x509

from proxy.cli import main
from proxy.process.certificate_store import CertificateStore, self_signed_file
from proxy.settings import load
from tests.proxy.authority import Authority
from tests.proxy.integration import upstreams
from tests.proxy.integration.scripted import ScriptedUpstream
from tests.proxy.tls_gateway import Browser, connect, serve_tls, shown_serial
from tests.waiting import until

NAME = "renewal.test"
SOCKETS = 100


@pytest.fixture
def origin() -> Iterator[ScriptedUpstream]:
    upstream = ScriptedUpstream()
    yield upstream
    upstream.close()


def test_files_that_change_are_served_and_broken_ones_are_not(
    authority: Authority, origin: ScriptedUpstream, tmp_path: Path
) -> None:
    cert, key = authority.issue(NAME)
    trust = authority.trust()
    with contextlib.closing(
        serve_tls(tmp_path, origin.address, "--tls-cert", str(cert), "--tls-key", str(key))
    ) as gateway:
        kept = Browser(gateway, trust, NAME)
        assert kept.ask("GET", "/")[0] == 200
        first = shown_serial(gateway, trust, NAME)
        authority.issue(NAME)
        until(lambda: shown_serial(gateway, trust, NAME) != first, "the new certificate is shown")
        second = shown_serial(gateway, trust, NAME)
        assert kept.ask("GET", "/")[0] == 200

        good = key.read_bytes()
        key.write_bytes(b"-----BEGIN")
        said = f"certificate {NAME}: {key}: holds no private key"
        until(lambda: said in gateway.log, "the log says so")
        until(lambda: gateway.status()["certificate_faults"], "the status says so")
        (fault,) = gateway.status()["certificate_faults"]
        assert fault["name"] == NAME
        assert str(key) in fault["fault"]
        assert gateway.metric("certificate_faults") == 1
        gateway.signal(signal.SIGHUP)
        until(lambda: "settings reloaded" in gateway.log, "a reload is taken all the same")
        assert shown_serial(gateway, trust, NAME) == second
        key.write_bytes(good)
        until(lambda: gateway.metric("certificate_faults") == 0, "the fault is over")
        assert shown_serial(gateway, trust, NAME) == second
        assert kept.ask("GET", "/")[0] == 200
        kept.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give workers another user")
def test_keys_of_root_serve_workers_that_cannot_read_them(
    authority: Authority, origin: ScriptedUpstream, tmp_path: Path
) -> None:
    cert, key = authority.issue("owned.test")
    assert (key.stat().st_uid, key.stat().st_mode & 0o777) == (0, 0o600)
    trust = authority.trust()
    with contextlib.closing(
        serve_tls(
            tmp_path,
            origin.address,
            "--tls-cert",
            str(cert),
            "--tls-key",
            str(key),
            "--user",
            "nobody",
            "--access-log",
            "off",
        )
    ) as gateway:
        before = shown_serial(gateway, trust, "owned.test")
        authority.issue("owned.test")
        until(lambda: shown_serial(gateway, trust, "owned.test") != before, "the new one is shown")
        status = Path(f"/proc/{gateway.workers()[0]}/status").read_text()
        assert "\nUid:\t0\t" not in status


@pytest.mark.component("uvicorn")
def test_a_renewal_under_load_loses_no_request_and_no_websocket(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.issue("load.test")
    trust = authority.trust()
    with contextlib.ExitStack() as stack:
        behind = stack.enter_context(contextlib.closing(upstreams.application("uvicorn", tmp_path)))
        gateway = stack.enter_context(
            contextlib.closing(
                serve_tls(
                    tmp_path / "gateway",
                    behind.address,
                    "--tls-cert",
                    str(cert),
                    "--tls-key",
                    str(key),
                    workers=2,
                )
            )
        )
        tunnels = [
            websocket.create_connection("wss://load.test/ws", timeout=20, socket=connect(gateway, trust, "load.test"))
            for _ in range(SOCKETS)
        ]
        stop = threading.Event()
        statuses: list[int] = []
        failures: list[Exception] = []

        def ask() -> None:
            try:
                while not stop.is_set():
                    browser = Browser(gateway, trust, "load.test")
                    statuses.extend(browser.ask("GET", "/")[0] for _ in range(5))
                    browser.close()
            except Exception as failure:
                failures.append(failure)

        asking = threading.Thread(target=ask)
        asking.start()
        for by_signal in (False, True):
            authority.issue("load.test")
            new = f"{x509.load_pem_x509_certificate(cert.read_bytes()).serial_number:X}"
            if by_signal:
                gateway.signal(signal.SIGHUP)
            until(lambda new=new: shown_serial(gateway, trust, "load.test").lstrip("0") == new, "the new one is shown")
        asked = len(statuses)
        until(lambda: len(statuses) > asked + 10 or failures, "requests go on")
        stop.set()
        asking.join()
        assert not failures
        assert set(statuses) == {200}
        for number, tunnel in enumerate(tunnels):
            tunnel.send(f"still here {number}")
            assert tunnel.recv() == f"still here {number}"
            tunnel.shutdown()


def test_self_signed_is_kept_and_covers_local_names(origin: ScriptedUpstream, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with contextlib.closing(
        serve_tls(
            tmp_path,
            origin.address,
            "--tls",
            "self-signed",
            "--state-dir",
            str(state),
            "--domain",
            "dev.test",
        )
    ) as gateway:
        file = self_signed_file(state)
        assert file.stat().st_mode & 0o777 == 0o600
        assert state.stat().st_mode & 0o777 == 0o700
        trust = ssl.create_default_context(cafile=str(file))
        for name in ("localhost", "127.0.0.1", "::1", "dev.test"):
            browser = Browser(gateway, trust, name)
            assert browser.ask("GET", "/")[0] == 200
            browser.close()
    before = file.read_bytes()
    flags = {"upstream": ["127.0.0.1:1"], "tls": "self-signed", "state_dir": str(state)}
    CertificateStore().fill(load(flags))
    assert file.read_bytes() == before
    CertificateStore().fill(load({**flags, "domain": ["more.test"]}))
    assert file.read_bytes() != before


def test_check_names_each_file_and_its_mend(
    authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cert, key = authority.issue("check.test")
    other_cert, _ = authority.issue("other-check.test")
    file = tmp_path / "gateway.toml"
    file.write_text(f"""
upstream = "127.0.0.1:8080"
[[certificate]]
cert = "{cert}"
key = "{key}"
[[certificate]]
cert = "{other_cert}"
key = "{key}"
[[certificate]]
cert = "{key}"
key = "{key}"
""")
    assert main(["check", str(file)]) != 0
    out, said = capsys.readouterr()
    assert "good" not in out
    assert f"{key}: is the key of another certificate than {other_cert}" in said
    assert f"{key}: holds no certificate in PEM" in said
    file.write_text(f'upstream = "127.0.0.1:8080"\ntls_cert = "{cert}"\ntls_key = "{key}"\n')
    assert main(["check", str(file)]) == 0
    key.chmod(0o644)
    assert main(["check", str(file)]) != 0
    assert "chmod 600" in capsys.readouterr().err

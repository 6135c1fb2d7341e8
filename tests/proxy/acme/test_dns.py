"""Certificates validated through DNS, among them wildcards; and those for addresses."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("dns.message", reason="dnspython is not installed; pip install 'aragora-gateway[dns]'")

from proxy.acme.account import Authority as Asked
from proxy.acme.account import NotObtained
from proxy.acme.dns import DnsChallenges, Program, Updates
from proxy.acme.order import obtain
from proxy.acme.state import State
from proxy.settings import TsigKey
from tests.proxy.acme.pebble import Pebble, pebble
from tests.proxy.acme.zone import KEY, SECRET, Zone, zone
from tests.proxy.authority import Authority
from tests.proxy.gateway import serve
from tests.proxy.tls_gateway import trusted
from tests.waiting import until

SITE, WILDCARD, ADDRESS = "site.test", "*.site.test", "127.0.0.1"
RECORD = f"_acme-challenge.{SITE}"
HOOK = """#!/bin/sh
if [ "$2" = _acme-challenge.broken.test ]; then echo "the API is down"; exit 3; fi
case $1 in
present) echo "$2 $3" >> {file} ;;
cleanup) grep -vxF "$2 $3" {file} > {file}.new; mv {file}.new {file}; echo "cleanup $2" >> {file}.log ;;
esac
"""
real = pytest.mark.component("pebble")
TSIG = TsigKey("updates", "hmac-sha256", SECRET)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zone]:
    with zone(SITE, tmp_path_factory.mktemp("zone") / "records") as running:
        yield running


@pytest.fixture(scope="module")
def server(names: Zone, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    folder = tmp_path_factory.mktemp("pebble")
    with pebble(authority, folder, name_server=f"127.0.0.1:{names.port}") as running:
        yield running


@pytest.fixture
def hook(names: Zone, tmp_path: Path) -> Program:
    program = tmp_path / "hook"
    program.write_text(HOOK.format(file=names.file))
    program.chmod(0o755)
    return Program(program)


@real
def test_wildcards_and_addresses_by_a_gateway(server: Pebble, names: Zone, tmp_path: Path) -> None:
    key = tmp_path / "tsig.key"
    key.write_text(KEY)
    flags = ["--acme", "a@site.test", *server.flags]
    flags += [word for name in (SITE, WILDCARD, ADDRESS) for word in ("--domain", name)]
    flags += ["--acme-dns-server", f"127.0.0.1:{names.port}", "--acme-dns-key-file", str(key), "--acme-dns-wait", "0"]
    flags += ["--bind", f"127.0.0.1:{server.tls_port}", "--state-dir", str(tmp_path / "state")]
    trust = server.trust()

    with contextlib.closing(serve(tmp_path / "gateway", "127.0.0.1:9", *flags)) as gateway:
        for name in (SITE, f"any.{SITE}", ADDRESS):
            until(lambda name=name: trusted(gateway, trust, name), f"a certificate for {name}", 40)
        assert not trusted(gateway, trust, "two.labels.site.test")
        assert "no certificate for" not in gateway.log
    assert sorted(names.updates) == [f"add {RECORD}"] * 2 + [f"remove {RECORD}"] * 2
    assert names.records == set()
    files = sorted(file.name for file in (tmp_path / "state").glob("acme/*/*.pem"))
    assert files == [f"{ADDRESS}.pem", f"@wildcard.{SITE}.pem", f"{SITE}.pem"]


@real
def test_a_program_sets_the_record_and_removes_it(server: Pebble, names: Zone, hook: Program, tmp_path: Path) -> None:
    state = State(tmp_path, server.directory)
    state.make()
    asked = Asked(server.directory, server.ca, "a@site.test", "test")
    obtain(asked, state, WILDCARD, ("dns-01",), DnsChallenges(hook, 0.0))
    assert state.read(WILDCARD).names == (WILDCARD,)
    assert names.file.read_text() == ""
    assert Path(f"{names.file}.log").read_text() == f"cleanup {RECORD}\n"


def test_a_program_that_fails_is_named_with_its_words(hook: Program, tmp_path: Path) -> None:
    with pytest.raises(NotObtained, match=r"hook present: exit code 3: the API is down"):
        hook.add("_acme-challenge.broken.test", "value")
    with pytest.raises(NotObtained, match=r"absent present: .*No such file"):
        Program(tmp_path / "absent").add(RECORD, "value")


@pytest.mark.parametrize(
    ("key", "name", "reason"),
    [
        (None, RECORD, "refuses to update site.test.: REFUSED"),
        (replace(TSIG, name="unknown"), RECORD, ""),
        (replace(TSIG, secret="b3RoZXJvdGhlcm90aGVyb3RoZXI="), RECORD, ""),
        (TSIG, "_acme-challenge.other.example", "it has no zone for _acme-challenge.other.example."),
    ],
)
def test_an_update_that_is_refused_says_why(names: Zone, key: TsigKey | None, name: str, reason: str) -> None:
    with pytest.raises(NotObtained) as caught:
        Updates("localhost", names.port, key).add(name, "value")
    assert str(caught.value).startswith("dns-01: localhost")
    assert reason in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_server_that_is_down_is_a_failure_of_the_order() -> None:
    with pytest.raises(NotObtained, match=r"dns-01: 127\.0\.0\.1: ConnectionRefusedError"):
        Updates("127.0.0.1", 9, TSIG).add(RECORD, "value")


def test_a_record_that_cannot_be_removed_costs_nothing(names: Zone) -> None:
    class Forgetful:
        def add(self, name: str, value: str) -> None:
            """Nothing."""

        def remove(self, name: str, value: str) -> None:
            raise NotObtained("gone")

    with DnsChallenges(Forgetful(), 0.0).record(RECORD, "value"):
        pass

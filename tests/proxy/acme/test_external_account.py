"""Accounts bound to a customer of the authority (RFC 8555 section 7.3.4)."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.acme.account import Authority as Asked
from proxy.acme.account import NotObtained, register
from proxy.acme.state import State
from tests.proxy.acme.pebble import Pebble, pebble
from tests.proxy.authority import Authority
from tests.proxy.tls_gateway import serve_tls
from tests.waiting import until

KEYS = {
    "customer-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W",
    "customer-2": "b10lLJs8l1GPIzsLP0s6pMt8O0XVGnfTaCeROxQM0BIt2XrJMDHJZBM5NuQmQJQH",
}
pytestmark = pytest.mark.component("pebble")


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    external = {"externalAccountBindingRequired": True, "externalAccountMACKeys": KEYS}
    folder = tmp_path_factory.mktemp("pebble")
    with pebble(authority, folder, external, PEBBLE_VA_ALWAYS_VALID="1") as running:
        yield running


def asked(server: Pebble, kid: str = "", key: str = "") -> Asked:
    return Asked(server.directory, server.ca, "a@site.test", "test", kid, key)


def account_of(state: State) -> str:
    return str(json.loads(state.account.read_bytes())["uri"])


def test_another_customer_gets_another_account(server: Pebble, tmp_path: Path) -> None:
    state = State(tmp_path, server.directory)
    accounts = []
    for kid in ("customer-1", "customer-1", "customer-2"):
        register(asked(server, kid, KEYS[kid]), state)
        accounts.append(account_of(state))
    assert accounts[0] == accounts[1] != accounts[2]


@pytest.mark.parametrize(
    ("kid", "key", "reason"),
    [
        ("", "", "set acme_eab_kid and acme_eab_key_file"),
        ("nobody", KEYS["customer-1"], "unauthorized"),
        ("customer-1", KEYS["customer-2"], ""),
    ],
)
def test_without_the_right_key_there_is_no_account(
    server: Pebble, tmp_path: Path, kid: str, key: str, reason: str
) -> None:
    state = State(tmp_path, server.directory)
    with pytest.raises(NotObtained) as caught:
        register(asked(server, kid, key), state)
    assert reason in str(caught.value)
    assert not state.account.exists()
    assert not key or key not in str(caught.value)


def test_a_gateway_reads_the_key_from_its_file(server: Pebble, tmp_path: Path) -> None:
    key = tmp_path / "eab.key"
    key.write_text(KEYS["customer-1"] + "\n")
    key.chmod(0o600)
    state = State(tmp_path / "state", server.directory)
    flags = (
        *("--acme", "a@site.test", "--domain", "site.test", "--state-dir", str(tmp_path / "state")),
        *server.flags,
        *("--acme-eab-kid", "customer-1", "--acme-eab-key-file", str(key)),
    )
    with contextlib.closing(serve_tls(tmp_path / "gateway", "127.0.0.1:9", *flags)) as gateway:
        until(lambda: state.pair("site.test") is not None, "a certificate")
        assert KEYS["customer-1"] not in gateway.log

"""Renewal information (RFC 9773) and profiles: what is asked for, and when."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from proxy.acme.account import Authority as Asked
from proxy.acme.account import NotObtained
from proxy.acme.issuer import Issuer
from proxy.acme.order import obtain
from proxy.acme.renewal_info import ask_when_to_renew, identifier
from proxy.acme.state import LONGEST_SILENCE, State, Suggestion
from proxy.log import log
from proxy.net.certificates import new_key, self_signed
from proxy.net.private_file import write_private
from proxy.settings import Settings
from tests.proxy.acme.front import Front, front
from tests.proxy.acme.pebble import Pebble, Refusal, pebble, refusing
from tests.proxy.authority import Authority
from tests.proxy.tls_gateway import serve_tls
from tests.waiting import until

NAME = "site.test"
KINDS = ("http-01",)
HOUR = 3600.0
real = pytest.mark.component("pebble")


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with pebble(authority, tmp_path_factory.mktemp("pebble"), PEBBLE_VA_ALWAYS_VALID="1") as running:
        yield running


@pytest.fixture
def said(authority: Authority, server: Pebble) -> Iterator[Front]:
    with front(authority, server) as running:
        yield running


@pytest.fixture
def asked(said: Front, server: Pebble) -> Asked:
    return Asked(said.directory, server.ca, "a@site.test", "test")


@pytest.fixture
def state(said: Front, tmp_path: Path) -> State:
    state = State(tmp_path, said.directory)
    state.make()
    return state


@pytest.fixture
def kept(state: State, authority: Authority) -> State:
    """The same with a certificate for the name."""
    renew(state, authority)
    return state


def renew(state: State, authority: Authority) -> None:
    chain, key = authority.issue(NAME, file="kept")
    write_private(state.certificate(NAME), key.read_bytes() + chain.read_bytes())


def moment(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def suggestion(state: State) -> Suggestion:
    pair = state.pair(NAME)
    assert pair is not None
    return state.suggestion(NAME, pair)


@real
class TestOrders:
    def test_a_renewal_names_what_it_replaces(self, said: Front, asked: Asked, kept: State) -> None:
        said.window, said.profiles = (moment(100), moment(200)), {"shortlived": "https://ca.test/short"}
        before = identifier(x509.load_pem_x509_certificate(kept.certificate(NAME).read_bytes()))
        obtain(replace(asked, profile="shortlived"), kept, NAME, KINDS)
        (order,) = said.orders
        assert (order["replaces"], order["profile"]) == (before, "shortlived")

    def test_one_that_may_not_replace_is_placed_without(self, said: Front, asked: Asked, kept: State) -> None:
        said.window, said.conflict = (moment(100), moment(200)), True
        obtain(asked, kept, NAME, KINDS)
        assert ["replaces" in order for order in said.orders] == [True, False]

    def test_nothing_is_replaced_at_an_authority_without_it(self, said: Front, asked: Asked, kept: State) -> None:
        obtain(asked, kept, NAME, KINDS)
        assert said.orders[0].keys() == {"identifiers"}

    @pytest.mark.parametrize(
        ("profiles", "offers"), [({}, "offers no profiles"), ({"a": "", "classic": ""}, "offers a, classic")]
    )
    def test_one_that_is_not_offered_is_not(
        self, said: Front, asked: Asked, state: State, profiles: dict[str, str], offers: str
    ) -> None:
        said.profiles = profiles
        with pytest.raises(NotObtained, match=offers):
            obtain(replace(asked, profile="shortlived"), state, NAME, KINDS)
        assert said.orders == []


@real
class TestInformation:
    def test_a_moment_of_the_window_is_kept(self, said: Front, asked: Asked, kept: State) -> None:
        said.window, said.retry_after = (moment(10), moment(20)), "7200"
        assert suggestion(kept) == Suggestion()
        ask_when_to_renew(asked, kept, NAME)
        first, now = suggestion(kept), time.time()
        assert now + 9 * HOUR < first.at < now + 21 * HOUR
        assert first.again - first.noted == 7200
        assert first.fresh(now)
        ask_when_to_renew(asked, kept, NAME)
        assert suggestion(kept).at == first.at, "still in the window"
        said.window = moment(-2), moment(-1)
        ask_when_to_renew(asked, kept, NAME)
        assert now - 3 * HOUR < suggestion(kept).at < now

    @pytest.mark.parametrize(
        ("asks", "waits"), [("1", 60), ("", 6 * HOUR), ("soon", 6 * HOUR), ("9" * 20, LONGEST_SILENCE)]
    )
    def test_the_next_question_comes_at_a_bearable_pace(
        self, said: Front, asked: Asked, kept: State, asks: str, waits: float
    ) -> None:
        said.window, said.retry_after = (moment(10), moment(20)), asks
        ask_when_to_renew(asked, kept, NAME)
        assert suggestion(kept).again - suggestion(kept).noted == waits

    @pytest.mark.parametrize("window", [(moment(20), moment(10)), ("soon", "later"), ("", "")])
    def test_a_senseless_window_changes_nothing(
        self, said: Front, asked: Asked, kept: State, window: tuple[str, str]
    ) -> None:
        said.window = moment(10), moment(20)
        ask_when_to_renew(asked, kept, NAME)
        before = suggestion(kept).at
        said.window = window
        with pytest.raises(NotObtained):
            ask_when_to_renew(asked, kept, NAME)
        assert suggestion(kept).at == before
        assert suggestion(kept).fresh(time.time())

    def test_another_certificate_is_asked_about_anew(
        self, said: Front, asked: Asked, kept: State, authority: Authority
    ) -> None:
        said.window = moment(-2), moment(-1)
        ask_when_to_renew(asked, kept, NAME)
        renew(kept, authority)
        assert suggestion(kept) == Suggestion()
        assert not suggestion(kept).fresh(time.time())

    def test_a_gateway_renews_when_the_authority_says(self, said: Front, asked: Asked, kept: State) -> None:
        said.window = moment(-2), moment(-1)
        flags = ("--acme", "a@site.test", "--domain", NAME, "--acme-directory", said.directory)
        more = ("--acme-ca", str(asked.ca), "--state-dir", str(kept.root.parent.parent))
        folder = kept.root.parent.parent / "gateway"
        with contextlib.closing(serve_tls(folder, "127.0.0.1:9", *flags, *more)) as gateway:
            until(lambda: "obtained a certificate" in gateway.log, "the renewal")
        assert len(said.orders) == 1
        assert len(said.asked) == 1


def test_an_authority_that_fails_is_not_asked_for_every_name(authority: Authority, tmp_path: Path) -> None:
    names = [f"{number}.test" for number in range(10)]
    with refusing(Refusal("/directory", 503, "serverInternal")) as directory:
        settings = Settings(workers=1, acme="a@site.test", acme_directory=directory, state_dir=tmp_path)
        issuer = Issuer(settings.acme_servers[0], settings, "test", log)
        issuer.state.make()
        chain, key = authority.issue(*names, file="every")
        for name in names:
            write_private(issuer.state.certificate(name), key.read_bytes() + chain.read_bytes())
        issuer.ask_when_to_renew(names)
    assert len(list(issuer.state.root.glob("*.renewal"))) == 4, "as many as at the same time"


def test_a_certificate_is_called_what_the_rfc_calls_it() -> None:
    """The example of RFC 9773 section 4.1."""
    key, now = new_key(), datetime.now(UTC)
    issuer = bytes.fromhex("69885b6b87464041e1b37b847ba0ae2cde01c8d4")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "example.com")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 0x87654321, now, now + timedelta(days=1))
        .add_extension(x509.AuthorityKeyIdentifier(issuer, None, None), critical=False)
        .sign(key, hashes.SHA256())
    )
    assert identifier(certificate) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"
    assert identifier(x509.load_pem_x509_certificate(self_signed(("a.test",)).chain)) == ""


@pytest.mark.parametrize("content", ["", "[]", '{"at": "x"}', '{"at": NaN, "noted": 1, "again": 2}', "\xff"])
def test_a_broken_file_suggests_nothing(tmp_path: Path, content: str) -> None:
    state = State(tmp_path, "https://ca.test/directory")
    state.make()
    (state.root / f"{NAME}.renewal").write_text(content, encoding="latin-1")
    assert state.suggestion(NAME, self_signed((NAME,))) == Suggestion()


def test_times_of_a_wrong_clock_are_not_fresh() -> None:
    now = time.time()
    assert Suggestion("", 0.0, now - 5, now + 5).fresh(now)
    for noted, again in ((now + 10, now + 20), (now - 10, now - 5), (now - 10, now + 2 * LONGEST_SILENCE)):
        assert not Suggestion("", 0.0, noted, again).fresh(now)

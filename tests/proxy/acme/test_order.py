"""What the gateway does when an authority is not content: with its nonces, accounts, addresses, limits."""

import contextlib
import json
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from acme import client, messages
from josepy.jwk import JWKEC

from proxy.acme.account import Authority as AdminRequest
from proxy.acme.account import NotObtained, register
from proxy.acme.network import Network, retry_after
from proxy.acme.order import obtain
from proxy.acme.state import LONGEST_WAIT, Failures, State
from proxy.acme.timetable import pause
from tests.proxy.acme.pebble import NAME, Pebble, Refusal, pebble, refusing
from tests.proxy.authority import Authority
from tests.proxy.gateway import serve
from tests.proxy.tls_gateway import serve_tls, trusted
from tests.waiting import until

real = pytest.mark.component("pebble")
DAY = 86400.0
BOTH = ("http-01", "tls-alpn-01")


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with pebble(authority, tmp_path_factory.mktemp("pebble"), PEBBLE_VA_ALWAYS_VALID="1") as running:
        yield running


@pytest.fixture
def state(server: Pebble, tmp_path: Path) -> State:
    return State(tmp_path, server.directory)


def asked(server: Pebble, email: str = "old@site.test") -> AdminRequest:
    return AdminRequest(server.directory, server.ca, email, "test")


class Account:
    """The account that a gateway keeps, used from elsewhere."""

    def __init__(self, server: Pebble, state: State) -> None:
        kept = json.loads(state.account.read_bytes())
        network = Network("test", server.ca)
        network.key = JWKEC.from_json(kept["key"])
        self._client = client.ClientV2(client.ClientV2.get_directory(server.directory, network), network)
        self.uri = kept["uri"]

    def _kept(self) -> messages.RegistrationResource:
        return messages.RegistrationResource(uri=self.uri, body=messages.Registration())

    def contact(self) -> tuple[str, ...]:
        """What the authority knows."""
        return tuple(self._client.query_registration(self._kept()).body.contact)

    def deactivate(self) -> None:
        self._client.deactivate_registration(self._kept())


@real
class TestAccounts:
    def test_one_that_was_deactivated_is_replaced(self, server: Pebble, state: State) -> None:
        register(asked(server), state)
        first = Account(server, state)
        first.deactivate()
        obtain(asked(server), state, "site.test", BOTH)
        assert Account(server, state).uri != first.uri
        assert state.pair("site.test") is not None

    def test_one_that_the_authority_forgot_is_replaced(self, server: Pebble, state: State) -> None:
        register(asked(server), state)
        kept = json.loads(state.account.read_bytes())
        state.account.unlink()
        register(asked(server), state)
        other = json.loads(state.account.read_bytes())
        assert other["uri"] != kept["uri"]

    def test_the_address_follows_the_settings(self, server: Pebble, state: State) -> None:
        register(asked(server), state)
        first = Account(server, state)
        assert first.contact() == ("mailto:old@site.test",)
        assert state.contact() == "old@site.test"
        register(asked(server, "new@site.test"), state)
        assert first.contact() == ("mailto:new@site.test",)
        assert state.contact() == "new@site.test"

    def test_the_address_of_an_account_from_before_is_told(self, server: Pebble, state: State) -> None:
        register(asked(server), state)
        kept = json.loads(state.account.read_bytes())
        del kept["contact"]
        state.account.write_text(json.dumps(kept))
        assert state.contact() == ""
        register(asked(server, "new@site.test"), state)
        assert Account(server, state).uri == kept["uri"]
        assert Account(server, state).contact() == ("mailto:new@site.test",)

    def test_contact_refused_by_the_authority_costs_no_certificate(self, server: Pebble, state: State) -> None:
        register(asked(server), state)
        obtain(asked(server, "né w@@site.test"), state, "site.test", BOTH)
        assert state.pair("site.test") is not None
        assert state.contact() == "old@site.test"

    @pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"key": 1, "uri": 2}', b"\xff", b"[" * 100_000])
    def test_one_whose_file_cannot_be_read_is_replaced(self, server: Pebble, state: State, content: bytes) -> None:
        state.make()
        state.account.write_bytes(content)
        assert state.contact() in (None, "")
        register(asked(server), state)
        assert Account(server, state).contact() == ("mailto:old@site.test",)


@real
def test_changed_contact_is_sent_before_a_renewal_is_due(
    server: Pebble, state: State, authority: Authority, tmp_path: Path
) -> None:
    register(asked(server), state)
    obtain(asked(server), state, "site.test", BOTH)
    flags = (*server.flags, "--state-dir", str(tmp_path))
    for address in ("new@site.test", "newest@site.test"):
        more = ("--acme", address, "--domain", "site.test")
        with contextlib.closing(serve_tls(tmp_path / address, "127.0.0.1:9", *flags, *more, workers=2)) as gateway:
            until(lambda address=address: state.contact() == address, "the authority was told")
            assert "obtaining" not in gateway.log
        assert Account(server, state).contact() == (f"mailto:{address}",)


@real
@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
def test_nonces_may_be_refused_and_the_authority_slow(authority: Authority, tmp_path: Path, challenge: str) -> None:
    """A real validation, while half of all nonces are refused."""
    with pebble(authority, tmp_path, PEBBLE_WFE_NONCEREJECT="50", PEBBLE_VA_NOSLEEP="0") as server:
        plain = ("--bind-plain", f"127.0.0.1:{server.http_port}") if challenge == "http-01" else ()
        flags = ("--bind", f"127.0.0.1:{server.tls_port}", *plain, "--domain", NAME, "--acme", "a@site.test",
                 *server.flags, "--state-dir", str(tmp_path / "state"))  # fmt: skip
        trust = server.trust()
        with contextlib.closing(serve(tmp_path / "gateway", "127.0.0.1:9", *flags)) as gateway:
            until(lambda: trusted(gateway, trust, NAME), "a certificate that the authority's clients trust", 60)
            assert "no certificate for" not in gateway.log


class TestRefusals:
    """When to ask again, and what is said."""

    def outcome(self, authority: Authority, tmp_path: Path, refusal: Refusal) -> tuple[float, str]:
        """Seconds until the next try, and the line in the log."""
        with refusing(refusal) as directory:
            flags = ("--acme", "a@site.test", "--acme-directory", directory, "--domain", "site.test")
            more = ("--state-dir", str(tmp_path / "state"))
            with contextlib.closing(serve_tls(tmp_path / "gateway", "127.0.0.1:9", *flags, *more)) as gateway:
                until(lambda: "no certificate for site.test" in gateway.log, "the refusal is told")
                line = next(line for line in gateway.log.splitlines() if "no certificate for" in line)
        failures = State(tmp_path / "state", directory).failures("site.test")
        assert failures.forbid(time.time())
        return failures.until - failures.noted, line

    @pytest.mark.parametrize(("path", "status", "problem"), [
        ("/order", 429, "rateLimited"), ("/directory", 503, "serverInternal"), ("/account", 429, "rateLimited"),
        ("/nonce", 503, "serverInternal")])  # fmt: skip
    def test_an_authority_that_asks_for_patience_gets_it(
        self, authority: Authority, tmp_path: Path, path: str, status: int, problem: str
    ) -> None:
        wait, line = self.outcome(authority, tmp_path, Refusal(path, status, problem, {"Retry-After": "86400"}))
        assert wait == DAY
        assert "must resolve to this machine" not in line
        assert "next attempt in 86400 s" in line

    def test_a_date_is_as_good_as_a_number(self, authority: Authority, tmp_path: Path) -> None:
        when = formatdate(time.time() + 2 * DAY, usegmt=True)
        wait, _ = self.outcome(authority, tmp_path, Refusal("/order", 503, "serverInternal", {"Retry-After": when}))
        assert 2 * DAY - 60 < wait <= 2 * DAY

    @pytest.mark.parametrize("value", ["1", "-5", "soon", "", "Thu, 01 Jan 1970 00:00:00 GMT", "1e9"])
    def test_less_than_our_own_pause_is_no_reason_to_hurry(
        self, authority: Authority, tmp_path: Path, value: str
    ) -> None:
        wait, _ = self.outcome(authority, tmp_path, Refusal("/order", 429, "rateLimited", {"Retry-After": value}))
        assert 0.8 * 120 <= wait <= 1.2 * 120

    def test_nobody_is_waited_for_without_end(self, authority: Authority, tmp_path: Path) -> None:
        wait, _ = self.outcome(authority, tmp_path, Refusal("/order", 503, "serverInternal", {"Retry-After": "9" * 30}))
        assert wait == LONGEST_WAIT

    def test_what_cannot_be_done_here_is_said(self, authority: Authority, tmp_path: Path) -> None:
        _, line = self.outcome(authority, tmp_path, Refusal("/account", 400, "externalAccountRequired"))
        assert "set acme_eab_kid and acme_eab_key_file" in line
        assert "must resolve to this machine" not in line


@pytest.mark.parametrize(("problem", "of_name"), [("connection", True), ("dns", True), ("rateLimited", False)])
def test_a_failed_validation_is_known_however_it_is_said(tmp_path: Path, problem: str, *, of_name: bool) -> None:
    with refusing(Refusal("/order", 400, problem)) as directory:
        asked, state = AdminRequest(directory, None, "a@site.test", "test"), State(tmp_path, directory)
        state.make()
        with pytest.raises(NotObtained) as caught:
            obtain(asked, state, "site.test", BOTH)
    assert caught.value.challenge is of_name


def test_an_order_of_very_many_authorizations_is_not_begun(tmp_path: Path) -> None:
    """Each may take until its deadline."""
    order = {"status": "pending", "authorizations": ["http://127.0.0.1:9/authorization"] * 5}
    with refusing(Refusal("", 0, "", order=order)) as directory:
        asked, state = AdminRequest(directory, None, "a@site.test", "test"), State(tmp_path, directory)
        state.make()
        with pytest.raises(NotObtained, match="the authority wants 5 authorizations for one name"):
            obtain(asked, state, "site.test", BOTH)


def test_an_authoritys_words_are_one_line_of_the_log(tmp_path: Path) -> None:
    with refusing(Refusal("/account", 403, "unauthorized")) as directory, pytest.raises(NotObtained) as caught:
        register(AdminRequest(directory, None, "a@site.test", "test"), State(tmp_path, directory))
    assert str(caught.value).isprintable()
    assert "as told" in str(caught.value)


class TestClocks:
    """Moments on disk were written by a clock that may have been wrong."""

    def test_a_failure_forbids_for_as_long_as_it_may(self) -> None:
        now = time.time()
        assert Failures(1, now + 120, now - 1).forbid(now)
        assert Failures(1, now + LONGEST_WAIT - 2, now - 1).forbid(now)
        assert not Failures(1, now - 1, now - 100).forbid(now)

    @pytest.mark.parametrize("noted", [0.0, 3e9])
    @pytest.mark.parametrize("until_when", [4 * 365 * DAY, 1e300, float("inf"), float("nan")])
    def test_one_of_years_ahead_is_not_believed(self, noted: float, until_when: float) -> None:
        assert not Failures(1, time.time() + until_when, noted).forbid(time.time())

    def test_one_noted_in_the_future_is_not_believed(self) -> None:
        now = time.time()
        assert not Failures(1, now + 100, now + 50).forbid(now)

    @pytest.mark.parametrize(
        "content",
        ["", "[]", "{}", "null", '{"count": 1e999, "until": 5}', '{"count": "x", "until": 5}', "[" * 100_000, "\xff"],
    )
    def test_what_is_no_failure_forbids_nothing(self, tmp_path: Path, content: str) -> None:
        state = State(tmp_path, "https://ca.test/directory")
        state.make()
        (state.root / "site.test.failures").write_text(content, encoding="latin-1")
        assert not state.failures("site.test").forbid(time.time())

    @pytest.mark.parametrize("failures", [-5, 0, 1, 2000, 10**9])
    def test_any_number_of_failures_gives_a_pause(self, failures: int) -> None:
        assert 0 < pause(failures) <= 1.2 * 6 * 3600


@pytest.mark.parametrize(("value", "seconds"), [
    ("120", 120), ("0", 0), ("", 0), ("-1", 0), ("٣", 0), ("1.5", 0), ("Thu, 01 Jan 1970 00:20:00 GMT", 200),
    ("Thu, 01 Jan 1970 00:00:01 GMT", 0), ("Thu, 99 Foo", 0)])  # fmt: skip
def test_retry_after_is_a_number_or_a_date(value: str, seconds: float) -> None:
    assert retry_after(value, 1000.0) == seconds

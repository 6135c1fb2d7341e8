"""Certificates from files to workers: each file stands for itself."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.acme.state import State
from proxy.net.certificate_set import CertificateSet
from proxy.net.certificates import self_signed
from proxy.net.private_file import write_private
from proxy.process import certificate_store as vaults
from proxy.process.certificate_store import CertificateStore, self_signed_file, warnings
from proxy.settings import Certificate, Settings, SettingsError
from proxy.settings.values import files
from tests.proxy.authority import DAY, Authority

DIRECTORY = "http://127.0.0.1:9/directory"
ONE, TWO, OBTAINED = "one.test", "two.test", "obtained.test"
Issue = Callable[..., Certificate]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vaults, "POLL", 0.0)
    monkeypatch.setattr(files, "_PATIENCE", 0.1)


@pytest.fixture
def issue(tmp_path_factory: pytest.TempPathFactory) -> Issue:
    """Write a certificate and its key, again at each call."""
    authority = Authority(tmp_path_factory.mktemp("files"))
    return lambda *names, **how: Certificate(*authority.issue(*names, **how))


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path, DIRECTORY)
    state.make()
    return state


def obtain(state: State, issue: Issue, name: str, domain: str = "") -> bytes:
    """Keep a certificate as if an authority had just given it."""
    one = issue(name, file="obtained")
    write_private(state.certificate(domain or name), one.key.read_bytes() + one.cert.read_bytes())
    return one.cert.read_bytes()


def settings(*certificates: Certificate, **more: object) -> Settings:
    return Settings(workers=1, certificates=certificates, **more)  # type: ignore[arg-type]


def with_acme(state_dir: Path, *certificates: Certificate, domain: tuple[str, ...] = (OBTAINED,)) -> Settings:
    return settings(
        *certificates, acme="a@test", acme_directory=DIRECTORY, domain=domain, state_dir=state_dir, config=None
    )


def chains(certificate_set: CertificateSet | None) -> dict[str, bytes]:
    assert certificate_set is not None
    return {pair.name: pair.chain[pair.chain.index(b"-----BEGIN CERT") :] for pair in certificate_set.pairs}


def faults(certificate_set: CertificateSet | None) -> list[str]:
    assert certificate_set is not None
    return [name for name, _ in certificate_set.faults]


def refilled(certificate_store: CertificateStore, chosen: Settings) -> CertificateSet:
    certificate_set = certificate_store.refill(chosen)
    assert certificate_set is not None
    return certificate_set


def remove(one: Certificate) -> None:
    one.cert.unlink()


def spoil_key(one: Certificate) -> None:
    one.key.write_bytes(b"-----BEGIN")


def open_to_all(one: Certificate) -> None:
    one.key.chmod(0o644)


def hang(one: Certificate) -> None:
    one.cert.unlink()
    os.mkfifo(one.cert)


def malform(one: Certificate) -> None:
    one.cert.write_bytes(b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")


def turn_into_a_directory(one: Certificate) -> None:
    one.cert.unlink()
    one.cert.mkdir()


DAMAGES = [remove, spoil_key, open_to_all, hang, malform, turn_into_a_directory]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("by_signal", [False, True], ids=["looked at", "reloaded"])
def test_a_file_that_fails_stops_no_other(
    issue: Issue, state: State, tmp_path: Path, damage: Callable[[Certificate], None], *, by_signal: bool
) -> None:
    one, two = issue(ONE), issue(TWO)
    obtain(state, issue, OBTAINED)
    chosen = with_acme(tmp_path, one, two)
    certificate_store = CertificateStore()
    before = chains(certificate_store.fill(chosen))
    damage(one)
    renewed, obtained = issue(TWO).cert.read_bytes(), obtain(state, issue, OBTAINED)
    certificate_set = certificate_store.fill(chosen) if by_signal else refilled(certificate_store, chosen)
    assert chains(certificate_set) == {ONE: before[ONE], TWO: renewed, OBTAINED: obtained}
    assert faults(certificate_set) == [ONE]
    assert any(text.startswith(f"certificate {ONE}: ") and str(one.cert.parent) in text
               for text in warnings(certificate_set, chosen))  # fmt: skip
    assert certificate_store.get() == certificate_set


def test_a_file_that_is_good_again_ends_the_fault(issue: Issue) -> None:
    one, two = issue(ONE), issue(TWO)
    certificate_store, chosen = CertificateStore(), settings(one, two)
    certificate_store.fill(chosen)
    remove(one)
    assert faults(refilled(certificate_store, chosen)) == [ONE]
    assert certificate_store.refill(chosen) is None  # said once
    assert issue(ONE) == one
    certificate_set = refilled(certificate_store, chosen)
    assert faults(certificate_set) == []
    assert chains(certificate_set)[ONE] == one.cert.read_bytes()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_was_never_good_is_refused(issue: Issue, damage: Callable[[Certificate], None]) -> None:
    one, two = issue(ONE), issue(TWO)
    damage(one)
    with pytest.raises(SettingsError, match=str(one.cert.parent)):
        CertificateStore().fill(settings(one, two))
    certificate_store = CertificateStore()
    first = certificate_store.fill(settings(two))
    with pytest.raises(SettingsError, match=str(one.cert.parent)):
        certificate_store.fill(settings(one, two))
    assert certificate_store.get() == first
    with pytest.raises(SettingsError):
        CertificateStore().read(settings(one, two))


def test_file_dropped_from_settings_is_forgotten(issue: Issue) -> None:
    one, two = issue(ONE), issue(TWO)
    certificate_store = CertificateStore()
    certificate_store.fill(settings(one, two))
    certificate_store.fill(settings(two))
    remove(one)
    with pytest.raises(SettingsError):
        certificate_store.fill(settings(one, two))


def test_authorities_of_clients_that_cannot_be_read_count_on(issue: Issue, tmp_path: Path) -> None:
    one = issue(ONE)
    authorities = tmp_path / "ca.pem"
    authorities.write_bytes(one.cert.read_bytes())
    certificate_store, chosen = CertificateStore(), settings(one, tls_client_ca=authorities)
    before = certificate_store.fill(chosen).client_ca
    authorities.unlink()
    renewed = issue(ONE).cert.read_bytes()
    certificate_set = refilled(certificate_store, chosen)
    assert certificate_set.client_ca == before
    assert chains(certificate_set) == {ONE: renewed}
    assert faults(certificate_set) == ["tls_client_ca"]
    with pytest.raises(SettingsError, match="--tls-client-ca"):
        certificate_store.fill(settings(one, tls_client_ca=tmp_path / "another.pem"))


class TestObtained:
    """State files that do not serve are as good as none."""

    def spoil(self, state: State, issue: Issue, how: str) -> None:
        file = state.certificate(OBTAINED)
        good = file.read_bytes()
        match how:
            case "another key":
                file.write_bytes(self_signed((OBTAINED,)).key + good[good.index(b"-----BEGIN CERT") :])
            case "another name":
                obtain(state, issue, "elsewhere.test", OBTAINED)
            case "cut":
                file.write_bytes(good[:-300])
            case "empty":
                file.write_bytes(b"")
            case "a key alone":
                file.write_bytes(self_signed((OBTAINED,)).key)
            case "a directory":
                file.unlink()
                file.mkdir()

    @pytest.mark.parametrize("how", ["another key", "another name", "cut", "empty", "a key alone", "a directory"])
    def test_one_that_does_not_serve_is_obtained_anew(
        self, issue: Issue, state: State, tmp_path: Path, how: str
    ) -> None:
        good = obtain(state, issue, OBTAINED)
        beside = obtain(state, issue, "beside.test")
        chosen = with_acme(tmp_path, domain=(OBTAINED, "beside.test"))
        running = CertificateStore()
        running.fill(chosen)
        self.spoil(state, issue, how)
        assert state.pair(OBTAINED) is None  # due at once

        started = CertificateStore().fill(chosen)
        assert faults(started) == [OBTAINED]
        assert chains(started)["beside.test"] == beside
        assert [pair.stands_in for pair in started.pairs] == [True, False]

        certificate_set = refilled(running, chosen)  # what a running gateway has is better than what stands in
        assert faults(certificate_set) == [OBTAINED]
        assert chains(certificate_set) == {OBTAINED: good, "beside.test": beside}

    def test_one_that_is_not_there_yet_is_no_fault(self, tmp_path: Path) -> None:
        certificate_set = CertificateStore().fill(with_acme(tmp_path))
        assert faults(certificate_set) == []
        assert [pair.stands_in for pair in certificate_set.pairs] == [True]


def test_a_full_disk_stops_no_renewal(issue: Issue, tmp_path: Path) -> None:
    one = issue(ONE)
    certificate_store, chosen = CertificateStore(), settings(one, tls="self-signed", state_dir=tmp_path)
    certificate_store.fill(chosen)
    file = self_signed_file(tmp_path)
    file.unlink()
    file.mkdir()  # nothing can be put in its place
    renewed = issue(ONE).cert.read_bytes()
    certificate_store._stamp = ()
    certificate_set = refilled(certificate_store, chosen)
    assert chains(certificate_set)[ONE] == renewed
    assert faults(certificate_set) == ["localhost"]
    with pytest.raises(SettingsError, match="--state-dir"):
        CertificateStore().fill(chosen)


def test_as_many_as_a_file_may_name_are_handed_over(issue: Issue) -> None:
    one = issue(ONE)
    one.cert.write_bytes(one.cert.read_bytes() * 12)
    assert len(CertificateStore().fill(settings(*[one] * 256)).pairs) == 256


def test_more_than_can_be_handed_over_ends_nothing(issue: Issue) -> None:
    one = issue(ONE)
    certificate_store, chosen = CertificateStore(), settings(*[one] * 12)
    first = certificate_store.fill(chosen)
    leaf = one.cert.read_bytes()
    one.cert.write_bytes(leaf * ((1 << 20) // len(leaf)))
    with pytest.raises(SettingsError, match="too many or too large"):
        certificate_store.refill(chosen)
    assert certificate_store.get() == first
    assert certificate_store.refill(chosen) is None


def test_other_files_beside_certificates_are_not_passed_on(issue: Issue) -> None:
    one = issue(ONE)
    clean = CertificateStore().fill(settings(one)).pairs
    cert, key = one.cert.read_bytes(), one.key.read_bytes()
    one.cert.write_bytes("\ufeff# Zürich\r\n".encode() + key + b"friendlyName: Z\xfcrich\n" + cert + b"#" * 100_000)
    one.key.write_bytes("\ufeff# Zürich\n".encode() + cert + key + cert)
    assert CertificateStore().fill(settings(one)).pairs == clean


def test_what_was_made_while_the_clock_was_wrong_is_made_anew(issue: Issue, tmp_path: Path) -> None:
    chosen = settings(tls="self-signed", state_dir=tmp_path)
    early = issue("localhost", "127.0.0.1", "::1", begins=DAY, ends=400 * DAY)
    write_private(self_signed_file(tmp_path), early.key.read_bytes() + early.cert.read_bytes())
    (pair,) = CertificateStore().fill(chosen).pairs
    assert pair.begins < time.time()

"""What `check` says of certificates that can be served."""

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from proxy.cli import main
from proxy.net.certificates import self_signed
from tests.proxy.authority import DAY, Authority

SITE = "site.test"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("root"), "root")


@pytest.fixture(scope="module")
def middle(root: Authority, tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("middle"), "middle", root)


@pytest.fixture(scope="module")
def issuing(middle: Authority, tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("issuing"), "issuing", middle)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


Notes = Callable[..., list[str]]


@pytest.fixture
def notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Notes:
    """What `check` notes of a file with these certificates, without what it says of every one."""

    def checked(*pairs: tuple[Path, Path], top: str = "", routes: str = "", sign: str = "note: ") -> list[str]:
        config = tmp_path / "proxy.toml"
        given = "".join(f'[[certificate]]\ncert = "{cert}"\nkey = "{key}"\n' for cert, key in pairs)
        config.write_text(f'upstream = "127.0.0.1:8080"\nrate = "9/s"\nbind = "0.0.0.0:443"\n{top}{given}{routes}')
        assert main(["check", str(config)]) == 0
        lines = capsys.readouterr().out.splitlines()
        return [line.removeprefix(sign) for line in lines if line.startswith(sign)]

    return checked


def chain(*authorities: Authority) -> bytes:
    return b"".join(authority.file.read_bytes() for authority in authorities)


class TestChains:
    def told(self, notes: Notes, issuing: Authority, behind: bytes) -> str:
        cert, key = issuing.issue(SITE, file="chain")
        cert.write_bytes(cert.read_bytes() + behind)
        return "\n".join(notes((cert, key)))

    def test_whole_ones_are_passed_over(
        self, notes: Notes, issuing: Authority, middle: Authority, root: Authority
    ) -> None:
        for behind in ((issuing,), (issuing, middle), (issuing, middle, root)):
            assert self.told(notes, issuing, chain(*behind)) == ""

    def test_one_that_is_incomplete(self, notes: Notes, issuing: Authority) -> None:
        told = self.told(notes, issuing, b"")
        assert "('issuing') is not behind it" in told
        assert "fullchain.pem" in told

    def test_one_that_skips_an_authority(self, notes: Notes, issuing: Authority, middle: Authority) -> None:
        told = self.told(notes, issuing, chain(middle))
        assert "certificate 2 ('middle') issued none of the others" in told
        assert "('issuing') is not behind it" in told

    def test_one_that_is_out_of_order(
        self, notes: Notes, issuing: Authority, middle: Authority, root: Authority
    ) -> None:
        for behind in ((middle, issuing), (issuing, root, middle)):
            told = self.told(notes, issuing, chain(*behind))
            assert "out of order" in told
            assert "behind the first belong 'issuing', 'middle'" in told

    def test_one_with_a_stray(self, notes: Notes, issuing: Authority, stranger: Authority) -> None:
        told = self.told(notes, issuing, chain(issuing, stranger))
        assert "certificate 3 ('stranger') issued none of the others; remove it" in told
        assert "not behind it" not in told
        assert "out of order" not in told

    def test_a_self_signed_one_needs_nothing(self, notes: Notes, tmp_path: Path) -> None:
        pair = self_signed((SITE,))
        cert, key = tmp_path / "own.crt", tmp_path / "own.key"
        cert.write_bytes(pair.chain)
        key.touch(0o600)
        key.write_bytes(pair.key)
        assert notes((cert, key)) == []


class TestLeaves:
    def told(self, notes: Notes, root: Authority, *names: str, **how: object) -> str:
        cert, key = root.issue(*names, file="leaf", **how)  # type: ignore[arg-type]
        cert.write_bytes(cert.read_bytes() + root.file.read_bytes())
        return "\n".join(notes((cert, key)))

    def test_one_that_asks_for_stapling(self, notes: Notes, root: Authority) -> None:
        asks = x509.TLSFeature([x509.TLSFeatureType.status_request])
        assert "must-staple" in self.told(notes, root, SITE, extensions=[asks])
        assert self.told(notes, root, SITE) == ""


class TestShadows:
    def issue(self, root: Authority, file: str, *names: str, **how: object) -> tuple[Path, Path]:
        cert, key = root.issue(*names, file=file, **how)  # type: ignore[arg-type]
        cert.write_bytes(cert.read_bytes() + root.file.read_bytes())
        return cert, key

    def test_one_of_the_same_kind(self, notes: Notes, root: Authority) -> None:
        first, second = self.issue(root, "first", SITE, "a.test"), self.issue(root, "second", SITE, "b.test")
        (told,) = notes(first, second)
        assert told.startswith(f"{second[0]}: is not shown for {SITE}, but {first[0]} is")
        assert "both have ECDSA keys" in told

    def test_one_of_another_kind_is_no_shadow(self, notes: Notes, root: Authority) -> None:
        assert notes(self.issue(root, "first", SITE), self.issue(root, "second", SITE, rsa_bits=2048)) == []

    def test_one_that_has_expired(self, notes: Notes, root: Authority) -> None:
        old = self.issue(root, "old", SITE, begins=-9 * DAY, ends=-DAY)
        told = notes(old, self.issue(root, "new", SITE))
        assert any(line.startswith(f"{old[0]}: is not shown for {SITE}") and "has expired" in line for line in told)

    def test_a_wildcard_that_is_used_is_none(self, notes: Notes, root: Authority) -> None:
        assert notes(self.issue(root, "wild", "*.site.test"), self.issue(root, "own", "a.site.test")) == []

    def test_one_that_is_obtained_too(self, notes: Notes, root: Authority, tmp_path: Path) -> None:
        own = self.issue(root, "own", SITE)
        acme = f'acme = "a@site.test"\ndomain = "{SITE}"\nstate_dir = "{tmp_path}"\n'
        assert f"a certificate for {SITE} is made or obtained, and {own[0]} is for it too; keep one" in notes(
            own, top=acme
        )


def test_hosts_that_no_certificate_is_for(notes: Notes, root: Authority, tmp_path: Path) -> None:
    cert, key = root.issue(SITE, "*.wild.test", file="hosts")
    cert.write_bytes(cert.read_bytes() + root.file.read_bytes())
    hosts = '"site.test", "a.wild.test", "*.wild.test", "b.a.wild.test", "wild.test", "*.site.test"'
    routes = f'[[route]]\nname = "many"\nhost = [{hosts}]\nrespond = "x"\n'
    missing = ("b.a.wild.test", "wild.test", "*.site.test")
    told = [line for line in notes((cert, key), routes=routes) if line.startswith("route many: ")]
    assert [line.split(" is for ")[1].split(":")[0] for line in told] == list(missing)
    own = notes(top='tls = "self-signed"\n', routes=routes)
    assert not [line for line in own if "no certificate is for" in line]


class TestClientCertificates:
    def told(self, notes: Notes, root: Authority, content: bytes, tmp_path: Path, more: str = "") -> list[str]:
        file = tmp_path / "clients.pem"
        file.write_bytes(content)
        cert, key = root.issue(SITE, file="mutual")
        cert.write_bytes(cert.read_bytes() + root.file.read_bytes())
        found = notes((cert, key), top=f'tls_client_ca = "{file}"\n{more}')
        return [line.replace(str(file), "FILE") for line in found]

    def test_authorities_that_are_whole(
        self, notes: Notes, root: Authority, middle: Authority, stranger: Authority, tmp_path: Path
    ) -> None:
        assert self.told(notes, root, chain(middle, root, stranger), tmp_path) == []

    def test_an_intermediate_alone(self, notes: Notes, root: Authority, middle: Authority, tmp_path: Path) -> None:
        (told,) = self.told(notes, root, chain(middle), tmp_path)
        assert told.startswith("tls_client_ca FILE: 'middle' was issued by 'root', which is not in the file")

    def test_a_leaf(self, notes: Notes, root: Authority, tmp_path: Path) -> None:
        leaf, _ = root.issue("somebody", file="somebody")
        (told,) = self.told(notes, root, leaf.read_bytes() + chain(root), tmp_path)
        assert told.startswith("tls_client_ca FILE: 'somebody' is no authority")

    def test_comments_in_any_encoding(self, notes: Notes, root: Authority, tmp_path: Path) -> None:
        content = "# Zürich\n".encode() + chain(root) + "# Zürich\n".encode("latin-1") + chain(root)
        assert self.told(notes, root, content, tmp_path) == []

    def test_optional_ones_change_little(self, notes: Notes, root: Authority, tmp_path: Path) -> None:
        (told,) = self.told(notes, root, chain(root), tmp_path, 'tls_client_auth = "optional"\n')
        assert "X-SSL-Client-Verify" in told

    @pytest.mark.parametrize(
        ("more", "open_to_all"),
        [
            ("https_redirect = false\n", True),
            ("", False),
            ('https_redirect = false\ntls_client_auth = "optional"\n', False),
        ],
    )
    def test_a_way_round_them_is_a_risk(
        self, notes: Notes, root: Authority, tmp_path: Path, more: str, *, open_to_all: bool
    ) -> None:
        cert, key = root.issue(SITE, file="mutual")
        top = f'bind_plain = "0.0.0.0:80"\ntls_client_ca = "{root.file}"\n{more}'
        risks = notes((cert, key), top=top, sign="risk: ")
        assert any(line.startswith("bind_plain: serves clients without a certificate") for line in risks) is open_to_all


def test_dates_and_faults_are_told_too(notes: Notes, root: Authority) -> None:
    cert, key = root.issue(SITE, file="late", begins=-80 * DAY, ends=datetime.timedelta(days=3))
    assert any("expires on" in line for line in notes((cert, key)))

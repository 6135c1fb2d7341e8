"""Certificates as files: what is read from them, and what is said about those that cannot serve."""

import datetime
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from proxy.net.certificate_set import CertificateSet, Lifetime, lifetimes
from proxy.net.certificates import (
    DAY,
    CertificateError,
    expiry_warning,
    new_key,
    pem_of,
    read_authorities,
    read_joined,
    read_pair,
    self_signed,
)
from proxy.net.private_file import write_private
from proxy.net.tls_contexts import TlsContexts
from tests.proxy.authority import Authority


def test_names_and_dates_are_those_of_the_certificate(authority: Authority) -> None:
    pair = read_pair(*authority.issue("Names.test", "other.test", "127.0.0.1"))
    assert pair.names == ("names.test", "other.test", "127.0.0.1")
    assert pair.name == "names.test"
    assert pair.begins < time.time() < pair.expires
    assert lifetimes((pair,)) == {"names.test": Lifetime(pair.expires, pair.begins)}


def refusal(cert: Path, key: Path) -> str:
    with pytest.raises(CertificateError) as caught:
        read_pair(cert, key)
    return str(caught.value)


def test_each_mistake_names_its_file_and_a_mend(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.issue("mistakes.test")
    assert "cannot be read: No such file" in refusal(tmp_path / "none.crt", key)
    assert str(tmp_path / "none.key") in refusal(cert, tmp_path / "none.key")
    assert "holds no certificate" in refusal(key, key)
    no_key = tmp_path / "certificate.key"
    no_key.touch(0o600)
    no_key.write_bytes(cert.read_bytes())
    assert refusal(cert, no_key).startswith(f"{no_key}: holds no private key")


def test_a_key_of_another_certificate(authority: Authority) -> None:
    cert, _ = authority.issue("mine.test")
    _, other = authority.issue("theirs.test")
    assert refusal(cert, other).startswith(f"{other}: is the key of another certificate than {cert}")


def test_swapped_pair_is_not_advised_to_hide_its_certificate(authority: Authority) -> None:
    cert, key = authority.issue("swapped.test")
    with pytest.raises(CertificateError, match=f"^{key}: holds no certificate"):
        read_pair(key, cert)


def test_a_key_that_everybody_can_read(authority: Authority) -> None:
    cert, key = authority.issue("open.test")
    for mode in (0o644, 0o444, 0o604, 0o602, 0o666):
        key.chmod(mode)
        assert f"chmod 600 {key}" in refusal(cert, key)
        assert "mounted secret set the mode 0440 (defaultMode and fsGroup in Kubernetes)" in refusal(cert, key)
    for mode in (0o600, 0o400, 0o640, 0o440, 0o660):
        key.chmod(mode)
        assert read_pair(cert, key)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for other accounts")
def test_a_mounted_secret_is_read_by_its_group(authority: Authority) -> None:
    """As Kubernetes mounts one with defaultMode 0440 and fsGroup: files of root and of the group, behind links."""
    cert, key = authority.issue("mounted.test")
    with tempfile.TemporaryDirectory() as name:
        mount = Path(name)
        mount.chmod(0o755)
        (mount / "..2026").mkdir()
        (mount / "..data").symlink_to("..2026")
        for source in (cert, key):
            file = mount / "..2026" / source.name
            file.write_bytes(source.read_bytes())
            file.chmod(0o440)
            os.chown(file, 0, 10001)
            (mount / source.name).symlink_to(f"..data/{source.name}")
        reader = os.fork()
        if not reader:
            os.setgroups([10001])
            os.setgid(10001)
            os.setuid(10001)
            os._exit(0 if read_pair(mount / cert.name, mount / key.name).names == ("mounted.test",) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(reader, 0)[1]) == 0


def test_a_key_behind_a_password(authority: Authority) -> None:
    cert, key = authority.issue("locked.test")
    secret = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    )
    assert "is encrypted" in refusal(cert, key)


def test_a_chain_in_the_wrong_order(authority: Authority) -> None:
    cert, key = authority.issue("order.test")
    cert.write_bytes(authority.file.read_bytes() + cert.read_bytes())
    assert "put it first" in refusal(cert, key)


def test_a_chain_keeps_its_authorities(authority: Authority) -> None:
    cert, key = authority.issue("chain.test")
    cert.write_bytes(cert.read_bytes() + authority.file.read_bytes())
    assert read_pair(cert, key).chain.count(b"BEGIN CERTIFICATE") == 2


@pytest.mark.component("openssl")
def test_a_key_that_is_too_weak(tmp_path: Path) -> None:
    cert, key = tmp_path / "weak.crt", tmp_path / "weak.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-keyout", key, "-out", cert, "-subj", "/CN=weak"],
        check=True,
        capture_output=True,
    )
    key.chmod(0o600)
    assert "OpenSSL refuses it" in refusal(cert, key)


def test_dates_that_worry(authority: Authority) -> None:
    def worry(begins: float, ends: float, *, renewed: bool = False) -> str:
        cert, key = authority.issue(
            "dates.test", begins=datetime.timedelta(days=begins), ends=datetime.timedelta(days=ends)
        )
        return expiry_warning(read_pair(cert, key), time.time(), renewed=renewed)

    assert worry(-30, 60) == ""
    assert "expires on" in worry(-80, 10)
    assert worry(-80, 10, renewed=True) == ""
    assert worry(-1, 6) == ""  # one that never lasts long
    assert re.search(r"dates.test expired on \d{4}-", worry(-80, -1, renewed=True))
    assert "not valid yet" in worry(3, 60)


def test_a_self_signed_certificate_serves(tmp_path: Path) -> None:
    pair = self_signed(("localhost", "127.0.0.1", "::1"))
    assert pair.names == ("localhost", "127.0.0.1", "::1")
    assert pair.expires - time.time() > 300 * DAY
    TlsContexts().install(CertificateSet((pair,)))
    file = tmp_path / "joined.pem"
    write_private(file, pair.key + pair.chain)
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_joined(file).names == pair.names
    assert list(tmp_path.iterdir()) == [file]
    TlsContexts().install(CertificateSet((read_joined(file),)))


def test_a_file_that_the_gateway_did_not_write(tmp_path: Path) -> None:
    file = tmp_path / "joined.pem"
    file.write_bytes(pem_of(new_key()))
    with pytest.raises(CertificateError, match="remove it"):
        read_joined(file)
    with pytest.raises(CertificateError, match="holds no certificate"):
        read_authorities(file)

"""Certificates made on the spot."""

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, authority: bool) -> x509.KeyUsage:
    unused = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
         "decipher_only"), False)  # fmt: skip
    return x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **unused)


def pem_of_key(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class Authority:
    """A certificate authority that exists in memory, below `issuer` or on its own; `file` is its certificate."""

    def __init__(self, directory: Path, name: str = "test authority", issuer: "Authority | None" = None) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        certificate = (issuer or self)._sign(self._name, self._key, [], -DAY, 30 * DAY, authority=True)
        self.file = directory / f"{name.replace(' ', '-')}.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
        names: Sequence[str],
        begins: datetime.timedelta,
        ends: datetime.timedelta,
        *,
        authority: bool,
        extensions: Sequence[x509.ExtensionType] = (),
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(_usage(authority=authority), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False
            )
        return builder.sign(self._key, hashes.SHA256())

    def issue(
        self,
        *names: str,
        file: str = "",
        begins: datetime.timedelta = -DAY,
        ends: datetime.timedelta = 20 * DAY,
        curve: ec.EllipticCurve | None = None,
        rsa_bits: int = 0,
        extensions: Sequence[x509.ExtensionType] = (),
    ) -> tuple[Path, Path]:
        """Files with a certificate for these names and with its key."""
        ecdsa = ec.generate_private_key(curve or ec.SECP256R1())
        key = rsa.generate_private_key(65537, rsa_bits) if rsa_bits else ecdsa
        certificate = self._sign(_name(names[0]), key, names, begins, ends, authority=False, extensions=extensions)
        stem = file or names[0].replace("*", "any")
        chain, secret = self._directory / f"{stem}.crt", self._directory / f"{stem}.key"
        chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        secret.touch(0o600)
        secret.write_bytes(pem_of_key(key))
        return chain, secret

    def trust(self) -> ssl.SSLContext:
        """A client's context that trusts this authority alone."""
        return ssl.create_default_context(cafile=str(self.file))

"""Certificates and keys as files: read, checked, made."""

import datetime
import ipaddress
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, PublicKeyAlgorithmOID

from proxy.net.certificate_set import CertificateSet, KeyPair
from proxy.net.tls_contexts import context_of
from proxy.settings.values.files import read_file

DAY = 86400
_LARGEST = 1 << 20  # bytes of a file
_SELF_SIGNED_DAYS = 365
_KEY = re.compile(rb"-----BEGIN ((?:[A-Z]+ )*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)
_ALGORITHMS = {
    PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5: "RSA",
    PublicKeyAlgorithmOID.RSASSA_PSS: "RSA-PSS",
    PublicKeyAlgorithmOID.EC_PUBLIC_KEY: "ECDSA",
    PublicKeyAlgorithmOID.ED25519: "Ed25519",
    PublicKeyAlgorithmOID.ED448: "Ed448",
}


class CertificateError(ValueError):
    """A file that cannot serve; the text names it, what is wrong and the fix."""


def read_pair(cert: Path, key: Path) -> KeyPair:
    """A certificate chain and its key, checked to belong together. Raises `CertificateError`."""
    chain = _read(cert)
    secret = _read(key)
    certificates = _certificates(chain, cert)
    private = _private_key(secret, key)
    mode = key.stat().st_mode
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise CertificateError(
            f"{key}: all users of this machine can read or change this key; chmod 600 {key}, or 640 with the group of "
            "the gateway's account; of a mounted secret set the mode 0440 (defaultMode and fsGroup in Kubernetes)"
        )
    owners = [index for index, one in enumerate(certificates) if _belong(private, one)]
    if not owners:
        raise CertificateError(
            f"{key}: is the key of another certificate than {cert}; name the pair that was made together"
        )
    if owners[0]:
        raise CertificateError(
            f"{cert}: its certificate {owners[0] + 1} is the one of the key; put it first, the authorities behind it"
        )
    try:
        pair = describe(_pem(certificates), _key_alone(secret), str(cert))
        context_of(pair, CertificateSet())
    except ValueError as error:
        raise CertificateError(f"{cert}: its certificate is malformed: {error}") from None
    except OSError as error:
        raise CertificateError(f"{cert}: OpenSSL refuses it: {error}") from None
    return pair


def read_joined(path: Path) -> KeyPair:
    """A key and its chain in one file, which the gateway wrote itself. Raises `CertificateError`."""
    content = _read(path)
    try:
        private = _private_key(content, path)
        pair = describe(content, b"", str(path))
    except ValueError:
        raise CertificateError(f"{path}: is not what the gateway wrote; remove it") from None
    if not _belong(private, x509.load_pem_x509_certificate(content)):
        raise CertificateError(f"{path}: its key is that of another certificate; remove it")
    return pair


def read_authorities(path: Path) -> str:
    """Certificates of authorities, as PEM text without what else is in the file. Raises `CertificateError`."""
    return _pem(_certificates(_read(path), path)).decode("ascii")


def _belong(private: CertificateIssuerPrivateKeyTypes, certificate: x509.Certificate) -> bool:
    try:
        return certificate.public_key() == private.public_key()
    except (ValueError, UnsupportedAlgorithm):  # a key on a curve, or of an algorithm, that is not supported here
        return False


def _pem(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def _key_alone(secret: bytes) -> bytes:
    """A key without what else is in its file, such as its certificate."""
    found = _KEY.search(secret)
    return found[0] + b"\n" if found else secret


def _certificates(content: bytes, path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise CertificateError(f"{path}: holds no certificate in PEM (-----BEGIN CERTIFICATE-----)") from None


def _read(path: Path) -> bytes:
    try:
        return read_file(path, _LARGEST)
    except ValueError as problem:
        raise CertificateError(f"{path}: {problem}") from None


def _private_key(secret: bytes, path: Path) -> CertificateIssuerPrivateKeyTypes:
    try:
        private = serialization.load_pem_private_key(secret, None)
    except TypeError:
        raise CertificateError(
            f"{path}: the key is encrypted, and its password cannot be asked for; "
            f"openssl pkey -in {path} -out a file of its own"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(f"{path}: holds no private key in PEM (-----BEGIN PRIVATE KEY-----)") from None
    return private  # type: ignore[return-value]


def describe(chain: bytes, key: bytes, file: str = "") -> KeyPair:
    """A pair that belongs together, with the names and dates of its first certificate."""
    leaf = x509.load_pem_x509_certificates(chain)[0]
    begins, expires = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    return KeyPair(
        chain, key, _names(leaf), int(begins.timestamp()), int(expires.timestamp()), _algorithm(leaf), file=file
    )


def _algorithm(leaf: x509.Certificate) -> str:
    """What the key's signatures are made with: OpenSSL holds one certificate for each."""
    return _ALGORITHMS.get(leaf.public_key_algorithm_oid, "other")


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    """The names a certificate is for, as SNI spells them; addresses behind them."""
    try:
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        common = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(str(one.value).lower() for one in common)
    names = [name.lower() for name in alternatives.get_values_for_type(x509.DNSName)]
    return (*names, *map(str, alternatives.get_values_for_type(x509.IPAddress)))


def expiry_warning(pair: KeyPair, now: float, *, renewed: bool) -> str:
    """What is wrong with the dates of a pair, "" for nothing; `renewed` says that it is renewed automatically."""
    until = datetime.datetime.fromtimestamp(pair.expires, datetime.UTC).date()
    if pair.expires <= now:
        return f"the certificate for {pair.name} expired on {until}; clients refuse it: replace it"
    if pair.begins > now + DAY:
        return f"the certificate for {pair.name} is not valid yet; is this machine's clock right?"
    if pair.expires - now < 14 * DAY and not renewed and pair.expires - pair.begins > 30 * DAY:
        return f"the certificate for {pair.name} expires on {until}; renew it"
    return ""


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key whose signatures cost a server little (P-256)."""
    return ec.generate_private_key(ec.SECP256R1())


def pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def self_signed(
    names: Sequence[str], days: int = _SELF_SIGNED_DAYS, extensions: Iterable[tuple[x509.ExtensionType, bool]] = ()
) -> KeyPair:
    """A self-signed certificate; names may be addresses. `extensions` come with "critical"."""
    key = new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(key, hashes.SHA256())
    return describe(certificate.public_bytes(serialization.Encoding.PEM), pem_of(key))


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)

"""Certificates of clients as fields for the upstream."""

import base64
import datetime
import ssl
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from proxy.net.client_certificate import CERTIFICATE_FIELDS, ClientCertificate
from proxy.settings.values import field_lines
from tests.proxy.authority import DAY

NAMES = field_lines.CERTIFICATE_FIELDS


def made(common_name: str) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Shop"),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
    ]
    name = x509.Name(attributes)
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    return builder.serial_number(0xABC).not_valid_before(now).not_valid_after(now + DAY).sign(key, hashes.SHA256())


def fields(certificate: ClientCertificate) -> dict[str, str]:
    lines = certificate.lines(NAMES).decode("ascii").split("\r\n")
    assert lines.pop() == ""
    return dict(line.split(": ", 1) for line in lines)


def test_settings_name_the_fields_that_there_are() -> None:
    assert tuple(CERTIFICATE_FIELDS) == NAMES


def test_a_certificate_is_told_in_every_form() -> None:
    one = made("ann")
    der = one.public_bytes(Encoding.DER)
    found = fields(ClientCertificate(der))
    assert tuple(found) == NAMES
    assert base64.b64decode(found["Client-Cert"].strip(":")) == der
    assert ssl.PEM_cert_to_DER_cert(unquote(found["X-SSL-Client-Cert"])) == der
    assert found["X-SSL-Client-Fingerprint"] == one.fingerprint(hashes.SHA1()).hex()
    del found["Client-Cert"], found["X-SSL-Client-Cert"], found["X-SSL-Client-Fingerprint"]
    name = "CN=ann,O=Shop"
    assert list(found.values()) == ["SUCCESS", name, name, "ABC"]


def test_a_name_cannot_leave_its_field() -> None:
    subject = ClientCertificate(made('a\r\nX-Admin: 1,O=b"ü\0').public_bytes(Encoding.DER)).subject
    assert subject == b'CN=a\\0D\\0AX-Admin: 1\\,O=b\\"\\C3\\BC\\00,O=Shop'


def test_a_client_without_a_certificate_has_none() -> None:
    nobody = ClientCertificate(None)
    assert (nobody.subject, nobody.lines(NAMES)) == (b"", b"X-SSL-Client-Verify: NONE\r\n")
    assert nobody.lines(("Client-Cert",)) == b""


def test_an_unreadable_certificate_has_no_name() -> None:
    strange = ClientCertificate(b"0\x00")
    assert (strange.subject, strange.lines(NAMES)) == (b"", b"X-SSL-Client-Verify: SUCCESS\r\n")
    assert strange.lines(("Client-Cert",)) == b""

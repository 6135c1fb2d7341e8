"""What an authority says about when to renew a certificate (ACME renewal information, RFC 9773)."""

import base64
import random
import time
from datetime import datetime

import requests
from acme import messages
from cryptography import x509

from proxy.acme.account import Authority, asking
from proxy.acme.network import retry_after
from proxy.acme.state import LONGEST_SILENCE, State, Suggestion, digest

_LEAST_SILENCE = 60.0
_SILENCE = 6 * 3600.0
"""Seconds until the authority is asked again; section 4.3.2 has them where it names none itself."""


def identifier(certificate: x509.Certificate) -> str:
    """What the authority calls a certificate (section 4.1), "" for one that no authority's key is named in."""
    try:
        issuer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return ""
    serial = certificate.serial_number
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")  # DER: the first bit is the sign
    return f"{_base64url(issuer)}.{_base64url(octets)}" if issuer else ""


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def ask_when_to_renew(authority: Authority, state: State, domain: str) -> None:
    """Ask when to renew the certificate of a domain, and keep the answer.

    An authority that offers no such information, or does not answer, is asked again after some hours; what it said
    before stays in force meanwhile. Raises `NotObtained`, and `OSError` if nothing can be kept.
    """
    pair, now = state.pair(domain), time.time()
    if pair is None:
        return
    before = state.suggestion(domain, pair).at
    state.note_suggestion(domain, Suggestion(digest(pair), before, now, now + _SILENCE))
    name = identifier(x509.load_pem_x509_certificate(pair.chain))
    with asking(authority) as network:
        base = network.get(authority.directory).json().get("renewalInfo")
        if not name or not isinstance(base, str):
            return
        answer = network.get(f"{base}/{name}")
        suggestion = Suggestion(digest(pair), _chosen(answer, before), now, now + _silence(answer, now))
    state.note_suggestion(domain, suggestion)


def _chosen(answer: requests.Response, before: float) -> float:
    """A moment in the suggested window, at random, so that not all clients come at once; the one `before` if it is in
    the window still. Raises `ValueError` for a window without an extent (section 4.2)."""
    window = messages.RenewalInfo.from_json(answer.json()).suggested_window
    begin, end = _seconds(window.start), _seconds(window.end)
    if begin >= end:
        raise ValueError("the suggested window for the renewal ends before it begins")
    return before if begin <= before <= end else random.uniform(begin, end)  # noqa: S311 - not a secret


def _seconds(moment: datetime | None) -> float:
    if moment is None:
        raise ValueError("the suggested window for the renewal lacks an end")
    return moment.timestamp()


def _silence(answer: requests.Response, now: float) -> float:
    asked = retry_after(answer.headers.get("Retry-After", ""), now) or _SILENCE
    return min(max(asked, _LEAST_SILENCE), LONGEST_SILENCE)

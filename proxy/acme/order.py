"""Obtaining one certificate from an authority. Everything here blocks: it runs in a thread of its own."""

import datetime
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import requests
from acme import challenges, client, crypto_util, messages
from acme import errors as acme_errors
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from josepy import errors as jose_errors
from josepy.jwk import JWK, JWKEC
from josepy.util import ComparableECKey

from proxy.acme.network import Network
from proxy.acme.state import State
from proxy.log import log
from proxy.net import certificates
from proxy.net.private_file import write_private

TLS_ALPN_01 = "tls-alpn-01"

_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # RFC 8737 section 6.1
_OCTET_STRING = b"\x04\x20"  # DER: an octet string of 32 bytes follows
_DEADLINE = datetime.timedelta(seconds=90)
_POLL = 1.0  # seconds
_FAULTS = (
    acme_errors.Error, messages.Error, requests.RequestException, jose_errors.Error, OSError, ValueError, KeyError,
)  # fmt: skip

_LONGEST_REASON = 1000  # characters of an authority's message

_GONE = ("accountDoesNotExist", "unauthorized")
"""Error types for an account that the authority does not know or has deactivated (RFC 8555 section 7.3.6)."""

_FIXES = {
    "externalAccountRequired": "; external account binding is not supported, choose another acme_directory",
    "invalidContact": "; set acme to another address",
    "unsupportedContact": "; set acme to another address",
}


class NotObtained(Exception):  # noqa: N818 - names what happened
    """The authority issued no certificate; the text says why, in the authority's words if it gave any.

    `wait`: seconds that it asked us to wait; `challenge`: it could not validate control of the name.
    """

    def __init__(self, reason: str, *, wait: float = 0.0, challenge: bool = False) -> None:
        super().__init__("".join(letter if letter.isprintable() else " " for letter in reason[:_LONGEST_REASON]))
        self.wait = wait
        self.challenge = challenge


@dataclass(frozen=True, slots=True)
class Authority:
    """An ACME server: its directory, the CA certificates (PEM) of its own certificate, and our contact address."""

    directory: str
    ca: Path | None
    email: str
    agent: str


@challenges.ChallengeResponse.register
class TlsAlpn01Response(challenges.KeyAuthorizationChallengeResponse):
    """The response that tells the authority to validate the challenge."""

    typ = TLS_ALPN_01


@challenges.Challenge.register
class TlsAlpn01(challenges.KeyAuthorizationChallenge):
    """The challenge that is validated in a TLS handshake (RFC 8737)."""

    response_cls = TlsAlpn01Response
    typ = TLS_ALPN_01

    def validation(self, account_key: JWK, **kwargs: Any) -> bytes:
        """Key and certificate (PEM) for the handshake that validates `domain`."""
        digest = hashlib.sha256(self.key_authorization(account_key).encode()).digest()
        proof = x509.UnrecognizedExtension(_ACME_IDENTIFIER, _OCTET_STRING + digest)
        pair = certificates.self_signed((kwargs["domain"],), days=2, extensions=[(proof, True)])
        return pair.key + pair.chain


def register(authority: Authority, state: State) -> None:
    """Ensure that an account exists with our contact address. Raises `NotObtained`."""
    with _asking(authority) as network:
        state.make()
        _account(authority, state, network)


def obtain(authority: Authority, state: State, domain: str, kinds: Sequence[str]) -> None:
    """Obtain a certificate for a domain with the existing account, and store it.

    `kinds` are the challenges that can be met, best first. Raises `NotObtained`.
    """
    with _asking(authority) as network:
        account = _account(authority, state, network)
        key = certificates.new_key()
        order = account.new_order(crypto_util.make_csr(certificates.pem_of(key), domains=[domain]))
        with ExitStack() as pending:
            for authorization in order.authorizations:
                if authorization.body.status != messages.STATUS_VALID:
                    challenge = _chosen(authorization, kinds)
                    _answer(account, state, pending, domain, challenge)
                    _await(account, authorization, challenge)
        deadline = datetime.datetime.now() + _DEADLINE  # noqa: DTZ005 - the library compares local times
        done = account.finalize_order(order, deadline)
        chain = done.fullchain_pem.encode("ascii")
        _check(key, chain, domain)
        write_private(state.certificate(domain), certificates.pem_of(key) + chain)


@contextmanager
def _asking(authority: Authority) -> Iterator[Network]:
    """Turn everything that can go wrong with an authority into `NotObtained`."""
    network = Network(authority.agent, authority.ca)
    try:
        yield network
    except _FAULTS as error:
        fix = _FIXES.get(error.code or "", "") if isinstance(error, messages.Error) else ""
        raise NotObtained(f"{type(error).__name__}: {error}{fix}", wait=network.wait) from error


def _account(authority: Authority, state: State, network: Network) -> client.ClientV2:
    """A client with an account, created at first use, and again if the authority no longer knows it."""
    account = client.ClientV2(client.ClientV2.get_directory(authority.directory, network), network)
    known = _known_account(state)
    if known is not None:
        network.key = known.key
        try:
            account.query_registration(messages.RegistrationResource(uri=known.uri, body=messages.Registration()))
        except messages.Error as error:
            if error.code not in _GONE:
                raise
            log.warning("ACME account in %s is no longer valid: %s; creating a new one", state.account, error)
        else:
            if known.contact != authority.email:
                _tell_contact(account, authority, state, known)
            return account
    network.account = None
    network.key = JWKEC(key=ComparableECKey(ec.generate_private_key(ec.SECP256R1())))
    made = account.new_account(messages.NewRegistration.from_data(email=authority.email, terms_of_service_agreed=True))
    _keep(state, _Known(network.key, made.uri, authority.email))
    return account


def _tell_contact(account: client.ClientV2, authority: Authority, state: State, known: "_Known") -> None:
    """Change the account's contact address; certificates do not depend on it."""
    registration = messages.RegistrationResource(uri=known.uri, body=messages.Registration())
    try:
        account.update_registration(registration, messages.Registration.from_data(email=authority.email))
    except messages.Error as error:
        log.warning("contact address still %s, not %s: %s", known.contact or "?", authority.email, error)
    else:
        _keep(state, replace(known, contact=authority.email))


@dataclass(frozen=True, slots=True)
class _Known:
    """An account: its key, its URL, its contact address."""

    key: JWKEC
    uri: str
    contact: str


def _keep(state: State, known: _Known) -> None:
    content = json.dumps({"key": known.key.to_json(), "uri": known.uri, "contact": known.contact})
    write_private(state.account, content.encode())


def _known_account(state: State) -> _Known | None:
    try:
        stored = state.known_account()
        key = JWKEC.from_json(stored["key"])
        assert isinstance(key, JWKEC)
        return _Known(key, str(stored["uri"]), str(stored.get("contact", "")))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AssertionError, jose_errors.Error):
        log.warning("cannot read %s; creating a new ACME account", state.account)
        return None


def _chosen(authorization: messages.AuthorizationResource, kinds: Sequence[str]) -> messages.ChallengeBody:
    offered = {body.chall.typ: body for body in authorization.body.challenges if hasattr(body.chall, "typ")}
    for kind in kinds:
        if kind in offered:
            return offered[kind]
    raise NotObtained(
        f"no usable challenge: the authority offers {', '.join(offered) or 'none'}; "
        f"this gateway can meet {', '.join(kinds)}"
    )


def _answer(
    account: client.ClientV2, state: State, pending: ExitStack, domain: str, challenge: messages.ChallengeBody
) -> None:
    """Publish the challenge response for all workers, then tell the authority to validate it."""
    key = account.net.key
    assert key is not None
    if isinstance(challenge.chall, TlsAlpn01):
        content = challenge.chall.validation(key, domain=domain)
        pending.enter_context(state.challenge(state.validation(domain).name, content))
    else:
        name = challenge.chall.encode("token")
        pending.enter_context(state.challenge(name, challenge.chall.key_authorization(key).encode()))
    account.answer_challenge(challenge, challenge.chall.response(key))


def _await(
    account: client.ClientV2, authorization: messages.AuthorizationResource, challenge: messages.ChallengeBody
) -> None:
    """Return when the authority has validated the challenge. Raises `NotObtained` when it fails or never finishes.

    A challenge that failed ends the wait whatever the authorization says: some authorities leave it pending.
    """
    end = monotonic() + _DEADLINE.total_seconds()
    while monotonic() < end:
        authorization, _ = account.poll(authorization)
        state = authorization.body.status
        if state == messages.STATUS_VALID:
            return
        for body in authorization.body.challenges:
            failed = body.status == messages.STATUS_INVALID or (body.error and body.status == messages.STATUS_PENDING)
            if body.uri == challenge.uri and failed:
                said = body.error and (body.error.detail or body.error.typ)
                raise NotObtained(f"{challenge.chall.typ}: {said or 'failed'}", challenge=True)
        if state != messages.STATUS_PENDING:
            raise NotObtained(f"{challenge.chall.typ}: authorization is {state.name}", challenge=True)
        sleep(_POLL)
    said = f"no result from the authority within {_DEADLINE.total_seconds():.0f} s"
    raise NotObtained(f"{challenge.chall.typ}: {said}", challenge=True)


def _check(key: ec.EllipticCurvePrivateKey, chain: bytes, domain: str) -> None:
    leaf = x509.load_pem_x509_certificates(chain)[0]
    if leaf.public_key() != key.public_key():
        raise NotObtained("the certificate is for another key")
    if domain not in certificates.describe(chain, b"").names:
        raise NotObtained("the certificate is for another name")

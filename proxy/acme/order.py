"""Obtaining one certificate from an authority. Everything here blocks: it runs in a thread of its own."""

import datetime
import hashlib
import ipaddress
from collections.abc import Sequence
from contextlib import AbstractContextManager
from time import monotonic, sleep, time
from typing import Any

import requests
from acme import challenges, client, crypto_util, messages
from acme import errors as acme_errors
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.json_util import field
from josepy.jwk import JWK

from proxy.acme.account import Authority, NotObtained, asking, open_account
from proxy.acme.dns import DnsChallenges
from proxy.acme.network import retry_after
from proxy.acme.renewal_info import identifier
from proxy.acme.state import State
from proxy.net import certificates
from proxy.net.private_file import write_private

TLS_ALPN_01 = "tls-alpn-01"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # RFC 8737 section 6.1
_OCTET_STRING = b"\x04\x20"  # DER: an octet string of 32 bytes follows
_DEADLINE = datetime.timedelta(seconds=90)
_POLL = 1.0  # seconds
_MOST_AUTHORIZATIONS = 4  # authorities want one for each name; each may take until the deadline


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


class _NewOrder(messages.NewOrder):
    """An order that may say which certificate it `replaces` (RFC 9773 section 5)."""

    replaces: str | None = field("replaces", omitempty=True)


_CANNOT_REPLACE = ("alreadyReplaced", "malformed", "unauthorized")
"""Error types for an order that names a certificate which is replaced already, or is not this account's."""


def obtain(
    authority: Authority, state: State, domain: str, kinds: Sequence[str], dns: DnsChallenges | None = None
) -> None:
    """Obtain a certificate for a domain with the existing account, and store it.

    `domain` is a host name, a wildcard or an address (RFC 8738). `kinds` are the challenges that can be met, best
    first; `dns` says how one through DNS is. Raises `NotObtained`.
    """
    with asking(authority) as network:
        account = open_account(authority, state, network)
        key = certificates.new_key()
        order = _ordered(account, authority, state, domain, _request(key, domain))
        for authorization in order.authorizations:
            if authorization.body.status != messages.STATUS_VALID:
                challenge = _chosen(authorization, kinds)
                with _published(account, state, dns, authorization.body.identifier.value, challenge):
                    account.answer_challenge(challenge, challenge.chall.response(account.net.key))
                    _await(account, authorization, challenge)
        deadline = datetime.datetime.now() + _DEADLINE  # noqa: DTZ005 - the library compares local times
        done = account.finalize_order(order, deadline)
        chain = done.fullchain_pem.encode("ascii")
        _check(key, chain, domain)
        write_private(state.certificate(domain), certificates.pem_of(key) + chain)


def _address(domain: str) -> Address | None:
    try:
        return ipaddress.ip_address(domain)
    except ValueError:
        return None


def _request(key: ec.EllipticCurvePrivateKey, domain: str) -> bytes:
    address = _address(domain)
    if address is not None:
        return crypto_util.make_csr(certificates.pem_of(key), ipaddrs=[address])
    return crypto_util.make_csr(certificates.pem_of(key), [domain])


def _ordered(
    account: client.ClientV2, authority: Authority, state: State, domain: str, csr: bytes
) -> messages.OrderResource:
    """Place an order, with the profile of the authority and the certificate that this one is to replace."""
    kind = messages.IDENTIFIER_FQDN if _address(domain) is None else messages.IDENTIFIER_IP
    wanted = {
        "identifiers": [messages.Identifier(typ=kind, value=domain)],
        "profile": _profile(authority, account.directory),
    }
    replaces = _predecessor(state, domain) if "renewalInfo" in account.directory.to_partial_json() else ""
    try:
        response = _post(account, account.directory["newOrder"], _NewOrder(**wanted, replaces=replaces))
    except (acme_errors.ConflictError, messages.Error) as error:
        if not replaces or (isinstance(error, messages.Error) and error.code not in _CANNOT_REPLACE):
            raise
        response = _post(account, account.directory["newOrder"], _NewOrder(**wanted))
    body = messages.Order.from_json(response.json())
    if len(body.authorizations) > _MOST_AUTHORIZATIONS:
        raise NotObtained(f"the authority wants {len(body.authorizations)} authorizations for one name; choose another")
    authorizations = [
        messages.AuthorizationResource(body=messages.Authorization.from_json(_post(account, url, None).json()), uri=url)
        for url in body.authorizations
    ]
    return messages.OrderResource(
        body=body, uri=response.headers["Location"], authorizations=authorizations, csr_pem=csr
    )


def _post(account: client.ClientV2, url: str, body: messages.ResourceBody | None) -> requests.Response:
    return account.net.post(url, body, new_nonce_url=account.directory["newNonce"])


def _profile(authority: Authority, directory: messages.Directory) -> str:
    """The profile to order. Raises `NotObtained` for one that the authority does not offer."""
    offered = directory.meta.profiles or {}
    if authority.profile and authority.profile not in offered:
        raise NotObtained(
            f"profile {authority.profile}: the authority offers {', '.join(sorted(offered)) or 'no profiles'}; "
            "change acme_profile"
        )
    return authority.profile


def _predecessor(state: State, domain: str) -> str:
    """The certificate that is stored for a domain, as its authority calls it; "" without one."""
    try:
        return identifier(x509.load_pem_x509_certificate(state.certificate(domain).read_bytes()))
    except (OSError, ValueError):
        return ""


def _chosen(authorization: messages.AuthorizationResource, kinds: Sequence[str]) -> messages.ChallengeBody:
    offered = {body.chall.typ: body for body in authorization.body.challenges if hasattr(body.chall, "typ")}
    for kind in kinds:
        if kind in offered:
            return offered[kind]
    raise NotObtained(
        f"no usable challenge: the authority offers {', '.join(offered) or 'none'}; "
        f"this gateway can meet {', '.join(kinds)}"
    )


def _published(
    account: client.ClientV2, state: State, dns: DnsChallenges | None, name: str, challenge: messages.ChallengeBody
) -> AbstractContextManager[None]:
    """Keep the response to a challenge for as long as the block takes: for all workers, or as a DNS record.

    `name` is the identifier that the authority validates: of a wildcard the domain.
    """
    key = account.net.key
    assert key is not None
    if isinstance(challenge.chall, challenges.DNS01):
        assert dns is not None
        return dns.record(challenge.chall.validation_domain_name(name), challenge.chall.validation(key))
    if isinstance(challenge.chall, TlsAlpn01):
        address = _address(name)
        asked_for = name if address is None else address.reverse_pointer  # RFC 8738 section 6
        content = challenge.chall.validation(key, domain=name)
        return state.challenge(state.validation(asked_for).name, content)
    content = challenge.chall.key_authorization(key).encode()
    return state.challenge(challenge.chall.encode("token"), content)


def _await(
    account: client.ClientV2, authorization: messages.AuthorizationResource, challenge: messages.ChallengeBody
) -> None:
    """Return when the authority has validated the challenge. Raises `NotObtained` when it fails or never finishes.

    A challenge that failed ends the wait whatever the authorization says: some authorities leave it pending.
    """
    end = monotonic() + _DEADLINE.total_seconds()
    while monotonic() < end:
        authorization, response = account.poll(authorization)
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
        asked = retry_after(response.headers.get("Retry-After", ""), time())
        sleep(max(0.0, min(max(_POLL, asked), end - monotonic())))
    said = f"no result from the authority within {_DEADLINE.total_seconds():.0f} s"
    raise NotObtained(f"{challenge.chall.typ}: {said}", challenge=True)


def _check(key: ec.EllipticCurvePrivateKey, chain: bytes, domain: str) -> None:
    leaf = x509.load_pem_x509_certificates(chain)[0]
    if leaf.public_key() != key.public_key():
        raise NotObtained("the certificate is for another key")
    if domain not in certificates.describe(chain, b"").names:
        raise NotObtained("the certificate is for another name")

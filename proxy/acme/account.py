"""An authority and our account with it. Everything here blocks: it runs in a thread of its own."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from acme import client, messages
from cryptography.hazmat.primitives.asymmetric import ec
from josepy import errors as jose_errors
from josepy.jwk import JWKEC
from josepy.util import ComparableECKey

from proxy.acme.network import Network
from proxy.acme.state import State
from proxy.log import log
from proxy.net.private_file import write_private

_LONGEST_REASON = 1000  # characters of an authority's message

_GONE = ("accountDoesNotExist", "unauthorized")
"""Error types for an account that the authority does not know or has deactivated (RFC 8555 section 7.3.6)."""

_OF_VALIDATION = ("caa", "connection", "dns", "incorrectResponse", "tls")
"""Error types for a name that could not be validated (RFC 8555 section 6.7). Some authorities do not keep them with the
challenge, but send them in a response."""

_FIXES = {
    "externalAccountRequired": (
        "; set acme_eab_kid and acme_eab_key_file to what the authority gives its customers, or choose another "
        "acme_directory"
    ),
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
    """An ACME server: its directory, the CA certificates (PEM) of its own certificate, and what it learns of us.

    `email` is our contact address, `agent` our user agent. `eab_kid` and `eab_key` (base64url) bind the account to one
    of the authority's customers (RFC 8555 section 7.3.4); `profile` is the kind of certificate to ask for, "" for the
    authority's default.
    """

    directory: str
    ca: Path | None
    email: str
    agent: str
    eab_kid: str = ""
    eab_key: str = field(default="", repr=False)
    profile: str = ""


def register(authority: Authority, state: State) -> None:
    """Ensure that an account exists with our contact address. Raises `NotObtained`."""
    with asking(authority) as network:
        state.make()
        with state.account_lock():  # orders of several workers, on demand, have one account
            open_account(authority, state, network)


@contextmanager
def asking(authority: Authority) -> Iterator[Network]:
    """Turn everything that can go wrong with an authority into `NotObtained`."""
    network = Network(authority.agent, authority.ca)
    try:
        yield network
    except NotObtained:
        raise
    except Exception as error:  # the libraries fail anywhere on documents that are not of the standard's form
        code = (error.code or "") if isinstance(error, messages.Error) else ""
        reason = f"{type(error).__name__}: {error}{_FIXES.get(code, '')}"
        raise NotObtained(reason, wait=network.wait, challenge=code in _OF_VALIDATION) from error


def open_account(authority: Authority, state: State, network: Network) -> client.ClientV2:
    """A client with an account, created at first use, and again if the authority no longer knows it or the settings
    bind it to another customer."""
    account = client.ClientV2(client.ClientV2.get_directory(authority.directory, network), network)
    known = _known_account(state)
    if known is not None and known.eab_kid == authority.eab_kid:
        network.key = known.key
        try:
            account.query_registration(messages.RegistrationResource(uri=known.uri, body=messages.Registration()))
        except messages.Error as error:
            if error.code not in _GONE:
                raise
            log.warning("ACME account in %s is no longer valid: %s; creating a new one", state.account, error)
        else:
            if known.contact != authority.email:
                _change_contact(account, authority, state, known)
            return account
    network.account = None
    network.key = JWKEC(key=ComparableECKey(ec.generate_private_key(ec.SECP256R1())))
    made = account.new_account(
        messages.NewRegistration.from_data(
            email=authority.email,
            terms_of_service_agreed=True,
            external_account_binding=_binding(authority, account.directory, network.key),
        )
    )
    _keep(state, _Known(network.key, made.uri, authority.email, authority.eab_kid))
    return account


def _binding(authority: Authority, directory: messages.Directory, key: JWKEC) -> dict[str, object] | None:
    if not authority.eab_kid:
        return None
    return messages.ExternalAccountBinding.from_data(key.public_key(), authority.eab_kid, authority.eab_key, directory)


def _change_contact(account: client.ClientV2, authority: Authority, state: State, known: "_Known") -> None:
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
    """An account: its key, its URL, its contact address, and which of the authority's customers it is bound to."""

    key: JWKEC
    uri: str
    contact: str
    eab_kid: str = ""


def _keep(state: State, known: _Known) -> None:
    document = {"key": known.key.to_json(), "uri": known.uri, "contact": known.contact, "eab_kid": known.eab_kid}
    write_private(state.account, json.dumps(document).encode())


def _known_account(state: State) -> _Known | None:
    try:
        stored = state.known_account()
        key = JWKEC.from_json(stored["key"])
        assert isinstance(key, JWKEC)
        return _Known(key, str(stored["uri"]), str(stored.get("contact", "")), str(stored.get("eab_kid", "")))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AssertionError, jose_errors.Error):
        log.warning("cannot read %s; creating a new ACME account", state.account)
        return None

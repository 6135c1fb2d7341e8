"""What TLS connections that the gateway opens begin with, and what it means when one cannot be made.

A server proves by its certificate that it is the one that was asked for (RFC 9110 section 4.3.4): it must lead to an
authority that is trusted, be valid now and be for that name or address.
"""

import ssl
from typing import Final

from proxy.net.tls_contexts import load_pair
from proxy.settings.upstream_tls import UpstreamTls

_contexts: dict[tuple[UpstreamTls, tuple[str, ...]], ssl.SSLContext] = {}
_MOST_CONTEXTS: Final = 64
"""Reading the system's authorities takes some ten milliseconds: peers with the same files share a context."""


def client_context(tls: UpstreamTls, protocols: tuple[str, ...]) -> ssl.SSLContext:
    """A client's context that offers these protocols (ALPN). Raises `OSError` if OpenSSL refuses what it is given."""
    found = _contexts.get((tls, protocols))
    if found is not None:
        return found
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    # An authority in the file is trusted for what it is, be it a root, one below it, or the server's own certificate.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(list(protocols))
    if tls.authorities:
        context.load_verify_locations(cadata=tls.authorities)
    else:
        context.load_default_certs()
    if tls.chain:
        load_pair(context, tls.chain, tls.key)
    if len(_contexts) >= _MOST_CONTEXTS:
        _contexts.clear()
    _contexts[tls, protocols] = context
    return context


# OpenSSL's X509_V_ERR_ numbers, which Python has no names for.
_DATES: Final = (9, 10)
_NAMES: Final = (62, 64)
_CERTIFICATE_ALERTS: Final = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "UNKNOWN_CA", "CERTIFICATE_UNKNOWN")


def explained(error: OSError) -> str:
    """Why a server was not accepted, or did not accept the gateway, with the setting that fixes it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}; {_fix_of(error)}"
    reason = getattr(error, "reason", None) or ""  # only errors that OpenSSL itself has raised have one
    if "WRONG_VERSION_NUMBER" in reason or "PACKET_LENGTH" in reason or "RECORD_LAYER_FAILURE" in reason:
        return "it answers without TLS; write its address without https://, or h2c:// in place of h2://"
    if "NO_APPLICATION_PROTOCOL" in reason:
        return (
            "it takes no protocol that it is offered (ALPN); if it speaks HTTP/2 only, write h2:// in place of https://"
        )
    if "HANDSHAKE_FAILURE" in reason or any(alert in reason for alert in _CERTIFICATE_ALERTS):
        asked = "if it asks for a certificate, set upstream_cert and upstream_key"
        return f"it refused the handshake ({_words(reason)}); {asked}"
    return f"the TLS handshake failed ({_words(reason) or error.strerror or error})"


def _fix_of(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _DATES:
        return "renew it, or correct this machine's clock"
    if error.verify_code in _NAMES:
        return "set upstream_name to a name that it is for"
    return "set upstream_ca to the file of its authority, or of itself if it is self-signed"


def _words(reason: str) -> str:
    return reason.replace("_", " ").lower()

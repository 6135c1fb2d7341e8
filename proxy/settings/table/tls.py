"""TLS, HTTP/2 and certificates."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from proxy.settings.table.row import Setting, duration, fixed, routed
from proxy.settings.values import Address, field_lines, kinds, web
from proxy.settings.values.web import Rate

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"

_ORDERS = Rate(20, 60)
_NEW_NAMES = Rate(10, 60)


@dataclass(frozen=True, kw_only=True)
class Tls:
    """What the listeners with TLS use and offer."""

    __slots__ = ()
    GROUP: ClassVar = "TLS"

    tls_cert: Annotated[
        Path | None,
        Setting(
            kinds.PATH, "certificate chain (PEM) for the --bind addresses; add more as [[certificate]] in the file"
        ),
    ] = None
    tls_key: Annotated[Path | None, Setting(kinds.PATH, "private key (PEM) of that certificate")] = None
    tls: Annotated[str, Setting(kinds.TLS, "'self-signed': generate a certificate, for development")] = "off"
    tls_min: Annotated[str, Setting(kinds.TLS_VERSION, "oldest TLS version to accept")] = "1.2"
    tls_client_ca: Annotated[
        Path | None,
        Setting(
            kinds.PATH,
            "CA certificates (PEM), up to a self-signed root, that client certificates must chain to; the application "
            "is sent tls_client_fields",
        ),
    ] = None
    tls_client_auth: Annotated[
        str,
        Setting(
            kinds.CLIENT_AUTH,
            "whether clients must present a certificate if tls_client_ca is set; 'optional' rejects only invalid ones",
        ),
    ] = "required"
    tls_client_fields: Annotated[
        tuple[str, ...],
        Setting(
            field_lines.OF_CERTIFICATES,
            "request fields about a client's certificate if tls_client_ca is set: "
            + ", ".join(field_lines.CERTIFICATE_FIELDS),
        ),
    ] = ("Client-Cert", "X-SSL-Client-Verify", "X-SSL-Client-S-DN")
    https_redirect: Annotated[
        bool,
        Setting(
            kinds.SWITCH,
            "redirect requests on the --bind-plain addresses to https, except ACME challenges and requests that a "
            "trusted proxy received over https",
        ),
    ] = True
    hsts: Annotated[
        float, routed(kinds.AGE, "max-age of Strict-Transport-Security on responses over TLS; 0: not sent")
    ] = 0.0
    acme: Annotated[
        str,
        Setting(
            web.EMAIL,
            "obtain and renew certificates for the domains; the CA sends its warnings to this address; without bind, "
            "the gateway then listens on ports 443 and 80",
        ),
    ] = ""
    domain: Annotated[
        tuple[str, ...],
        Setting(
            web.CERTIFICATE_NAMES,
            "name to obtain a certificate for: a host, an address of this machine, or a wildcard such as "
            "*.example.com, which needs acme_dns_hook or acme_dns_server; repeat for several",
        ),
    ] = ()
    acme_directory: Annotated[str, fixed(web.REQUIRED_URL, "the CA's ACME directory")] = LETS_ENCRYPT
    acme_ca: Annotated[
        Path | None,
        Setting(kinds.PATH, "CA certificates (PEM) to verify the ACME directory with; default: the system's"),
    ] = None
    acme_eab_kid: Annotated[
        str,
        Setting(kinds.TEXT, "key identifier of an external account, for a CA that issues to its customers only"),
    ] = ""
    acme_eab_key_file: Annotated[
        Path | None, Setting(kinds.PATH, "file with the HMAC key (base64url) of that external account")
    ] = None
    acme_profile: Annotated[
        str, Setting(kinds.TEXT, "kind of certificate to order, such as 'shortlived'; default: the CA's own")
    ] = ""
    acme_dns_hook: Annotated[
        Path | None,
        Setting(
            kinds.PATH,
            "program that sets DNS records for the CA: called with 'present NAME VALUE', then 'cleanup NAME VALUE'",
        ),
    ] = None
    acme_dns_server: Annotated[
        Address | None,
        Setting(web.NAME_SERVER, "name server that takes dynamic updates (RFC 2136) of DNS records for the CA"),
    ] = None
    acme_dns_key_file: Annotated[
        Path | None, Setting(kinds.PATH, "file with the key that signs those updates, as tsig-keygen prints it")
    ] = None
    acme_dns_wait: Annotated[float, duration("how long after a DNS record is set the CA may look for it")] = 10.0
    on_demand_ask: Annotated[
        str,
        fixed(
            web.ASKED,
            "service that says for which other names certificates are obtained when a client asks for them: GET "
            "URL?domain=NAME, 2xx is yes",
        ),
    ] = ""
    on_demand_names: Annotated[int, fixed(kinds.COUNT, "most names with certificates obtained that way")] = 1000
    on_demand_rate: Annotated[
        Rate | None, fixed(web.RATE, "certificates ordered that way, over all names and workers")
    ] = _ORDERS
    on_demand_client_rate: Annotated[
        Rate | None, fixed(web.RATE, "names without a certificate that one client, or IPv6 /64 network, may bring")
    ] = _NEW_NAMES
    http2: Annotated[bool, Setting(kinds.SWITCH, "offer HTTP/2 over TLS")] = True
    h2c: Annotated[bool, Setting(kinds.SWITCH, "accept HTTP/2 without TLS (prior knowledge)")] = False
    max_streams: Annotated[int, Setting(kinds.COUNT, "most concurrent requests on one HTTP/2 connection")] = 100

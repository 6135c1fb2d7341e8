"""What `check` reports besides mistakes: configurations that work, but may surprise or harm."""

import stat
from urllib.parse import urlsplit

from proxy.settings.check import knows_user
from proxy.settings.table import TABLE, Settings
from proxy.settings.values import kinds, template

_time = kinds.DURATION.show


def risks(settings: Settings) -> list[str]:
    """Risks of a public service."""
    found: list[str] = []
    public = any(not address.loopback for address in settings.bind)
    if not settings.secure and public:
        found.append(
            "bind: public addresses without TLS; anyone on the network path can read and change traffic; "
            "add tls_cert and tls_key, or acme"
        )
    if _mutual(settings) and settings.bind_plain and not settings.https_redirect:
        found.append(
            "bind_plain: serves clients without a certificate, although tls_client_ca requires one on bind; "
            "remove https_redirect = false, or bind_plain"
        )
    if public and not any(one.rate for one in _everywhere(settings)):
        found.append('rate: not set; one client may send any number of requests; add one, such as "20/s"')
    if settings.access_log == "off":
        found.append("access_log is off: requests leave no trace")
    return found + _on_demand_risks(settings)


def _on_demand_risks(settings: Settings) -> list[str]:
    """Of certificates that are ordered because a client asks for a name."""
    url = settings.on_demand_ask
    if not url:
        return []
    found = []
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "http" and not (host == "localhost" or host.startswith("127.") or host == "::1"):
        found.append(
            f"on_demand_ask {url}: the answer can be changed on the way, and then strangers choose the names; "
            "use https, or a service on this machine"
        )
    found += [
        f"{key}: off; one attack uses up what the CA allows this account; set it, such as {TABLE[key].default_text}"
        for key in ("on_demand_rate", "on_demand_client_rate")
        if getattr(settings, key) is None
    ]
    return found


def notes(settings: Settings) -> list[str]:
    """Surprises."""
    return [
        *_route_notes(settings),
        *_time_notes(settings),
        *_address_notes(settings),
        *_on_demand_notes(settings),
        *_client_certificate_notes(settings),
        *_limit_notes(settings),
        *_upstream_notes(settings),
        *_probe_notes(settings),
        *_field_notes(settings),
        *_auth_notes(settings),
        *_file_notes(settings),
        *_log_notes(settings),
        *_tracing_notes(settings),
    ]


def _log_notes(settings: Settings) -> list[str]:
    if settings.log_fields and settings.log_format != "json":
        return ["log_fields: no effect on lines of log_format = combined; remove it, or choose json"]
    return []


def _tracing_notes(settings: Settings) -> list[str]:
    if settings.tracing:
        return []
    return [
        f"{name} has no effect without tracing; add tracing = true, or remove {name}"
        for name in ("trace_clients", "trace_sample")
        if any(getattr(one, name) != TABLE[name].default for one in _everywhere(settings))
    ]


def _everywhere(settings: Settings) -> list[Settings]:
    return [settings, *(route.settings for route in settings.routes)]


def _route_notes(settings: Settings) -> list[str]:
    if settings.all_routes:
        return []
    return ["no upstream and no route: requests get 503 until a service is deployed; see aragora-proxy deploy --help"]


def _time_notes(settings: Settings) -> list[str]:
    found: list[str] = []
    # The defaults are deliberate; a changed value deserves the note.
    chosen = any(getattr(settings, name) != TABLE[name].default for name in ("graceful", "read_timeout"))
    if chosen and settings.graceful < settings.read_timeout:
        found.append(
            f"graceful {_time(settings.graceful)} is shorter than read_timeout "
            f"{_time(settings.read_timeout)}: a response that takes longer than graceful is cut off when the "
            "gateway stops"
        )
    if settings.upstream_keepalive <= 1:
        found.append("upstream_keepalive is 1s or less: every request opens its own connection")
    return found


def _address_notes(settings: Settings) -> list[str]:
    found: list[str] = []
    if settings.admin_socket == "off" and not settings.admin_token_file:
        found.append("admin_socket is off and admin_token_file is not set: no command can be sent; set one of them")
    token = settings.admin_token_file
    if token and token.stat().st_mode & stat.S_IROTH:
        found.append(
            f"admin_token_file {token}: every account on this machine can read it and send commands; chmod 600 {token}"
        )
    password = settings.shared_limits_password_file
    if password and password.stat().st_mode & stat.S_IROTH:
        found.append(
            f"shared_limits_password_file {password}: every account on this machine can read it; chmod 600 {password}"
        )
    if settings.admin and settings.admin.path and settings.socket_mode & 0o006 and not settings.admin_token_file:
        found.append(
            f"admin {settings.admin}: every account may connect (socket_mode), so commands there need the token"
        )
    if settings.admin and not settings.admin.loopback:
        found.append(f"admin {settings.admin}: reachable from other machines; only its token protects it")
    if (
        settings.acme
        and not any(address.port == 443 for address in settings.bind)
        and not any(address.port == 80 for address in settings.bind_plain)
    ):
        found.append(
            "acme: the CA connects to port 80 or 443, and neither is bound here; have the proxy in front forward "
            "80 to bind_plain or 443 to bind"
        )
    trusted = settings.trusted_proxies
    if (
        not settings.secure
        and not (trusted.networks or trusted.unix)
        and any(one.hsts for one in _everywhere(settings))
    ):
        found.append("hsts: sent over TLS only, which is not configured; add tls_cert and tls_key, or acme")
    return found


def _on_demand_notes(settings: Settings) -> list[str]:
    if settings.on_demand_ask:
        return []
    return [
        f"{key} has no effect without on_demand_ask; add it, or remove {key}"
        for key in ("on_demand_names", "on_demand_rate", "on_demand_client_rate")
        if getattr(settings, key) != TABLE[key].default
    ]


def _mutual(settings: Settings) -> bool:
    """Whether clients must present certificates on listeners with TLS."""
    return settings.tls_client_ca is not None and settings.tls_client_auth == "required"


def _client_certificate_notes(settings: Settings) -> list[str]:
    if settings.tls_client_ca is None and settings.tls_client_fields != TABLE["tls_client_fields"].default:
        return ["tls_client_fields has no effect without tls_client_ca; add it, or remove tls_client_fields"]
    if settings.tls_client_ca is None or _mutual(settings):
        return []
    note = (
        "tls_client_auth optional: clients without a certificate have access; the application has to look at "
        "X-SSL-Client-Verify, which is SUCCESS or NONE, or at another of the tls_client_fields"
    )
    return [note] if settings.tls_client_fields else [f"{note}, of which there are none; add them"]


def _limit_notes(settings: Settings) -> list[str]:
    found: list[str] = []
    everywhere = _everywhere(settings)
    counts = settings.max_client_connections or settings.max_client_websockets
    trusted = settings.trusted_proxies
    if (
        not trusted.networks
        and not trusted.unix
        and all(address.loopback for address in settings.bind)
        and (counts or any(one.rate or one.allow or one.deny for one in everywhere))
    ):
        found.append(
            "trusted_proxies is empty and only this machine can connect, so all requests count as one client; "
            'add the proxy in front, such as trusted_proxies = "127.0.0.1"'
        )
    if any((one.burst or one.rate_by.kind != "client") and not one.rate for one in everywhere):
        found.append('burst and rate_by have no effect without rate; add it, such as rate = "20/s"')
    return found


def _upstream_notes(settings: Settings) -> list[str]:
    """Settings of TLS that no upstream has use for."""
    found = []
    for one in _everywhere(settings):
        secure = any(peer.address.scheme for peer in one.upstream)
        found += [
            f"{key} {value}: has no effect, since upstream {one.upstream[0]} is spoken to without TLS; write "
            f"https://{one.upstream[0].address} if it speaks TLS"
            for key in ("upstream_ca", "upstream_name", "upstream_cert")
            if (value := getattr(one, key)) and one.upstream and not secure and not one.upstream[0].address.path
        ]
    return list(dict.fromkeys(found))


def _probe_notes(settings: Settings) -> list[str]:
    probed = [(route.hosts, route.settings) for route in settings.all_routes if route.settings.health_path]
    if all(one.health_host or one.health_status or hosts or settings.domain for hosts, one in probed if one.upstream):
        return []
    note = (
        "health_path: probes send the peer's address as Host; an application that validates Host answers 400, which "
        "counts as up although the path was never reached; add health_host, such as app.example.com"
    )
    return [note]


def _file_notes(settings: Settings) -> list[str]:
    return [
        f"fallback {one.fallback}: there is no such file below {one.root} yet, so missing files are 404"
        for one in _everywhere(settings)
        if one.root and one.fallback and not (one.root / one.fallback.lstrip("/")).is_file()
    ]


def _field_notes(settings: Settings) -> list[str]:
    """Fields whose placeholder never has a value; each once."""
    found: list[str] = []
    for one in _everywhere(settings):
        if knows_user(one):
            continue
        for key in ("set_request_fields", "set_response_fields"):
            for name, value in getattr(one, key):
                if "user" in template.names(value):
                    note = "no user is known here, so the field is never sent"
                    fix = "add basic_auth, or forward_auth with X-Forwarded-User among forward_auth_fields"
                    found.append(f"{key}: {name} has {{user}}: {note}; {fix}")
    return list(dict.fromkeys(found))


def _auth_notes(settings: Settings) -> list[str]:
    everywhere = _everywhere(settings)
    if any(one.forward_auth for one in everywhere):
        return []
    return [
        f"{key} has no effect without forward_auth; add it, or remove {key}"
        for key in ("forward_auth_fields", "forward_auth_request_fields", "forward_auth_skip_preflights")
        if any(getattr(one, key) != TABLE[key].default for one in everywhere)
    ]

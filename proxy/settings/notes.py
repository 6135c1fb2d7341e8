"""What works as it stands, and may surprise or harm: what `check` says beside mistakes."""

import difflib
import stat

from proxy.settings.table import TABLE, Settings
from proxy.settings.values import kinds, rewrite

_time = kinds.DURATION.show
_PLACEHOLDERS = ", ".join(f"{{{name}}}" for name in rewrite.PLACEHOLDERS)


def risks(settings: Settings) -> list[str]:
    """What breaks a rule of a public service."""
    found: list[str] = []
    public = any(not address.loopback for address in settings.bind)
    if not settings.secure and public:
        found.append(
            "bind has public addresses without TLS: anybody on the way can read and change what passes; "
            "add tls_cert and tls_key, or acme"
        )
    if _mutual(settings) and settings.bind_plain and not settings.https_redirect:
        found.append(
            "bind_plain serves everybody without a certificate, though tls_client_ca requires one on bind: "
            "remove https_redirect = false, or bind_plain"
        )
    if public and not any(one.rate for one in _everywhere(settings)):
        found.append('no rate is set: one client may ask as often as it can; add rate, such as "20/s"')
    if settings.access_log == "off":
        found.append("access_log is off: nobody will know who asked for what")
    return found


def notes(settings: Settings) -> list[str]:
    """What may surprise."""
    return [
        *_time_notes(settings),
        *_address_notes(settings),
        *_client_certificate_notes(settings),
        *_limit_notes(settings),
        *_probe_notes(settings),
        *_field_notes(settings),
    ]


def _everywhere(settings: Settings) -> list[Settings]:
    return [settings, *(route.settings for route in settings.routes)]


def _time_notes(settings: Settings) -> list[str]:
    found: list[str] = []
    # The defaults are known to be so; whoever changes one of them is told.
    chosen = any(getattr(settings, name) != TABLE[name].default for name in ("graceful", "read_timeout"))
    if chosen and settings.graceful < settings.read_timeout:
        found.append(
            f"graceful {_time(settings.graceful)} is shorter than read_timeout "
            f"{_time(settings.read_timeout)}: an answer that takes longer than the first is cut off when the "
            "gateway stops"
        )
    if settings.upstream_keepalive <= 1:
        found.append("upstream_keepalive is 1s or less: every request opens a connection of its own")
    return found


def _address_notes(settings: Settings) -> list[str]:
    found: list[str] = []
    if settings.admin_socket == "off" and not settings.admin_token_file:
        found.append("admin_socket is off and there is no admin_token_file: nobody can send commands; add one of them")
    token = settings.admin_token_file
    if token and token.stat().st_mode & stat.S_IROTH:
        found.append(
            f"admin_token_file {token}: everybody on this machine can read it, and command with it; chmod 600 {token}"
        )
    if settings.admin and settings.admin.path and settings.socket_mode & 0o006 and not settings.admin_token_file:
        found.append(f"admin {settings.admin}: socket_mode lets everybody connect, so commands there ask for the token")
    if settings.admin and not settings.admin.loopback:
        found.append(f"admin {settings.admin}: other machines can reach it; its token is all that protects it")
    if (
        settings.acme
        and not any(address.port == 443 for address in settings.bind)
        and not any(address.port == 80 for address in settings.bind_plain)
    ):
        found.append(
            "acme: the authority asks on port 80 or 443, and neither is bound here; let what is in front lead "
            "80 to bind_plain or 443 to bind"
        )
    trusted = settings.trusted_proxies
    if (
        not settings.secure
        and not (trusted.networks or trusted.unix)
        and any(one.hsts for one in _everywhere(settings))
    ):
        found.append("hsts is sent over TLS alone, which is not spoken here; add tls_cert and tls_key, or acme")
    return found


def _mutual(settings: Settings) -> bool:
    """Whether clients must show certificates where TLS is spoken."""
    return settings.tls_client_ca is not None and settings.tls_client_auth == "required"


def _client_certificate_notes(settings: Settings) -> list[str]:
    if settings.tls_client_ca is None or _mutual(settings):
        return []
    told = (
        "tls_client_auth optional: clients without a certificate come in, and the application is not told which "
        "clients showed one; all it does is refuse certificates that tls_client_ca did not issue"
    )
    return [told]


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
            "trusted_proxies is empty and only this machine can connect: limits and lists see one client; "
            'name the proxy in front, such as trusted_proxies = "127.0.0.1"'
        )
    if any((one.burst or one.rate_by.kind != "client") and not one.rate for one in everywhere):
        found.append('burst and rate_by mean nothing without rate; add it, such as rate = "20/s"')
    return found


def _probe_notes(settings: Settings) -> list[str]:
    probed = [(route.hosts, route.settings) for route in settings.all_routes if route.settings.health_path]
    if all(one.health_host or one.health_status or hosts or settings.domain for hosts, one in probed if one.upstream):
        return []
    told = (
        "health_path: probes name the peer's address as their Host, and an application that checks it answers 400: it "
        "counts as up though its path was not asked; add health_host, such as app.example.com"
    )
    return [told]


def _field_notes(settings: Settings) -> list[str]:
    """What looks like a placeholder and is none, or stands for what is never known; each once."""
    found: list[str] = []
    for one in _everywhere(settings):
        for name, braces in rewrite.unknown_braces(one.set_request_fields):
            close = difflib.get_close_matches(braces, rewrite.PLACEHOLDERS, n=1)
            fix = f"did you mean {{{close[0]}}}?" if close else f"the placeholders are {_PLACEHOLDERS}"
            found.append(f"set_request_fields: {name} has {{{braces}}}, which is sent as it stands; {fix}")
        for name, braces in rewrite.placeholders(one.set_response_fields):
            told = "is sent as it stands: only fields of requests are filled in"
            found.append(f"set_response_fields: {name} has {{{braces}}}, which {told}")
        asked = one.basic_auth or "x-forwarded-user" in map(str.lower, one.forward_auth_fields)
        for name, braces in rewrite.placeholders(one.set_request_fields):
            if braces == "user" and not asked:
                told = "no user is asked for here, and the field is never sent"
                fix = "add basic_auth, or forward_auth with X-Forwarded-User among forward_auth_fields"
                found.append(f"set_request_fields: {name} has {{user}}: {told}; {fix}")
    return list(dict.fromkeys(found))

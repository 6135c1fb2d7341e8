"""Names of settings that do not exist: which one was meant."""

import difflib
from collections.abc import Mapping

_CLOSE = 0.75
_NO_SETTING = "aragora-proxy --help lists all settings"
_WORDS_OF_OTHERS = {
    "address": "bind",
    "host": "bind",
    "http_port": "bind",
    "listen": "bind",
    "port": "bind",
    "app": "upstream",
    "backend": "upstream",
    "proxy_pass": "upstream",
    "server": "upstream",
    "target": "upstream",
    "cert": "tls_cert",
    "certfile": "tls_cert",
    "certificate": "tls_cert",
    "ssl": "tls_cert",
    "ssl_certificate": "tls_cert",
    "key": "tls_key",
    "keyfile": "tls_key",
    "ssl_certificate_key": "tls_key",
    "email": "acme",
    "letsencrypt": "acme",
    "server_name": "domain",
    "accesslog": "access_log",
    "log": "access_log",
    "logfile": "access_log",
    "errorlog": "error_log",
    "debug": "log_level",
    "verbose": "log_level",
    "client_max_body_size": "max_body",
    "limit_req": "rate",
    "rate_limit": "rate",
    "pid": "pidfile",
    "processes": "workers",
    "threads": "workers",
    "timeout": "read_timeout",
    "proxy_read_timeout": "read_timeout",
    "file": "config",
    "metrics": "admin",
    "status": "admin",
}
"""What nginx, gunicorn, Caddy and others call a setting, and which one it is here."""


def plain(name: str) -> str:
    """A name without what distinguishes flags from keys of the file."""
    return name.lstrip("-").replace("-", "_").lower()


def nearest(name: str, names: Mapping[str, str]) -> str:
    """The fix for a name that is none of `names` (the current name by spelling): the one meant, or where all are."""
    known = {plain(spelling): current for spelling, current in names.items()}
    word = plain(name)
    meant = word if word in known else _WORDS_OF_OTHERS.get(word, "")
    if meant not in known:
        meant = next(iter(difflib.get_close_matches(word, known, n=1, cutoff=_CLOSE)), "")
    return f"did you mean {known[meant]}?" if meant in known else _NO_SETTING

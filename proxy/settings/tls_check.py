"""Checks of settings of TLS and certificates that are each well-formed, but do not fit together."""

import os
from importlib.util import find_spec

from proxy.settings.table import TABLE, Settings


def tls_problems(settings: Settings) -> list[str]:
    """The mistakes, one line each, with the fix."""
    found = []
    if bool(settings.tls_cert) != bool(settings.tls_key):
        given, missing = ("cert", "key") if settings.tls_cert else ("key", "cert")
        path = settings.tls_cert or settings.tls_key
        found.append(
            f"--tls-{given} {path}: goes with a {'key' if missing == 'key' else 'certificate'}; add --tls-{missing}"
        )
    if settings.bind_plain and not settings.secure:
        found.append(
            f"--bind-plain {settings.bind_plain[0]}: --bind serves plain HTTP already; "
            "add --tls-cert and --tls-key, or --acme, or remove it"
        )
    found += _dns_problems(settings)
    if settings.acme and not settings.domain and not settings.on_demand_ask and settings.all_routes:
        found.append(f"--acme {settings.acme}: needs the names to obtain certificates for; add --domain")
    if settings.on_demand_ask and not settings.acme:
        found.append(
            f"--on-demand-ask {settings.on_demand_ask}: certificates are obtained by ACME; add --acme, or remove it"
        )
    if settings.domain and not settings.acme and settings.tls == "off":
        found.append(f"--domain {settings.domain[0]}: has no effect without ACME; add --acme, or remove it")
    if settings.acme and not settings.state_dir:
        found.append(f"--acme {settings.acme}: needs a directory for the account and the keys; add --state-dir")
    found += _sharing_problems(settings)
    if bool(settings.acme_eab_kid) != bool(settings.acme_eab_key_file):
        given, missing = ("acme_eab_kid", "key-file") if settings.acme_eab_kid else ("acme_eab_key_file", "kid")
        found.append(
            f"{TABLE[given].flag} {getattr(settings, given)}: an external account has both an identifier and a key; "
            f"add --acme-eab-{missing}"
        )
    if settings.tls_client_ca and not settings.secure:
        found.append(
            f"--tls-client-ca {settings.tls_client_ca}: client certificates need TLS; "
            "add --tls-cert and --tls-key, or --acme"
        )
    return found


def _sharing_problems(settings: Settings) -> list[str]:
    """Of the directory in which several gateways keep certificates."""
    shared = settings.shared_certificates
    if shared is None:
        return []
    found = []
    if not settings.acme:
        found.append(f"--shared-certificates {shared}: certificates are obtained by ACME; add --acme, or remove it")
    if not shared.is_dir():
        found.append(f"--shared-certificates {shared}: no such directory; mount the file system, and create it there")
    if settings.state_dir is not None and shared.resolve() == settings.state_dir.resolve():
        found.append(f"--shared-certificates {shared}: is this gateway's own --state-dir; name another directory")
    return found


def _dns_problems(settings: Settings) -> list[str]:
    """Of certificates that are validated through DNS."""
    found = []
    by_dns = settings.acme_dns_hook or settings.acme_dns_server
    found += [
        f"--domain {name}: a CA validates wildcards through DNS alone; add --acme-dns-hook or --acme-dns-server, list "
        "each host, or provide a certificate with --tls-cert"
        for name in settings.domain
        if settings.acme and name.startswith("*.") and not by_dns
    ]
    if settings.acme_dns_hook and settings.acme_dns_server:
        found.append(
            f"--acme-dns-hook {settings.acme_dns_hook}: excludes --acme-dns-server, which sets the same records; "
            "remove one of them"
        )
    hook = settings.acme_dns_hook
    if hook and not (hook.is_file() and os.access(hook, os.X_OK)):
        found.append(f"--acme-dns-hook {hook}: not a program that can be run; correct the path, or chmod +x")
    if settings.acme_dns_server and find_spec("dns") is None:
        found.append(
            f"--acme-dns-server {settings.acme_dns_server}: dnspython, which makes the updates, is not installed; "
            "pip install 'aragora-gateway[dns]'"
        )
    return found

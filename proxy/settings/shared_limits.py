"""Checks of what several gateways count together."""

from importlib.util import find_spec

from proxy.settings.table import Settings


def shared_limits_problems(settings: Settings) -> list[str]:
    """The mistakes, one line each, with the fix."""
    store = settings.shared_limits
    found = [
        f"--{name} {path}: has no effect without Redis; add --shared-limits, or remove it"
        for name, path in (
            ("shared-limits-password-file", settings.shared_limits_password_file),
            ("shared-limits-ca", settings.shared_limits_ca),
        )
        if path and store is None
    ]
    if store is None:
        return found
    if find_spec("redis") is None:
        found.append(f"--shared-limits {store}: needs the redis library; pip install 'aragora-gateway[cluster]'")
    if store.user and not settings.shared_limits_password_file:
        found.append(f"--shared-limits {store}: a user needs a password; add --shared-limits-password-file")
    if settings.shared_limits_ca and not store.tls:
        found.append(f"--shared-limits-ca {settings.shared_limits_ca}: is for TLS; write rediss:// in --shared-limits")
    return found

"""Defaults that follow from other settings, and from where the gateway runs."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxy.settings.values import Address

_NAME = "aragora-proxy"
_OF_SYSTEM = Path("/var/lib") / _NAME


def dependent_defaults(chosen: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """Settings that are not `chosen`, by name: with `acme` the ports that an authority connects to, and a directory
    for the account and the keys. `variables` are those of the environment."""
    found: dict[str, Any] = {}
    if chosen.get("acme") and "bind" not in chosen:
        everywhere = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"
        found["bind"] = (Address(everywhere, 443),)
        found["bind_plain"] = (Address(everywhere, 80),)
    found["state_dir"] = _state_dir(variables, wanted=bool(chosen.get("acme")))
    return {name: value for name, value in found.items() if name not in chosen and value is not None}


def _state_dir(variables: Mapping[str, str], *, wanted: bool) -> Path | None:
    """Where state outlives the process: the StateDirectory of the systemd unit, else, if something is to be kept, the
    system's directory for root and the user's for others (XDG Base Directory Specification)."""
    of_unit = variables.get("STATE_DIRECTORY", "").partition(":")[0]
    if of_unit.startswith("/"):
        return Path(of_unit)
    if not wanted:
        return None
    if os.geteuid() == 0:
        return _OF_SYSTEM
    of_user, home = variables.get("XDG_STATE_HOME", ""), variables.get("HOME", "")
    if of_user.startswith("/"):
        return Path(of_user) / _NAME
    return Path(home) / ".local/state" / _NAME if home.startswith("/") else None

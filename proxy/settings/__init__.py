"""The settings: their table, how they are read, how they are checked."""

from proxy.settings.check import is_own_address, problems
from proxy.settings.errors import SettingsError
from proxy.settings.load import config_file, load, load_some
from proxy.settings.notes import notes, risks
from proxy.settings.spelling import nearest, plain
from proxy.settings.table import (
    ANY,
    AcmeServer,
    Certificate,
    Matching,
    Reload,
    RouteSettings,
    Setting,
    Settings,
    TsigKey,
    table,
)
from proxy.settings.values import Address, Peer

__all__ = [
    "ANY",
    "AcmeServer",
    "Address",
    "Certificate",
    "Matching",
    "Peer",
    "Reload",
    "RouteSettings",
    "Setting",
    "Settings",
    "SettingsError",
    "TsigKey",
    "config_file",
    "is_own_address",
    "load",
    "load_some",
    "nearest",
    "notes",
    "plain",
    "problems",
    "risks",
    "table",
]

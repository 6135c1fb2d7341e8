"""The settings table, written by topic.

The fields of the topics' classes are the table: flag (`--connect-timeout`), key of the TOML file (`connect_timeout`),
type, default, unit and help. The command line, the file, the reference page and every error message are made from it.
"""

from proxy.settings.table.row import Reload, Setting
from proxy.settings.table.settings import (
    ANY,
    NAMES,
    RESPONSE_KEYS,
    TABLE,
    WAYS,
    AcmeServer,
    Certificate,
    Matching,
    RouteSettings,
    Settings,
    TsigKey,
    serves_itself,
    table,
)

__all__ = [
    "ANY",
    "NAMES",
    "RESPONSE_KEYS",
    "TABLE",
    "WAYS",
    "AcmeServer",
    "Certificate",
    "Matching",
    "Reload",
    "RouteSettings",
    "Setting",
    "Settings",
    "TsigKey",
    "serves_itself",
    "table",
]

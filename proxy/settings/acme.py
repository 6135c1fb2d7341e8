"""What ACME needs beside the settings table: more servers (`[[acme_server]]`), and the keys in files."""

import base64
import binascii
import re
from pathlib import Path
from typing import Any

from proxy.settings.document import Table
from proxy.settings.table import AcmeServer, TsigKey
from proxy.settings.values import kinds, web
from proxy.settings.values.files import read_file

_KINDS = {
    "directory": web.REQUIRED_URL,
    "ca": kinds.PATH,
    "eab_kid": kinds.TEXT,
    "eab_key_file": kinds.PATH,
    "profile": kinds.TEXT,
}
_LARGEST_KEY = 4096  # bytes
_TSIG_KEY = re.compile(
    r"""\s*key\s+"?([\w.-]+)"?\s*\{\s*algorithm\s+"?(hmac-sha(?:1|224|256|384|512))"?\s*;"""
    r"""\s*secret\s+"((?:[\w+/]{4})+(?:[\w+/]{2}==|[\w+/]{3}=)?)"\s*;\s*\}\s*;?\s*""",
    re.ASCII,
)


def read_eab_key(path: Path) -> str:
    """The key of an external account (RFC 8555 section 7.3.4) in a file, base64url as authorities give it.

    Raises ValueError with the fix.
    """
    content = read_file(path, _LARGEST_KEY).strip()
    try:
        key = content.decode("ascii").rstrip("=").replace("+", "-").replace("/", "_")
        octets = base64.b64decode(key + "=" * (-len(key) % 4), altchars="-_", validate=True)
    except (UnicodeDecodeError, binascii.Error):
        octets = b""
    if not octets:
        raise ValueError("no key found: write the HMAC key that the authority gave you, base64url, on one line")
    return key


def read_tsig_key(path: Path) -> TsigKey:
    """A key for dynamic updates in a file, as BIND's `tsig-keygen` prints it. Raises ValueError with the fix."""
    found = _TSIG_KEY.fullmatch(read_file(path, _LARGEST_KEY).decode("ascii", "replace"))
    if found is None:
        raise ValueError(
            'no key found: write what tsig-keygen prints: key "NAME" { algorithm hmac-sha256; secret "..."; };'
        )
    return TsigKey(*found.groups())


def read_acme_server(table: Table, mistakes: list[str]) -> AcmeServer | None:
    """An `[[acme_server]]`; None with its mistakes, if it has any."""
    before = len(mistakes)
    chosen: dict[str, Any] = {}
    for key, raw in table.values.items():
        if key not in _KINDS:
            mistakes.append(
                f"{table.at(key)}: unknown key of [[acme_server]], which takes {', '.join(_KINDS)}; remove it"
            )
            continue
        try:
            chosen[key] = _KINDS[key].read(raw)
        except ValueError as problem:
            mistakes.append(f"{table.given(key)}: {problem}")
    if "directory" not in table.values.keys() | table.written.keys():
        mistakes.append(f"{table.place}: needs 'directory', the URL of the server's ACME directory")
    if ("eab_kid" in chosen) != ("eab_key_file" in chosen):
        mistakes.append(f"{table.place}: eab_kid and eab_key_file go together; add the other one")
    path = chosen.pop("eab_key_file", None)
    if path is not None:
        try:
            chosen["eab_key"] = read_eab_key(path)
        except ValueError as problem:
            mistakes.append(f"{table.given('eab_key_file')}: {problem}")
    return AcmeServer(**chosen) if len(mistakes) == before else None

"""The file of users and password hashes for basic authentication, in the format of `htpasswd -B`."""

import re
from pathlib import Path

from proxy.settings.values.files import read_file

MAX_FILE = 1 << 20
_USER = re.compile(rb"[!-9;-~][ -9;-~]{0,254}")  # no colon (RFC 7617 section 2), no control characters
_HASH = re.compile(rb"\$2[aby]\$(0[4-9]|1[0-9]|2[0-9]|3[01])\$[./A-Za-z0-9]{53}")
_HIGHEST_COST = 14
"""Rounds (as a power of two) above which one login takes seconds of processor time."""


def read_users(path: Path) -> dict[bytes, bytes]:
    """Hashes by user name. Raises ValueError with line and fix."""
    content = read_file(path, MAX_FILE)
    users: dict[bytes, bytes] = {}
    for number, raw in enumerate(content.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith(b"#"):
            continue
        user, colon, hashed = line.partition(b":")
        if not colon or not _USER.fullmatch(user):
            raise ValueError(f"line {number}: expected USER:HASH; add users with htpasswd -B FILE USER")
        found = _HASH.fullmatch(hashed)
        if found is None:
            raise ValueError(f"line {number}: not a bcrypt hash; make it with htpasswd -B FILE USER")
        if int(found[1]) > _HIGHEST_COST:
            raise ValueError(f"line {number}: cost {int(found[1])} takes too long; at most {_HIGHEST_COST}")
        if user in users:
            raise ValueError(f"line {number}: duplicate user; remove one line")
        users[user] = hashed
    if not users:
        raise ValueError("no users; add one with htpasswd -B FILE USER")
    return users

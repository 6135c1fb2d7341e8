"""Secrets that files hold: the token of the admin address, passwords."""

from pathlib import Path

from proxy.settings.values.files import read_file

MOST = 4096  # bytes
LEAST = 16  # characters: shorter ones can be guessed


def read_token(path: Path) -> bytes:
    """The token in a file, stripped of white space. Raises ValueError with the fix."""
    token = read_file(path, MOST).strip()
    if len(token) < LEAST or not token.isascii() or not token.decode().isprintable():
        raise ValueError(
            f"no token found: write at least {LEAST} printable characters on one line, such as "
            "openssl rand -hex 32 makes"
        )
    return token


def read_password(path: Path) -> str:
    """The password in a file, without the end of its line. Raises ValueError with the fix."""
    try:
        password = read_file(path, MOST).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        password = ""
    if not password.isprintable() or not password:
        raise ValueError("no password found: write it on one line, without control characters")
    return password

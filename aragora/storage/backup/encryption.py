"""Encryption of copies by age (https://age-encryption.org): authenticated, streamed, and to a public key.

The machine that makes the copies holds the public key alone, so an attacker on it cannot read yesterday's copies.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aragora.storage.backup.contents import BackupFailed, run

MAGIC = b"age-encryption.org/v1\n"
PACKAGE = "age"


def seal(plain: Path, sealed: Path, recipient: str) -> None:
    """Encrypt `plain` into the existing file `sealed`; raises `BackupFailed`."""
    run(["age", "--encrypt", "--recipient", recipient, "--output", str(sealed), str(plain)], PACKAGE)
    # Every chunk carries its own tag, so what age wrote is longer than what it read; a full disk would have made it
    # fail, and a file that is shorter is not what it said.
    if not is_sealed(sealed) or sealed.stat().st_size <= plain.stat().st_size:
        raise BackupFailed(f"age wrote {sealed.stat().st_size} bytes, which cannot be the encrypted copy")


def is_sealed(path: Path) -> bool:
    """Whether the file is one of age's."""
    with path.open("rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC


@contextmanager
def opened(path: Path, identity: Path | None) -> Iterator[Path]:
    """The file itself, or its plain text in a directory that only we can read and that is gone afterwards.

    Raises `BackupFailed` when it is encrypted and `identity` (a file with age's secret key) does not fit.
    """
    if not is_sealed(path):
        yield path
        return
    if identity is None:
        raise BackupFailed(f"{path} is encrypted: name the file of the secret key with --identity")
    if not os.access(identity, os.R_OK):
        raise BackupFailed(f"{identity}: no such file, or it cannot be read")
    with tempfile.TemporaryDirectory(prefix="aragora-") as directory:
        plain = Path(directory) / path.stem
        run(["age", "--decrypt", "--identity", str(identity), "--output", str(plain), str(path)], PACKAGE)
        yield plain

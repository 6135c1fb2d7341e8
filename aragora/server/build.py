"""What runs here: for /health, /metrics and bug reports."""

import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path

import aragora


@cache
def version() -> str:
    """The version of the installed package, or that it is not installed."""
    try:
        return metadata.version("aragora-gateway")
    except metadata.PackageNotFoundError:
        return "not installed"


@cache
def digest() -> str:
    """Twelve digits over the package's files as they are now: after a deployment, the proof that new code runs."""
    root = Path(aragora.__file__).parent
    total = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.suffix in {".py", ".html", ".css", ".js"}:
            total.update(f"{path.relative_to(root)}\n".encode())
            total.update(path.read_bytes())
    return total.hexdigest()[:12]

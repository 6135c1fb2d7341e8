"""The documentation as tests read it: fenced blocks, and the paths and ports in them moved to where a test may be."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"(?:^<!-- (?P<note>.*?) -->\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
_PLACE = re.compile(r"""(?<![\w.}])/(?:etc|srv|var|run)/[^\s"';:,)]*""")
_FILES = {
    ".html": "<p>{status}</p>\n",
    ".json": '{"status": {status}}\n',
    ".token": "0123456789abcdef0123456789abcdef\n",
    ".tsig": 'key "updates" { algorithm hmac-sha256; secret "c2VjcmV0c2VjcmV0"; };\n',
    ".htpasswd": "alice:$2y$05$QlMMUzzIvVpQj5TYJzVNhOZkOqIm57W3hHbmzVVXJYNBCqRnwF3Sa\n",
}
"""What stands in a file that a page names, by its suffix."""


@dataclass(frozen=True)
class Block:
    """One fenced block; `section` is the heading above it, `note` the comment before it."""

    page: Path
    section: str
    kind: str
    text: str
    note: str


def blocks(page: Path, kind: str = "") -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text()
    found = []
    for fence in _FENCE.finditer(text):
        headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", text[: fence.start()]), re.MULTILINE)
        if kind in ("", fence["kind"]):
            section = headings[-1] if headings else ""
            found.append(Block(page, section, fence["kind"], fence["text"], fence["note"] or ""))
    return found


def moved(text: str, directory: Path, addresses: Mapping[str, str] | None = None) -> str:
    """The text with its paths beneath `directory`, where they are made, and with other addresses."""
    for old, new in (addresses or {}).items():
        text = text.replace(old, new)
    for place in set(_PLACE.findall(text)):
        _make(directory / place[1:])
    return _PLACE.sub(lambda found: f"{directory}{found[0]}", text)


def _make(path: Path) -> None:
    """What a page takes for granted: certificates, pages, directories."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".crt", ".key"):
        certify(path.stem, path.parents[1])
    elif path.suffix in _FILES:
        path.write_text(_FILES[path.suffix])
    elif not path.suffix:
        path.mkdir(exist_ok=True)


def certify(name: str, ssl: Path) -> None:
    """A certificate for a name and its key, as `certs/NAME.crt` and `private/NAME.key`."""
    certificate, key = ssl / "certs" / f"{name}.crt", ssl / "private" / f"{name}.key"
    certificate.parent.mkdir(parents=True, exist_ok=True)
    key.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "90", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},DNS:*.{name},IP:127.0.0.1",
            "-keyout", str(key), "-out", str(certificate),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )  # fmt: skip
    key.chmod(0o600)

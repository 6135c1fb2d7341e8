"""An environment checked against the table."""

import difflib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from aragora.errors import SettingsError
from aragora.settings.agent_variables import AGENT_VARIABLES, AgentVariable
from aragora.settings.forms import Setting
from aragora.settings.table import SETTINGS, Settings

_MAX_SECRET_FILE = 65_536
# Read by the tests and the scripts, not by the application.
_FOREIGN = frozenset({"ARAGORA_REQUIRE_COMPONENTS"})


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """Where a user's data belongs: XDG on Linux, Application Support on macOS."""
    home = Path(environ.get("HOME") or "~").expanduser()
    if environ.get("XDG_DATA_HOME"):
        return Path(environ["XDG_DATA_HOME"]) / "aragora"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "aragora"
    return home / ".local" / "share" / "aragora"


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in `environ` (default: the process's).

    Raises `SettingsError` naming the variable, its value (never a secret's) and the fix.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    production = _value(SETTINGS[0], environ) == "production"
    for row in SETTINGS:
        value = _value(row, environ)
        if value is None:
            value = row.production if production else row.default
        values[row.attribute] = value
    if values["data_dir"] == Path():
        values["data_dir"] = default_data_dir(environ)
    values["agents_environ"] = MappingProxyType(_agents_environ(environ))
    if production and not values["api_tokens"]:
        raise SettingsError(
            "ARAGORA_ENV=production needs ARAGORA_API_TOKEN (or ARAGORA_API_TOKEN_FILE): "
            "without a token every client could use the API"
        )
    return Settings(**values)


def unknown(environ: Mapping[str, str]) -> Iterator[str]:
    """One warning for each ARAGORA_* variable that no row knows, with the nearest name."""
    rows: tuple[Setting | AgentVariable, ...] = (*SETTINGS, *AGENT_VARIABLES)
    known = {row.name for row in rows} | {f"{row.name}_FILE" for row in rows if row.secret}
    for name in sorted(environ):
        if name.startswith("ARAGORA_") and name not in known and name not in _FOREIGN:
            # Without the prefix, which would make any two names alike.
            stems = {other.removeprefix("ARAGORA_"): other for other in known}
            near = difflib.get_close_matches(name.removeprefix("ARAGORA_"), stems, n=1)
            yield f"{name} is not a setting" + (f"; did you mean {stems[near[0]]}?" if near else "")


def _agents_environ(environ: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for variable in AGENT_VARIABLES:
        text = _read(variable.name, variable.secret, environ)
        if text:
            found[variable.name] = text
    return found


def _value(row: Setting, environ: Mapping[str, str]) -> Any:
    text = _read(row.name, row.secret, environ)
    if not text:
        return None
    try:
        return row.form.parse(text)
    except ValueError as error:
        shown = "its value" if row.secret else repr(text[:80])
        raise SettingsError(f"{row.name}: {shown} does not fit: {error}") from None


def _read(name: str, secret: bool, environ: Mapping[str, str]) -> str:
    """The text of a variable, from `NAME_FILE` when a secret is given that way."""
    text = environ.get(name, "").strip()
    file = environ.get(f"{name}_FILE", "").strip() if secret else ""
    if not file:
        return text
    if text:
        raise SettingsError(f"{name} and {name}_FILE are both set: remove one")
    try:
        with Path(file).open(encoding="utf-8") as stream:
            text = stream.read(_MAX_SECRET_FILE + 1).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise SettingsError(f"{name}_FILE: cannot read {file}: {reason}") from None
    if not text or len(text) > _MAX_SECRET_FILE:
        raise SettingsError(f"{name}_FILE: {file} is {'empty' if not text else 'longer than 64 KiB'}")
    return text

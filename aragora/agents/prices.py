"""What models cost, by a table that users can edit: `prices.toml`, and the file that ARAGORA_PRICES names.

Money is counted in whole microdollars: dollars per million tokens are microdollars per token, so that sums in the
database are exact and never drift.
"""

import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from aragora.debate.usage import Usage
from aragora.errors import SettingsError

DEFAULTS = Path(__file__).with_name("prices.toml")
ANY = "*"
MICRODOLLARS = 1_000_000  # of one dollar
_MAX_FILE = 1 << 20
_RATES = ("input", "output", "cached", "written")
_DEAREST = 1_000_000.0  # dollars per million tokens; more is a slip of the pen
_DATED = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|latest)\Z")


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens; `assumed` where the model has no row of its own."""

    input: float
    output: float
    cached: float
    written: float
    assumed: bool = False

    def of(self, usage: Usage) -> int:
        """What `usage` cost, in microdollars, rounded up."""
        fresh = max(0, usage.input - usage.cached - usage.written)
        cost = (
            fresh * self.input + usage.cached * self.cached + usage.written * self.written + usage.output * self.output
        )
        return math.ceil(round(cost, 6))

    def most(self, input_tokens: int, output_tokens: int) -> int:
        """The most that so many tokens can cost, whatever the provider's cache does with them; in microdollars."""
        return math.ceil(round(input_tokens * max(self.input, self.written, self.cached), 6)) + math.ceil(
            round(output_tokens * self.output, 6)
        )


FREE = Price(0.0, 0.0, 0.0, 0.0)
Rows = Mapping[str, Mapping[str, Price]]


class Prices:
    """Tables of prices, the one that is looked at first in front."""

    def __init__(self, *tables: Rows, checked: str = "") -> None:
        """`checked` says when the last of the tables was, as 2026-01-31."""
        self._tables = tables
        self.checked = checked

    @classmethod
    def load(cls, path: Path | None = None) -> "Prices":
        """The built-in table behind that of `path`; raises `SettingsError` naming the file, the row and the fix."""
        defaults = tomllib.loads(DEFAULTS.read_text(encoding="utf-8"))
        return cls(*([_read(path)] if path is not None else []), _read(DEFAULTS), checked=str(defaults["checked"]))

    def of(self, provider: str, model: str) -> Price:
        """What `model` costs at `provider`; nothing where the provider has no table, as the offline demo."""
        for table in self._tables:
            if (found := _row(table.get(provider, {}), model)) is not None:
                return found
        vendor, slash, name = model.partition("/")
        if slash and provider == "openrouter":
            for table in self._tables:
                if (found := _row(table.get(vendor, {}), name)) is not None:
                    return found
        assumed = (table[provider][ANY] for table in self._tables if ANY in table.get(provider, {}))
        return next(assumed, FREE)


def _row(rows: Mapping[str, Price], model: str) -> Price | None:
    """The model's own row, that of the release it is dated from, or that of the longest pattern that fits."""
    for name in (model, _DATED.sub("", model)):
        if name in rows and name != ANY:
            return rows[name]
    fitting = [name for name in rows if ANY in name and name != ANY and fnmatchcase(model, name)]
    return rows[max(fitting, key=len)] if fitting else None


def _read(path: Path) -> Rows:
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE + 1)
        if len(text) > _MAX_FILE:
            raise SettingsError(f"ARAGORA_PRICES: {path} is longer than {_MAX_FILE >> 20} MiB")
        found = tomllib.loads(text.decode())
    except OSError as error:
        raise SettingsError(f"ARAGORA_PRICES: cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"ARAGORA_PRICES: {path} is not TOML: {error}") from None
    return {name: dict(_rows(path, name, table)) for name, table in found.items() if name != "checked"}


def _rows(path: Path, provider: str, table: Any) -> Iterator[tuple[str, Price]]:
    for model, row in table.items() if isinstance(table, dict) else [("", table)]:
        where = f'ARAGORA_PRICES: {path}: [{provider}] "{model}"'
        if not isinstance(row, dict) or not {"input", "output"} <= row.keys() <= {*_RATES}:
            raise SettingsError(f"{where}: write {{ input = 1.00, output = 5.00 }}, with cached and written if need be")
        rates: dict[str, float] = {}
        for name, value in row.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _DEAREST:
                raise SettingsError(f"{where}: {name}: write dollars per million tokens, 0 or more")
            rates[name] = float(value)
        whole = {"cached": rates["input"], "written": rates["input"]} | rates
        yield model, Price(**whole, assumed=model == ANY and any(rates.values()))

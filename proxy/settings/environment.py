"""The environment: variables in the values of a file, and variables that are settings themselves."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from proxy.settings.spelling import nearest
from proxy.settings.table import NAMES, Setting

PREFIX = "ARAGORA_PROXY_"
OVERRIDES = f"{PREFIX}OVERRIDES"
"""No setting: what commands have changed, as a master hands it to its successor."""
FORMER_OVERRIDES = f"{PREFIX}ORDERS"
"""Its name in masters that are still to be upgraded."""
CONNECTED = f"{PREFIX}CONNECTED"
"""No setting: the peers that were ever up, as a JSON list, as a master hands them to its successor."""
PAST = f"{PREFIX}PAST"
"""No setting: where a successor finds what its master's board remembers of the last hour."""
_HANDED_OVER = (OVERRIDES, FORMER_OVERRIDES, CONNECTED, PAST)

# Kubernetes describes a service called aragora-proxy to every container of its namespace.
_OF_KUBERNETES = re.compile(r"SERVICE_(?:HOST|PORT(?:_\w+)?)|PORT(?:_\d+_(?:TCP|UDP|SCTP)\w*)?")
_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)(\}?)")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_LEAST = 6  # characters: shorter values are hidden as whole words only


class Environment:
    """The variables that one reading of the settings may use. Their values never appear in a message."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._used: dict[str, str] = {}

    @property
    def variables(self) -> Mapping[str, str]:
        """All of them."""
        return self._variables

    def refers(self, value: Any) -> bool:
        """Whether a value of a file, or a part of it, has a variable."""
        if isinstance(value, str):
            return any(found[0] != "$${" for found in _REFERENCE.finditer(value))
        if isinstance(value, list):
            return any(map(self.refers, value))
        return isinstance(value, dict) and any(map(self.refers, value.values()))

    def expanded(self, value: Any) -> Any:
        """A value of a file with its variables replaced: `${NAME}`, `${NAME:-default}` (also for an empty one), and
        `$${` for a literal `${`. Raises ValueError."""
        if isinstance(value, str):
            return _REFERENCE.sub(self._replacement, value)
        if isinstance(value, list):
            return [self.expanded(one) for one in value]
        return {key: self.expanded(one) for key, one in value.items()} if isinstance(value, dict) else value

    def _replacement(self, found: re.Match[str]) -> str:
        if found[0] == "$${":
            return "${"
        reference = _NAME.fullmatch(found[1]) if found[2] else None
        if reference is None:
            raise ValueError("expected ${NAME} or ${NAME:-default}; write $${ for a literal ${")
        name, default = reference.groups()
        value = self._variables.get(name)
        if default is not None and not value:
            return str(default)
        if value is None:
            raise ValueError(f"{name} is not set in the environment; set it, or write ${{{name}:-default}}")
        self._used[name] = value
        return value

    def concealed(self, message: str) -> str:
        """A message without the values that have been put into a file: it has their names instead."""
        names = {value.lower(): f"${{{name}}}" for name, value in self._used.items() if value}
        longest_first = "|".join(map(_pattern, sorted(names, key=len, reverse=True)))
        if not longest_first:
            return message
        return re.sub(longest_first, lambda found: names.get(found[0].lower(), "..."), message, flags=re.IGNORECASE)

    def settings(self, mistakes: list[str]) -> Iterator[tuple[str, Setting, str | list[str]]]:
        """Each variable that is a setting: its name, the setting, and the value as a flag has it."""
        for name, value in self._variables.items():
            word = name.removeprefix(PREFIX)
            if word == name or not value or name in _HANDED_OVER or _OF_KUBERNETES.fullmatch(word):
                continue
            row = NAMES.get(word.lower())
            if row is None:
                known = {spelling: PREFIX + known.name.upper() for spelling, known in NAMES.items() if known.has_flag}
                mistakes.append(f"{name}: unknown setting; {nearest(word, known)}")
            elif not row.has_flag:
                mistakes.append(f"{name}: only a key of the file; write {row.name} there")
            elif row.kind.repeatable:
                yield name, row, [part.strip() for part in value.split(",") if part.strip()]
            else:
                yield name, row, value


def _pattern(value: str) -> str:
    whole = re.escape(value)
    return whole if len(value) >= _LEAST else rf"(?<![^\W_]){whole}(?![^\W_])"

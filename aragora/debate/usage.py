"""What an answer took, in tokens, as the provider that gave it counts them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer with all its tries, or the sum of several.

    `input` is everything the model read and `output` everything it wrote. The others are parts of these two, not
    additions to them: of the input, `cached` was read from a prompt cache and `written` was stored into one (which
    providers charge at other rates); of the output, `thought` is reasoning, whether it is shown or not. All are 0 or
    more.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    written: int = 0
    thought: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input + other.input,
            self.output + other.output,
            self.cached + other.cached,
            self.written + other.written,
            self.thought + other.thought,
        )

    @property
    def total(self) -> int:
        """All tokens, as limits per minute count them."""
        return self.input + self.output

    def to_json(self) -> dict[str, int]:
        """As a JSON object with every field; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Usage":
        """What `to_json` wrote; members that are missing or no counts are 0."""
        return cls(**{name: _count(stored.get(name)) for name in cls.__slots__})


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0

"""What becomes of nginx's directives: settings, and a remark on each line that needs one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from proxy.nginx.blocks import Directive
from proxy.settings.values import kinds

Value = str | bool | int | list[str] | dict[str, str]


class Verdict(Enum):
    """What a remark says of a directive."""

    NEEDLESS = "not needed"
    DIFFERENT = "different"
    LOST = "NOT TRANSLATED"


@dataclass
class Section:
    """The top level, or one `[[route]]` or `[[certificate]]`: settings in their order, and remarks."""

    title: str = ""
    values: dict[str, Value] = field(default_factory=dict)
    remarks: list[tuple[Directive | None, Verdict, str]] = field(default_factory=list)

    def needless(self, directive: Directive, why: str) -> None:
        """The gateway does this without a setting, or has no use for it."""
        self.remarks.append((directive, Verdict.NEEDLESS, why))

    def different(self, directive: Directive | None, how: str) -> None:
        """It works in another way here."""
        self.remarks.append((directive, Verdict.DIFFERENT, how))

    def lost(self, directive: Directive, why: str) -> None:
        """It has no equivalent, or none that is known."""
        self.remarks.append((directive, Verdict.LOST, why))

    @property
    def losses(self) -> int:
        return sum(verdict is Verdict.LOST for _, verdict, _ in self.remarks)

    def lines(self) -> Iterator[str]:
        """The section in TOML, its remarks as comments before it."""
        said = set()
        for directive, verdict, text in self.remarks:
            line = f"# {directive}: {verdict.value}: {text}" if directive else f"# {verdict.value}: {text}"
            if line not in said:
                said.add(line)
                yield "".join(sign if sign.isprintable() else "?" for sign in line)
        if self.title and self.values:
            yield f"[[{self.title}]]"
        for key, value in self.values.items():
            yield f"{key} = {_toml(value)}"


def _toml(value: Value) -> str:
    """A value as a file has it: `${` would be a variable of the environment."""
    if isinstance(value, bool | int):
        return kinds.toml(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return _text(value[0]) if len(value) == 1 else "[" + ", ".join(map(_text, value)) + "]"
    return "{ " + ", ".join(f"{_key(name)} = {_text(text)}" for name, text in value.items()) + " }"


def _text(text: str) -> str:
    escaped = text.replace("${", "$${").replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(sign if sign.isprintable() else f"\\u{ord(sign):04X}" for sign in escaped) + '"'


def _key(name: str) -> str:
    return name if name.replace("-", "").isalnum() and name.isascii() else _text(name)


def rendered(sections: Iterable[Section]) -> str:
    """Sections as a file."""
    blocks = ["\n".join(section.lines()) for section in sections]
    return "\n\n".join(block for block in blocks if block) + "\n"

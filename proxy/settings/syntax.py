"""What is wrong with a file that is not TOML, in terms of the settings in it."""

import re
from tomllib import TOMLDecodeError

_WHERE = re.compile(r"(?P<what>.*) \(at (?:line (?P<line>\d+), column \d+|end of document)\)", re.DOTALL)
_SETTING = re.compile(r"""(?P<key>[\w"'.-]+)\s*=\s*(?P<value>.*)""")
_SWITCHES = {"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false", "false": "false"}
_OPENED = re.compile(r"=\s*(?:\[(?!.*\])|\{(?!.*\})|\"\"\"|''')")
_LONGEST = 80


def syntax_mistake(text: str, error: TOMLDecodeError) -> tuple[int, str]:
    """The number of the line at fault, and that line with what is wrong in it and the fix."""
    found = _WHERE.fullmatch(str(error))
    what = found["what"] if found else str(error)
    lines = text.splitlines() or [""]
    number = min(int(found["line"] or len(lines)) if found else len(lines), len(lines))
    if not (found and found["line"]) or what.startswith("Unclosed"):
        number = _opened(lines, number)
    shown = lines[number - 1].strip()
    why = _why(shown, what)
    return number, f"{shown if len(shown) <= _LONGEST else shown[: _LONGEST - 3] + '...'}: {why}"


def _opened(lines: list[str], last: int) -> int:
    """The line whose list, table or text is still open at line `last`, else the last line that sets something."""
    numbered = [(number, line) for number, line in enumerate(lines[:last], 1) if "=" in line]
    opened = [number for number, line in numbered if _OPENED.search(line)]
    return (opened or [number for number, _ in numbered] or [last])[-1]


def _why(line: str, what: str) -> str:
    setting = _SETTING.match(line)
    if re.search("[\u201c\u201d\u201e\u2018\u2019]", line):
        return 'typographic quotes; write straight ones, "..."'
    if what.startswith("Cannot overwrite") and setting:
        return f"{setting['key']} is set already; remove one of them, or write both values as a list"
    if what.startswith("Cannot declare"):
        name = line.strip("[] ")
        return f"{name} is there already; several of them are written [[{name}]], in double brackets"
    if setting:
        return _value_fault(setting["key"], setting["value"].strip(), what)
    if found := re.match(r"""([\w"'.-]+)\s*:\s*(.*)""", line):
        return f"expected = between key and value; write {found[1]} = {found[2]}"
    if found := re.match(r"([A-Za-z_-]+)\s+([^\s=]+?);?$", line):
        return f"expected = between key and value; write {found[1]} = {_quoted(found[2])}"
    return f"{what[:1].lower()}{what[1:]}; expected KEY = VALUE"


def _value_fault(key: str, value: str, what: str) -> str:
    bare = value.partition("#")[0].strip().rstrip(";,")
    if not bare:
        return f"the value is missing; write {key} = VALUE"
    if bare.lower() in _SWITCHES:
        return f"not a value of TOML; write {key} = {_SWITCHES[bare.lower()]}"
    if bare[0] in "[{" and bare[-1] not in "]}":
        return f"{bare[0]} is not closed; add {']' if bare[0] == '[' else '}'}"
    if bare[0] in "\"'":
        if bare.count(bare[0]) % 2:
            return f"a quote is not closed; add {bare[0]} at the end"
        return f"{what[:1].lower()}{what[1:]}; in single quotes a backslash stands for itself"
    if bare[0] not in "[{=" and re.search(r"[^\d.]", bare):
        return f"text needs quotes; write {key} = {_quoted(bare)}"
    return f"{what[:1].lower()}{what[1:]}; write {key} = VALUE, with text in quotes"


def _quoted(text: str) -> str:
    return text if text.isdecimal() else f'"{text}"'

"""Downloads of a debate in five formats. What agents and people wrote is data in every one of them.

HTML lays their Markdown out in harmless elements (`aragora.service.rendering`) and forbids scripts; a CSV cell that a
spreadsheet would take for a formula begins with an apostrophe; Markdown shows text without its links and images
(`aragora.service.markdown`).

Each format writes in parts, row by row: a debate may hold more than one process should hold at once.
"""

import csv
import html
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from aragora.debate import wording
from aragora.debate.ballots import named
from aragora.debate.downloads import Format, Table
from aragora.debate.events import EventType
from aragora.debate.narration import described
from aragora.debate.state import Role
from aragora.service import markdown
from aragora.service.rendering import html_of, phrase_of
from aragora.service.views import Row
from aragora.text import printable

COLUMNS: dict[Table, tuple[str, ...]] = {
    Table.ARGUMENT: (
        *("seq", "type", "round", "agent", "target", "choice", "severity", "confidence", "judge", "similarity"),
        *("content", "text", "issues", "suggestions", "reasoning", "message", "answer", "model", "usage", "timestamp"),
    ),
    Table.MESSAGES: ("index", "round", "agent", "role", "timestamp", "content", "cut", "omitted"),
    Table.CRITIQUES: ("seq", "round", "agent", "target", "severity", "issues", "suggestions", "reasoning", "timestamp"),
    Table.VOTES: ("seq", "round", "agent", "choice", "confidence", "reasoning", "timestamp"),
    Table.USAGE: ("agent", "answers", "input", "output", "cached", "written", "thought", "cost"),
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True, slots=True)
class Export:
    """A download that is written as it is read; `parts` are UTF-8, and can be read once."""

    filename: str
    content_type: str
    parts: Iterator[bytes]

    @property
    def body(self) -> bytes:
        """The whole of it, at once."""
        return b"".join(self.parts)


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is exported: one debate and one of its tables. The table of `summary` is the debate itself."""

    debate: Row
    table: Table
    rows: Iterable[Row]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the table's columns."""
        return ("field", "value") if self.table is Table.SUMMARY else COLUMNS[self.table]

    def cells(self) -> Iterator[list[str]]:
        """The table as text, row by row."""
        if self.table is Table.SUMMARY:
            return ([name, _text(value)] for name, value in self.debate.items())
        return ([_text(row.get(name)) for name in self.columns] for row in self.rows)


def export(sheet: Sheet, form: Format) -> Export:
    """The download of `sheet`."""
    content_type, write = _WRITERS[form]
    part = "" if sheet.table is Table.ARGUMENT else f"-{sheet.table}"
    name = f"{sheet.debate['slug']}{part}.{form}"
    return Export(name, content_type, (part.encode("utf-8", "replace") for part in write(sheet)))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = "; ".join(value)
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _json(sheet: Sheet) -> Iterator[str]:
    shown = json.dumps(sheet.debate, indent=2, ensure_ascii=False)
    if sheet.table is Table.SUMMARY:
        yield shown + "\n"
        return
    yield shown.removesuffix("\n}") + f',\n  "{sheet.table}": ['
    separator = "\n"
    for row in sheet.rows:
        lines = json.dumps(row, indent=2, ensure_ascii=False).split("\n")
        yield separator + "\n".join(f"    {line}" for line in lines)
        separator = ",\n"
    yield "]\n}\n" if separator == "\n" else "\n  ]\n}\n"


def _csv(sheet: Sheet) -> Iterator[str]:
    out = io.StringIO()
    writer = csv.writer(out)  # RFC 4180: commas, CRLF, doubled quotes
    writer.writerow(sheet.columns)
    for row in sheet.cells():
        writer.writerow([_harmless(cell) for cell in row])
        yield out.getvalue()
        out.seek(0)
        out.truncate()
    yield out.getvalue()


def _harmless(cell: str) -> str:
    return "'" + cell if cell.startswith(_FORMULA) else cell


def _outline(debate: Row) -> list[tuple[str, str]]:
    """The few facts that head every readable export."""
    result = "reached" if debate["consensus_reached"] else "not reached"
    return [
        *([("Debate", debate["id"])] if "id" in debate else []),
        ("Agents", ", ".join(debate["agents"])),
        ("Rounds", f"{debate['rounds_used']} of {debate['rounds']}"),
        ("Status", debate["status"]),
        ("Consensus", f"{debate['consensus']}: {result}, confidence {debate['confidence']:.0%}"),
        *([("Verdict", debate["verdict"]["summary"])] if debate.get("verdict") else []),
        ("Began", debate["created_at"]),
        ("Took", f"{debate['duration_seconds']:g} s"),
        *([("Because", debate["reason"])] if debate.get("reason") else []),
        *_costs(debate),
    ]


def _costs(debate: Row) -> list[tuple[str, str]]:
    """What it took and might have taken, where that was anything."""
    if not debate.get("usage", {}).get("questions"):
        return []
    bounds = wording.budget(debate.get("budget") or {})
    return [("Cost", spent(debate["usage"])), *([("Budget", bounds)] if bounds else [])]


def _verdict(debate: Row) -> list[tuple[str, str]]:
    """Label and text of what is to be known of the result."""
    found = debate.get("verdict")
    return [] if found is None else [(label, _text(text)) for label, text in wording.details(found)]


def spent(usage: Row) -> str:
    """Tokens and money in words."""
    return f"{usage['input'] + usage['output']:,} tokens in {usage['questions']} questions, {usage['cost']:.4f} $"


def _heading(row: Row) -> str:
    author = row.get("agent") or "a person"
    what = row.get("role") or (f"on {row['target']}" if row.get("target") else "")
    return f"{author}{', ' + what if what else ''} (round {row.get('round', 0)})"


def _items(sheet: Sheet) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """Section, heading and parts of each row; the section is empty where it goes on."""
    if sheet.table is not Table.ARGUMENT:
        title = sheet.table.capitalize()
        for row in sheet.rows:
            yield title, _heading(row), _body(row)
            title = ""
        return
    section = ""
    for row in sheet.rows:
        heading, body = described({"type": row["type"], "round": row["round"], "agent": row["agent"], "data": row})
        if not heading:
            continue
        model = f", {row['model']}" if row.get("model") else ""
        found = _stage(row)
        yield "" if found == section else found, printable(heading + model), [("", printable(body))] if body else []
        section = found


def _stage(row: Row) -> str:
    """Where in the debate a row of its argument stands."""
    if row.get("role") == Role.PROPOSER:
        return "Proposals"
    if row["type"] in (EventType.VOTE, EventType.USER_VOTE):
        return f"Votes of round {row['round']}"
    return f"Round {row['round']}" if row["round"] else "Before the first round"


def _body(row: Row) -> list[tuple[str, str]]:
    """Label and text of each part of one row; the main text has no label."""
    if "content" in row:
        lacking = [(name, _text(row[name])) for name in ("cut", "omitted") if row.get(name)]
        return [("", _text(row["content"])), *lacking]
    skipped = {"seq", "round", "agent", "timestamp", "target", "index", "usage", "shown"}
    shown = row.get("shown") or ()
    found = {name: value for name, value in row.items() if name not in skipped and value not in (None, "", [])}
    return [(name, named(_text(value), shown)) for name, value in found.items()]


def _txt(sheet: Sheet) -> Iterator[str]:
    debate = sheet.debate
    lines = [_text(debate["task"]), "=" * 72, ""]
    lines += [f"{label + ':':<11} {value}" for label, value in _outline(debate)]
    lines += ["", "Answer", "-" * 72, _text(debate["final_answer"]) or "none", ""]
    for label, text in _verdict(debate):
        lines += [label, "-" * 72, text, ""]
    yield "\n".join(lines)
    for section, heading, parts in _items(sheet):
        lines = ["", "=" * 72, section] if section else []
        lines += ["", "-" * 72, heading, ""]
        lines += [f"{label}: {text}" if label else text for label, text in parts] + [""]
        yield "\n".join(lines)


def _md(sheet: Sheet) -> Iterator[str]:
    debate = sheet.debate
    lines = ["# Debate", "", *markdown.quoted(_text(debate["task"])), ""]
    lines += [f"- **{label}:** {markdown.inline(str(value))}" for label, value in _outline(debate)]
    lines += ["", "## Answer", "", *markdown.quoted(_text(debate["final_answer"]) or "none"), ""]
    for label, text in _verdict(debate):
        lines += [f"## {label}", "", *markdown.quoted(text), ""]
    yield "\n".join(lines)
    for section, heading, parts in _items(sheet):
        lines = ["", f"## {section}"] if section else []
        lines += ["", f"### {markdown.inline(heading)}", ""]
        for label, text in parts:
            lines += [*([f"**{label}**", ""] if label else []), *markdown.quoted(text), ""]
        yield "\n".join(lines)


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }}
html {{ background: Canvas; color: CanvasText }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem }} dd {{ margin: 0 }}
dt {{ color: color-mix(in srgb, CanvasText 70%, Canvas) }}
article {{ border-top: 1px solid #ccc; padding: .5rem 0 }} body {{ overflow-wrap: anywhere }}
pre {{ overflow-x: auto; padding: .7rem; background: #8881; border-radius: .5rem }} code {{ font-size: .9em }}
table {{ border-collapse: collapse; display: block; overflow-x: auto }}
td, th {{ border: 1px solid #8886; padding: .3rem .6rem }}
@page {{ margin: 18mm }}
@media print {{
  body {{ font-size: 11pt; margin: 0; max-width: none }} h2, h3 {{ break-after: avoid }} a {{ color: inherit }}
  pre, tr, blockquote {{ break-inside: avoid }} pre {{ white-space: pre-wrap }}
}}
blockquote {{ margin: 0; padding-inline-start: 1rem; border-inline-start: 3px solid #8886 }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<dl>{outline}</dl>
<h2>Answer</h2>
{answer}
{verdict}"""


def _html(sheet: Sheet) -> Iterator[str]:
    debate = sheet.debate
    yield _PAGE.format(
        title=html.escape(_text(debate["task"])),
        outline="".join(
            f"<dt>{html.escape(label)}</dt><dd>{html.escape(str(value))}</dd>" for label, value in _outline(debate)
        ),
        answer=html_of(_text(debate["final_answer"]) or "none", 3),
        verdict="".join(f"<h2>{label}</h2>\n{html_of(text, 3)}\n" for label, text in _verdict(debate)),
    )
    for section, heading, parts in _items(sheet):
        said = "".join(
            f"<p><b>{html.escape(label)}:</b> {phrase_of(text)}</p>" if label else html_of(text, 4)
            for label, text in parts
        )
        title = f"<h2>{html.escape(section)}</h2>\n" if section else ""
        yield f"{title}<article><h3>{html.escape(heading)}</h3>{said}</article>\n"
    yield "</main>\n</body>\n</html>\n"


_WRITERS: dict[Format, tuple[str, Callable[[Sheet], Iterator[str]]]] = {
    Format.JSON: ("application/json", _json),
    Format.CSV: ("text/csv; charset=utf-8", _csv),
    Format.HTML: ("text/html; charset=utf-8", _html),
    Format.TXT: ("text/plain; charset=utf-8", _txt),
    Format.MD: ("text/markdown; charset=utf-8", _md),
}

"""What agents and people wrote, as Markdown that shows it and does nothing: no link, no image, no HTML of theirs.

Code stays what it is, to the letter; everything else keeps its shape (lists, emphasis, tables) while each character
that could begin a link, an image, HTML or a fence is escaped (CommonMark 0.31, sections 2.4 and 6). Fences are set
anew, longer than any run of backticks within, so that every reader of the result finds code exactly where it was found
here.
"""

import html
import re
from collections.abc import Iterator, Sequence

_MARKERS = r"(?P<markers>(?:[ \t]*(?:[-*+]|\d{1,9}[.)]|>)(?=[ \t]))*)[ \t]*"
_OPENING = re.compile(_MARKERS + r"(?P<fence>`{3,}(?=[^`]*$)|~{3,})[ \t]*(?P<language>.*)")
_CLOSING = re.compile(r"[ \t>]*(`{3,}|~{3,})[ \t]*")
_INDENTED = re.compile(r"(?: {4}|\t)(?=.*\S)")
_BACKTICKS = re.compile(r"`+")
_LANGUAGE = re.compile(r"[A-Za-z0-9+#.-]{1,20}")
# What some readers draw instead of showing it.
_DRAWN = frozenset({"mermaid", "math", "latex", "geojson", "topojson", "stl", "plantuml", "dot", "graphviz"})

_ADDRESSES = r"(?<=\w)\.(?=[^\W\d_])|[:/](?=/)|@"  # what readers make a link of by themselves
_ACTIVE = re.compile(rf"[\\`~\[\]${{]|{_ADDRESSES}")
_LITERAL = re.compile(rf"[\\`~\[\]${{*_#|!]|{_ADDRESSES}")


def quoted(text: str) -> Iterator[str]:
    """The lines of a block quote that shows `text`."""
    return (f"> {line}" if line else ">" for line in _blocks(text.split("\n")))


def inline(text: str) -> str:
    """`text` on one line, every sign of it literal."""
    return html.escape(_LITERAL.sub(r"\\\g<0>", " ".join(text.split())), quote=False)


def _blocks(lines: Sequence[str]) -> Iterator[str]:
    at = 0
    may_be_indented = True
    while at < len(lines):
        line = lines[at]
        opening = _OPENING.fullmatch(line)
        if opening is not None:
            end = next((number for number in range(at + 1, len(lines)) if _closes(lines[number], opening)), len(lines))
            if opening["markers"]:
                yield opening["markers"]
            yield from _fenced(lines[at + 1 : end], opening["language"].strip())
            at = end + 1
        elif may_be_indented and _INDENTED.match(line):
            end = at + 1
            while end < len(lines) and (_INDENTED.match(lines[end]) or not lines[end].strip()):
                end += 1
            code = [_INDENTED.sub("", line, count=1) for line in lines[at:end]]
            while not code[-1].strip():
                code.pop()
            yield from _fenced(code, "")
            at = end
        else:
            yield _prose(line).rstrip(" ")
            may_be_indented = not line.strip()
            at += 1
            continue
        may_be_indented = True


def _closes(line: str, opening: re.Match[str]) -> bool:
    closing = _CLOSING.fullmatch(line)
    return closing is not None and closing[1].startswith(opening["fence"])


def _fenced(code: Sequence[str], language: str) -> Iterator[str]:
    """A block of code between blank lines, so that it continues nothing and nothing continues it."""
    longest = max((len(run) for line in code for run in _BACKTICKS.findall(line)), default=0)
    fence = "`" * max(3, longest + 1)
    shown = language if _LANGUAGE.fullmatch(language) and language.lower() not in _DRAWN else ""
    yield from ("", fence + shown, *code, fence, "")


def _prose(line: str) -> str:
    """One line outside of blocks of code: spans of code as they are, all else escaped."""
    parts: list[str] = []
    at = 0
    while (opening := _BACKTICKS.search(line, at)) is not None:
        runs = _BACKTICKS.finditer(line, opening.end())
        closing = next((run for run in runs if len(run[0]) == len(opening[0])), None)
        parts.append(_escaped(line[at : opening.start()]))
        at = opening.end() if closing is None else closing.end()
        span = line[opening.start() : at]
        parts.append(_escaped(span) if closing is None else span)
    return "".join(parts) + _escaped(line[at:])


def _escaped(text: str) -> str:
    return html.escape(_ACTIVE.sub(r"\\\g<0>", text), quote=False)

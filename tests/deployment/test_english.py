"""Texts use the terms of the field, and no idiom that readers have to translate; what agents say is exempt."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
SPEECH = {CHECKOUT / "aragora" / "debate" / "prompts.py", *(CHECKOUT / "aragora" / "agents" / "demo").glob("*.py")}
SOURCES = [
    *sorted((CHECKOUT / "proxy").rglob("*.py")),
    *(path for path in sorted((CHECKOUT / "aragora").rglob("*.py")) if path not in SPEECH),
]
PAGES = sorted((CHECKOUT / "proxy" / "admin" / "page").glob("*.[hj]*"))
GUIDES = (
    "applications",
    "behind-cloudflare",
    "configuration",
    "deploy-without-downtime",
    "docker",
    "flask-django-fastapi",
    "from-nginx",
    "grpc",
    "https",
    "limits",
    "load-balancing",
    "performance",
    "run-the-gateway",
    "single-page-applications",
    "status-page",
    "streaming",
    "tracing",
    "troubleshooting",
    "two-applications",
    "uploads",
)
DOCUMENTS = [
    *(CHECKOUT / "docs" / "howto" / f"{name}.md" for name in GUIDES),
    *(CHECKOUT / "docs" / "reference" / name for name in ("proxy-cli.md", "proxy-settings.md")),
    CHECKOUT / "README.md",
    CHECKOUT / "docs" / "comparison.md",
    *(
        path
        for path in sorted((CHECKOUT / "conf").rglob("*"))
        if path.suffix in (".toml", ".yaml", ".yml", ".env", ".py")
    ),
    CHECKOUT / "docs" / "supported-http.md",
    CHECKOUT / "docs" / "threat-model.md",
    CHECKOUT / "docs" / "tutorials" / "first-application.md",
]
MARKS = {
    r"\bwho(?:ever|m)?\b": "client, peer, caller, worker ... instead of who",
    r"\bnobody\b|\beverybody\b|\bsomebody\b": "no client, all accounts, another process ... instead of nobody",
    r"\bfor ever\b": "endlessly, or what really happens",
    r"\bof late\b": "recent",
    r"\bstands? (?:there|beside|in|behind)\b": "is there, next to, in, after",
    r"\bthe mend\b|\bmended\b": "fix, repaired",
    r"\bis told\b|\bare told\b": "receives, is sent, is logged",
    r"\bmake anew\b|\bmade anew\b": "recreated, rebuilt",
}


def id_of(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Strings and comments of a module, lines of any other file."""
    source = path.read_text()
    if path.suffix != ".py":
        yield from enumerate(source.splitlines(), 1)
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@pytest.mark.parametrize("path", [*SOURCES, *PAGES, *DOCUMENTS], ids=id_of)
def test_texts_are_plain_english(path: Path) -> None:
    found = [
        f"{id_of(path)}:{line}: {match[0]!r}: {instead}"
        for line, text in texts(path)
        for mark, instead in MARKS.items()
        for match in re.finditer(mark, text, re.IGNORECASE)
    ]
    assert not found, "\n".join(found)

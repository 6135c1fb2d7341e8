"""Files and pages that debates are given: their text, from what a caller sends or names."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from aragora import documents
from aragora.debate.limits import LONGEST_CONTEXT
from aragora.errors import Forbidden, Problem, TooManyRequests, ValidationFailed
from aragora.outbound import NotAnswered, NotPermitted, Outbound
from aragora.service.principal import Principal
from aragora.storage import Scope

AT_ONCE = 4  # documents that one process reads
FETCH_SECONDS = 20.0
LONGEST_NAME = 200
_ACCEPTED = "text/markdown, text/html, text/plain, application/pdf, application/json;q=0.5, text/*;q=0.5"
_HEADERS = {"User-Agent": "aragora", "Accept": _ACCEPTED}


@dataclass(frozen=True, slots=True)
class Source:
    """A document as text. `characters` are those of the whole, which may be more than `text` has."""

    name: str
    type: str
    text: str
    characters: int

    @property
    def cut(self) -> bool:
        """Whether `text` is not the whole."""
        return len(self.text) < self.characters


class Sources:
    """Reads documents. `fetches` says whether URLs are; `limit` is in bytes. Any number of threads may use it."""

    def __init__(self, outbound: Outbound, *, fetches: bool, limit: int) -> None:
        self._outbound = outbound
        self._fetches = fetches
        self.limit = limit
        self._places = threading.Semaphore(AT_ONCE)

    def fetch(self, principal: Principal, url: str, field: str = "url") -> Source:
        """The text of what stands at `url`; raises `ValidationFailed` at `field`, `Forbidden`, `TooManyRequests`."""
        principal.demand(Scope.CREATE)
        if not self._fetches:
            raise Forbidden("pages are not fetched here (ARAGORA_FETCH)")
        with self._place():
            try:
                answer = self._outbound.get(url, _HEADERS, limit=self.limit, seconds=FETCH_SECONDS)
            except (NotPermitted, NotAnswered) as error:
                raise ValidationFailed.of(Problem(field, f"{_shown(url)}: {error}")) from None
            if answer.status != 200:
                raise ValidationFailed.of(Problem(field, f"{_shown(url)}: it answers {answer.status}"))
            return _read(_shown(answer.url), answer.content_type, answer.body, field)

    def read(self, principal: Principal, name: str, content_type: str, data: bytes) -> Source:
        """The text of a file that was sent; raises as `fetch` does."""
        principal.demand(Scope.CREATE)
        with self._place():
            return _read(name[:LONGEST_NAME] or "file", content_type, data, "body")

    def context(self, principal: Principal, context: str, urls: list[str]) -> str:
        """`context`, and behind it what stands at the URLs, which share evenly what room there is."""
        found = [self.fetch(principal, url, f"sources.{index}") for index, url in enumerate(urls)]
        room = LONGEST_CONTEXT - len(context)
        parts = [context] if context else []
        for index, source in enumerate(found):
            part = quoted(source, room // (len(found) - index) - 2)
            room -= len(part) + 2
            parts.append(part)
        return "\n\n".join(parts)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(timeout=FETCH_SECONDS):
            raise TooManyRequests("other documents are being read", retry_after=5.0)
        try:
            yield
        finally:
            self._places.release()


def quoted(source: Source, room: int) -> str:
    """The source under its name, in at most `room` characters; says so where it is cut."""
    head = f"Source: {source.name}\n\n"
    if len(head) + len(source.text) <= room and not source.cut:
        return head + source.text
    note = f"\n[cut: the beginning of {source.characters:,} characters]"
    left = max(0, room - len(head) - len(note))
    return (head + source.text[:left] + note)[: max(0, room)]


def _read(name: str, content_type: str, data: bytes, field: str) -> Source:
    try:
        text = documents.text_of(data, content_type)
    except documents.Unreadable as error:
        raise ValidationFailed.of(Problem(field, f"{name}: {error}")) from None
    media_type = content_type.partition(";")[0].strip().lower()
    return Source(name, media_type, text[:LONGEST_CONTEXT], len(text))


def _shown(url: str) -> str:
    """An address as people know it, without its query, which may hold secrets."""
    parts = urlsplit(url)
    return f"{parts.netloc}{parts.path}"[:LONGEST_NAME]

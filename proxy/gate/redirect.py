"""Redirects, with parts of the request in the new address."""

import re

from proxy import errors
from proxy.errors import ExchangeError
from proxy.gate.answer import Answer

_PLACE = re.compile(r"\{([^{}]*)\}")
_KNOWN = ("scheme", "host", "path", "rest", "query")
# Behind the authority only what ends it may stand, so that no part of a path can become part of a host name.
_SHAPE = re.compile(
    r"(?:(?:https?|\{scheme\})://(?:[A-Za-z0-9.-]|\{host\})+(?::\d{1,5})?(?=$|/|\?|\{path\}|\{rest\}|\{query\})"
    r"|(?=/|\{path\}|\{rest\}))[!-~]*"
)


def check_template(template: str) -> None:
    """Raise ValueError, with the mend, for a template that `Redirect` does not take."""
    for found in _PLACE.findall(template):
        if found not in _KNOWN:
            raise ValueError(f"{{{found}}} is unknown; there are " + ", ".join(f"{{{name}}}" for name in _KNOWN))
    if not _SHAPE.fullmatch(template) or "#{" in template:
        raise ValueError('expected a URL such as "https://{host}{path}{query}", or a path such as "/new{rest}{query}"')
    if template.replace("{", "").replace("}", "") != _PLACE.sub(lambda found: found[1], template):
        raise ValueError("a brace stands alone; braces surround the name of a placeholder")


class Redirect:
    """A redirect to `template`, which may name {scheme}, {host}, {path}, {rest} and {query}.

    {host} is the request's host without its port, {rest} its path behind the route's `prefix` (it begins with a slash),
    {query} its query with the question mark, or nothing. Everything that a request brings was checked with its head:
    no part of it can end a line or hold a space.
    """

    def __init__(self, template: str, status: int, prefix: bytes) -> None:
        check_template(template)
        self._pieces = [piece.encode() for piece in _PLACE.split(template)]
        self._absolute = not template.startswith(("/", "{path}", "{rest}"))
        self._status = status
        self._prefix = prefix

    def answer(self, scheme: bytes, host: bytes | None, target: bytes) -> Answer:
        """Raises `ExchangeError` where the template needs a host and an HTTP/1.0 client named none."""
        path, mark, query = target.partition(b"?")
        if path == b"*":
            path = b"/"
        rest = path[len(self._prefix) :] if path.startswith(self._prefix) else path
        values = {
            b"scheme": scheme,
            b"host": _without_port(host or b""),
            b"path": path,
            b"rest": rest if rest[:1] == b"/" else b"/" + rest,
            b"query": mark + query,
        }
        if b"host" in self._pieces[1::2] and not host:
            raise ExchangeError(errors.HOST, "missing")
        literal = self._pieces[0::2]
        filled = [values[name] for name in self._pieces[1::2]]
        location = b"".join(piece for pair in zip(literal, [*filled, b""], strict=True) for piece in pair)
        if not self._absolute:
            # "//host" and "/\host" are addresses elsewhere to a browser: one slash, as the template has it.
            location = b"/" + location.lstrip(b"/\\")
        return Answer(self._status, (b"Location: " + location,))


def _without_port(host: bytes) -> bytes:
    return re.sub(rb":[0-9]+$", b"", host)

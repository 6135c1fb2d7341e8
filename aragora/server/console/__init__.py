"""The console: static files of this package, sent with a policy that lets nothing else run."""

import hashlib
import html
from functools import cache
from importlib import resources
from string import Template

import falcon

# Only files of this server, no inline script or style, no frame around the page (CSP level 3).
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TYPES = {"html": "text/html; charset=utf-8", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@cache
def _file(name: str) -> tuple[bytes, str] | None:
    """Content and entity tag of a file of the package, None when there is no such file."""
    suffix = name.rpartition(".")[2]
    if suffix not in TYPES or "/" in name or name.startswith("."):
        return None
    path = resources.files(__name__) / name
    if not path.is_file():
        return None
    content = path.read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:16]


class Page:
    """One fixed file at an address of its own."""

    def __init__(self, name: str) -> None:
        self._name = name

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Send the file, or 304 when the browser has it."""
        send(req, resp, self._name)

    def on_head(self, req: falcon.Request, resp: falcon.Response) -> None:
        """As GET, without the body."""
        send(req, resp, self._name)


class Elsewhere:
    """An address that people guess, and where they are sent instead."""

    def __init__(self, address: str) -> None:
        self._address = address

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Send the browser there."""
        resp.status = falcon.HTTP_307
        resp.location = self._address

    def on_head(self, req: falcon.Request, resp: falcon.Response) -> None:
        """As GET: neither has a body."""
        self.on_get(req, resp)


class Asset:
    """`/console/{name}`: what the pages load."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Send the file, 304, or 404."""
        send(req, resp, name)

    def on_head(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """As GET, without the body."""
        send(req, resp, name)


def send(req: falcon.Request, resp: falcon.Response, name: str) -> None:
    """Answer with a file of the console."""
    found = _file(name)
    if found is None:
        raise falcon.HTTPNotFound
    content, tag = found
    protect(resp)
    # Always asked again, so that a deployment shows at once; the tag makes the asking cheap.
    resp.set_header("Cache-Control", "no-cache")
    resp.etag = tag
    if any(given == tag for given in req.if_none_match or ()):
        resp.status = falcon.HTTP_304
        return
    resp.content_type = TYPES[name.rpartition(".")[2]]
    resp.data = content


def problem_page(status: int, title: str, message: str, trace_id: str) -> bytes:
    """A refusal as a page for people."""
    words = {"status": str(status), "title": title, "message": message, "trace_id": trace_id}
    return _problem_template().substitute({name: html.escape(value) for name, value in words.items()}).encode()


@cache
def _problem_template() -> Template:
    return Template((resources.files(__name__) / "problem.html").read_text("utf-8"))


def protect(resp: falcon.Response) -> None:
    """Let nothing run on a page but this server's own files."""
    resp.set_header("Content-Security-Policy", POLICY)
    resp.set_header("Referrer-Policy", "no-referrer")
    resp.set_header("Cross-Origin-Opener-Policy", "same-origin")

"""An application whose pages a test decides about, and which keeps what it was asked."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Fields = dict[str, str]


@dataclass
class Page:
    """One response; `text` may be made of the request's fields. Status 0: the connection ends without one."""

    fields: Fields = field(default_factory=dict)
    text: "str | bytes | Callable[[Fields], str]" = "page"
    status: int = 200
    chunked: bool = False


@dataclass(frozen=True)
class Asked:
    """One request that came in. Names are in lower case."""

    method: str
    target: str
    fields: Fields


class Application:
    """Responds with the page of a path, whatever the query. A page that is a function makes one of each request."""

    def __init__(self) -> None:
        self.pages: dict[str, Page | Callable[[Asked], Page]] = {}
        self.asked: list[Asked] = []
        application = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                fields = {name.lower(): value for name, value in self.headers.items()}
                self.rfile.read(int(fields.get("content-length", "0")))
                asked = Asked(self.command, self.path, fields)
                application.asked.append(asked)
                page = application.pages[self.path.partition("?")[0]]
                application._send(self, page if isinstance(page, Page) else page(asked), fields)

            do_GET = do_HEAD = do_POST = do_DELETE = handle_any  # noqa: N815 - names of the library

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _send(self, handler: BaseHTTPRequestHandler, page: Page, fields: Fields) -> None:
        text = page.text(fields) if callable(page.text) else page.text
        body = text if isinstance(text, bytes) else text.encode()
        if not page.status:
            handler.close_connection = True
            return
        handler.send_response_only(page.status)
        for name, value in page.fields.items():
            handler.send_header(name, value)
        if page.chunked:
            handler.send_header("Transfer-Encoding", "chunked")
            body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:3], body[3:]) if piece)
            body += b"0\r\n\r\n"
        elif page.status != 304:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command != "HEAD" and page.status != 304:
            handler.wfile.write(body)

    def count(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(one.target.partition("?")[0] == path for one in self.asked)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

"""The WSGI application: `gunicorn aragora.server.wsgi:application`."""

from __future__ import annotations

import falcon

from aragora.server import process


class Alive:
    """`GET /healthz`: the process serves; nothing else is asked."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer without touching the store, Redis or the runner."""
        resp.media = {"status": "ok"}


class Ready:
    """`GET /ready`: this worker may be sent requests."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200, or 503 while draining."""
        if process.current().draining:
            resp.status = falcon.HTTP_503
        resp.media = {"status": "draining" if process.current().draining else "ready"}


application = falcon.App()
application.add_route("/healthz", Alive())
application.add_route("/ready", Ready())

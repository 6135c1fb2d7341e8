"""Descriptions of the service for programs, as JSON."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import falcon

from aragora.server.resources import Resource


class Description(Resource):
    """`/api/openapi.json` and `/api/asyncapi.json`: a document that is made when a client first asks for it."""

    def __init__(self, make: Callable[[], dict[str, Any]]) -> None:
        self._content = cache(lambda: json.dumps(make()).encode())

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """The document."""
        resp.content_type = falcon.MEDIA_JSON
        resp.data = self._content()
        resp.set_header("Cache-Control", "no-cache")

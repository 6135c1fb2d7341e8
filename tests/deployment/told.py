"""A WSGI application that answers what it was told of the request: scheme and fields, as JSON."""

import json
from collections.abc import Callable, Iterable
from typing import Any


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    told = {name: value for name, value in environ.items() if name.startswith("HTTP_")}
    body = json.dumps(told | {"scheme": environ["wsgi.url_scheme"], "body": len(environ["wsgi.input"].read())}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]

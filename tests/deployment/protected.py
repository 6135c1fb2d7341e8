"""The same handlers in three frameworks: what they send is behind a gate of the gateway, wherever it is asked for.

`GATES` have a route of the gateway by `path`, one by `exact` (with "-only" behind the name), and one by a pattern
(below "/v/", a version, and the name with "-any" behind it).
"""

from typing import Any

GATES = ("password", "listed", "asked", "limited")
SECRET = "told by the protected handler"


def flask() -> Any:
    """A WSGI application of Flask."""
    from flask import Blueprint, Flask

    app = Flask(__name__)
    for gate in GATES:
        inner = Blueprint(gate, __name__, url_prefix=f"/{gate}")
        inner.add_url_rule("", "here", lambda: SECRET)
        inner.add_url_rule("/inner", "inner", lambda: SECRET)
        inner.add_url_rule("/<path:rest>", "below", lambda rest: SECRET)
        app.register_blueprint(inner)
        app.add_url_rule(f"/{gate}-only", f"{gate}-only", lambda: SECRET)
        app.add_url_rule(f"/v/<version>/{gate}-any", f"{gate}-any", lambda version: SECRET)
        app.add_url_rule(f"/v/<version>/{gate}-any/<path:rest>", f"{gate}-below", lambda version, rest: SECRET)
    return app


def django() -> Any:
    """A WSGI application of Django, with its three ways to write a route."""
    import django as library
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.urls import path, re_path

    def secret(_request: Any, **_rest: str) -> Any:
        return HttpResponse(SECRET)

    urls = [
        route
        for gate in GATES
        for route in (
            path(gate, secret),
            path(f"{gate}/<path:rest>", secret),
            re_path(rf"^{gate}/inner$", secret),
            re_path(rf"^{gate}-only$", secret),
            path(f"v/<version>/{gate}-any", secret),
            re_path(rf"^v/(?P<version>[^/]+)/{gate}-any/", secret),
        )
    ]
    settings.configure(
        ROOT_URLCONF=type("urls", (), {"urlpatterns": urls}),
        ALLOWED_HOSTS=["*"],
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        LOGGING_CONFIG=None,
    )
    library.setup()
    return get_wsgi_application()


def fastapi() -> Any:
    """An ASGI application of FastAPI, with a part of Starlette mounted in it."""
    from fastapi import FastAPI
    from fastapi.responses import PlainTextResponse
    from starlette.applications import Starlette
    from starlette.routing import Route

    def secret(_request: Any = None) -> Any:
        return PlainTextResponse(SECRET)

    app = FastAPI(openapi_url=None)
    for gate in GATES:
        for address in (f"/{gate}", f"/{gate}-only"):
            app.add_api_route(address, lambda: PlainTextResponse(SECRET))
        app.add_api_route(f"/v/{{version}}/{gate}-any", lambda version: PlainTextResponse(SECRET))
        app.mount(f"/{gate}", Starlette(routes=[Route("/inner", secret), Route("/{rest:path}", secret)]))
    return app

"""Applications that know nothing of the path that they are mounted at."""

from typing import Any


def flask() -> Any:
    """Redirects, with a cookie, and says what it was asked for."""
    from flask import Flask, redirect, request

    app = Flask(__name__)

    @app.get("/login")
    def login() -> Any:
        response = redirect("/home")
        response.set_cookie("session", "1")
        return response

    @app.route("/<path:rest>", methods=["GET", "MOVE"])
    def other(rest: str) -> str:
        return f"{request.path} {request.headers.get('Destination', '')}"

    return app


def django() -> Any:
    """The same in Django, whose redirect is one of its middleware."""
    import django as library
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
    from django.urls import re_path

    def login(_request: HttpRequest) -> HttpResponse:
        response = HttpResponseRedirect("/home")
        response.set_cookie("session", "1")
        return response

    def other(request: HttpRequest, **_rest: str) -> HttpResponse:
        return HttpResponse(f"{request.path} {request.headers.get('Destination', '')}")

    urls = [re_path("^login$", login), re_path("^", other)]
    settings.configure(ROOT_URLCONF=type("urls", (), {"urlpatterns": urls}), ALLOWED_HOSTS=["*"], LOGGING_CONFIG=None)
    library.setup()
    return get_wsgi_application()

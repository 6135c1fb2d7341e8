"""Applications that name files for the proxy to send."""

import os
from pathlib import Path
from typing import Any


def flask() -> Any:
    """Flask's own way: `send_file` with USE_X_SENDFILE."""
    from flask import Flask, send_file

    app = Flask(__name__)
    app.config["USE_X_SENDFILE"] = True

    @app.route("/flask/<path:name>", methods=["GET", "POST"])
    def named(name: str) -> Any:
        response = send_file(Path(os.environ["FILES"]) / name, as_attachment=True)
        response.set_cookie("seen", "1")
        return response

    @app.get("/flask-outside")
    def outside() -> Any:
        return app.response_class(b"not for clients", headers={"X-Sendfile": "/etc/hostname"})

    return app


def django() -> Any:
    """What django-sendfile2 and the like do: an empty response with X-Accel-Redirect."""
    import django as library
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse
    from django.urls import path

    def named(_request: HttpRequest, name: str) -> HttpResponse:
        response = HttpResponse(content_type="application/pdf")
        response["X-Accel-Redirect"] = f"/protected/{name}"
        response["Cache-Control"] = "private"
        return response

    urls = [path("django/<path:name>", named)]
    settings.configure(ROOT_URLCONF=type("urls", (), {"urlpatterns": urls}), ALLOWED_HOSTS=["*"], LOGGING_CONFIG=None)
    library.setup()
    return get_wsgi_application()

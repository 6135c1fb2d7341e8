"""Every failure leaves in one shape: the application's own errors, the framework's, and unexpected ones.

Programs get JSON; browsers that open an address, and so prefer HTML, get a page that says the same.
"""

import json
import logging
import traceback
from http import HTTPStatus
from typing import Any

import falcon

from aragora import errors
from aragora.server import console
from aragora.server.completions import errors as completion_errors
from aragora.server.context import RequestContext

log = logging.getLogger("aragora.server")

RETRY_UNAVAILABLE_SECONDS = 2
UNAVAILABLE = "not available at the moment; the same request may succeed soon"

# The framework's refusals by status; what is not listed is a bad request.
CODES = {
    401: errors.Unauthorized.code,
    403: errors.Forbidden.code,
    404: errors.NotFound.code,
    405: errors.MethodNotAllowed.code,
    406: "not_acceptable",
    413: errors.PayloadTooLarge.code,
    415: "unsupported_media_type",
    429: errors.TooManyRequests.code,
    503: errors.Unavailable.code,
}
MESSAGES = {404: "there is nothing at this address", 405: "this address does not take this method"}
# What a page says above the message; other statuses have the phrase of HTTP.
TITLES = {
    401: "A token is needed",
    403: "Not allowed",
    404: "There is nothing here",
    429: "Too many requests",
    500: "Something went wrong",
    503: "Not available at the moment",
}
HOW_TO_BE_KNOWN = "Open the console and enter your access token there."


class UnsupportedMediaType(errors.BadRequest):
    """The body is not JSON, or does not say so."""

    code = "unsupported_media_type"
    http_status = 415


def reply(req: falcon.Request, resp: falcon.Response, error: BaseException) -> None:
    """Answer `error` in the one shape; an unexpected one is logged with its trace, and told nothing of."""
    context = RequestContext.of(req.env)
    trace_id = context.request_id
    body = errors.render(error, trace_id)
    resp.status = errors.status_of(error)
    if isinstance(error, errors.AragoraError) and error.http_status >= 500:
        # The message may name hosts and files: it is the operator's, not the client's.
        log.warning("request %s: %s", trace_id, error.message)
        body["error"]["message"] = UNAVAILABLE if error.http_status == 503 else errors.INTERNAL_MESSAGE
    if not isinstance(error, errors.AragoraError):
        log.error("request %s: %s %s failed", trace_id, req.method, req.path, exc_info=error)
        if context.debug:
            body["error"]["traceback"] = "".join(traceback.format_exception(error)).splitlines()
    elif error.retry_after is not None:
        resp.set_header("Retry-After", str(max(1, round(error.retry_after))))
    elif resp.status_code == 503:
        resp.set_header("Retry-After", str(RETRY_UNAVAILABLE_SECONDS))
    if resp.status_code == 401:
        resp.set_header("WWW-Authenticate", "Bearer")
    _refuse(req, resp, body)


def reply_refusal(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    """Answer what the framework itself refuses: an unknown path, a wrong method, a header it cannot read."""
    code = CODES.get(error.status_code, "internal_error" if error.status_code >= 500 else "bad_request")
    message = MESSAGES.get(error.status_code) or error.description or error.title
    if error.status_code >= 500:
        message = errors.INTERNAL_MESSAGE
    resp.status = error.status_code
    for name, value in dict(error.headers or {}).items():
        resp.set_header(name, value)
    body = {"error": {"code": code, "message": message, "trace_id": RequestContext.of(req.env).request_id}}
    _refuse(req, resp, body)


def _refuse(req: falcon.Request, resp: falcon.Response, body: dict[str, Any]) -> None:
    """Answer with `body`: as a page, in the form of OpenAI's API, or as it is, by what the client reads."""
    resp.append_header("Vary", "Accept")
    if _wants_page(req):
        message = body["error"]["message"]
        message = HOW_TO_BE_KNOWN if resp.status_code == 401 else f"{message[:1].upper()}{message[1:]}."
        title = TITLES.get(resp.status_code) or HTTPStatus(resp.status_code).phrase
        console.protect(resp)
        page = console.problem_page(resp.status_code, title, message, body["error"]["trace_id"])
        _send(resp, falcon.MEDIA_HTML, page)
    elif completion_errors.concerns(req.path):
        write(resp, completion_errors.shaped(body, resp.status_code))
    else:
        write(resp, body)


def _wants_page(req: falcon.Request) -> bool:
    """Whether a person has opened the address: a browser prefers HTML then, and programs name JSON, or anything."""
    forms = (falcon.MEDIA_JSON, falcon.MEDIA_HTML)
    return req.method in ("GET", "HEAD") and req.client_prefers(forms) == falcon.MEDIA_HTML


def write(resp: falcon.Response, body: object) -> None:
    """Put the error's body in place of whatever the resource had begun to answer."""
    _send(resp, falcon.MEDIA_JSON, json.dumps(body).encode())


def _send(resp: falcon.Response, media_type: str, body: bytes) -> None:
    resp.stream = None
    resp.text = None
    resp.content_type = media_type
    resp.data = body
    resp.set_header("Cache-Control", "no-store")


def install(app: falcon.App[falcon.Request, falcon.Response]) -> None:
    """Route every exception of `app` through this module."""

    def unexpected(req: falcon.Request, resp: falcon.Response, error: Exception, _params: dict[str, object]) -> None:
        reply(req, resp, error)

    def refusal(
        req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, _params: dict[str, object]
    ) -> None:
        reply_refusal(req, resp, error)

    app.add_error_handler(Exception, unexpected)
    app.add_error_handler(falcon.HTTPError, refusal)

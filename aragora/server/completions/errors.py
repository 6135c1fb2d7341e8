"""Errors as OpenAI's clients read them: `{"error": {"message", "type", "param", "code"}}`."""

from typing import Any

from aragora import errors

PREFIX = "/v1/"

# By status; everything else is the request's fault, or from 500 on the server's.
TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class ContextTooLong(errors.BadRequest):
    """The messages say more than a debate takes; named as OpenAI names it."""

    code = "context_length_exceeded"


class ModelNotFound(errors.NotFound):
    """No council has this name."""

    code = "model_not_found"


def concerns(path: str) -> bool:
    """Whether errors at this address have OpenAI's form."""
    return path.startswith(PREFIX)


def form(
    code: str, message: str, status: int, *, param: str | None = None, trace_id: str | None = None
) -> dict[str, Any]:
    """The body of an error."""
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code, "trace_id": trace_id}}


def shaped(body: dict[str, Any], status: int) -> dict[str, Any]:
    """The same error as `aragora.errors.render` made it, in OpenAI's form."""
    error = body["error"]
    details = error.get("details") or [{"field": None}]
    code = "invalid_api_key" if status == 401 else error["code"]
    return form(code, error["message"], status, param=details[0]["field"] or None, trace_id=error.get("trace_id"))

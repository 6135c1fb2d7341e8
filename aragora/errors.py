"""The one error taxonomy: what went wrong, whose fault it is, and the one shape every answer gives it.

An `AragoraError` knows its stable `code` (for programs), its HTTP status and a one-line message (for people).
`render` turns it into the JSON object that HTTP, WebSocket and the command line share.
"""

# ruff: noqa: N818  an error here is named for what happened, as callers read it: NotFound, LeaseLost

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One field of the input and what is wrong with it."""

    field: str
    problem: str


class AragoraError(Exception):
    """Base of every failure that may be shown to a caller.

    `retry_after` is a number of seconds after which the same request may succeed, or None.
    """

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, details: Iterable[Problem] = (), retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = tuple(details)
        self.retry_after = retry_after


class ValidationFailed(AragoraError):
    """The input breaks a rule; `details` names each field."""

    code = "validation_error"
    http_status = 400

    @classmethod
    def of(cls, *problems: Problem) -> "ValidationFailed":
        """An error whose message names the first problem and how many more there are."""
        first = f"{problems[0].field}: {problems[0].problem}" if problems[0].field else problems[0].problem
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return cls(first + more, details=problems)


class BadRequest(AragoraError):
    """The request cannot be understood at all (broken JSON, wrong media type, bad cursor)."""

    code = "bad_request"
    http_status = 400


class Unauthorized(AragoraError):
    """No token, or not a known one."""

    code = "unauthorized"
    http_status = 401


class Forbidden(AragoraError):
    """Known, but not allowed (an Origin that is not on the list)."""

    code = "forbidden"
    http_status = 403


class NotFound(AragoraError):
    """No such debate, route or table."""

    code = "not_found"
    http_status = 404


class MethodNotAllowed(AragoraError):
    """The resource exists, the method does not."""

    code = "method_not_allowed"
    http_status = 405


class Conflict(AragoraError):
    """The state of the resource forbids it: already ended, or an idempotency key used for another request."""

    code = "conflict"
    http_status = 409


class PayloadTooLarge(AragoraError):
    """The body is longer than the limit."""

    code = "payload_too_large"
    http_status = 413


class TooManyRequests(AragoraError):
    """A rate or a bound is used up."""

    code = "too_many_requests"
    http_status = 429


class Unavailable(AragoraError):
    """The store does not answer, or the process drains; worth trying again."""

    code = "unavailable"
    http_status = 503


class SeqConflict(AragoraError):
    """An append named a `seq` that is no longer the end of the log: another process wrote first."""

    code = "seq_conflict"
    http_status = 409


class LeaseLost(AragoraError):
    """The fencing number of an append is not the current one: another process (or none) holds the debate."""

    code = "lease_lost"
    http_status = 409


class DebateEnded(Conflict):
    """The debate has reached its final status; nothing may be added."""

    code = "debate_ended"


class SettingsError(AragoraError):
    """A setting is missing or wrong; the message names the variable, its value and the fix."""

    code = "settings_error"


INTERNAL_MESSAGE = "internal error; the log has the details under this trace_id"


def render(error: BaseException, trace_id: str | None = None) -> dict[str, Any]:
    """The JSON object of `error`. Anything that is no `AragoraError` shows nothing of its inside."""
    if isinstance(error, AragoraError):
        body: dict[str, Any] = {"code": error.code, "message": error.message}
        if error.details:
            body["details"] = [{"field": item.field, "problem": item.problem} for item in error.details]
    else:
        body = {"code": AragoraError.code, "message": INTERNAL_MESSAGE}
    if trace_id is not None:
        body["trace_id"] = trace_id
    return {"error": body}


def status_of(error: BaseException) -> int:
    """The HTTP status of `error`; 500 for anything unexpected."""
    return error.http_status if isinstance(error, AragoraError) else 500

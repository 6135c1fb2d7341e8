"""What went wrong."""

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """One member of the request and what is wrong with it."""

    field: str
    problem: str


class ErrorBody(BaseModel):
    """What went wrong; `trace_id` finds it in the log."""

    code: str = Field(examples=["validation_error"])
    message: str
    trace_id: str
    details: list[Problem] | None = None
    traceback: list[str] | None = Field(None, description="Development server only.")


class ErrorAnswer(BaseModel):
    """The one shape of every error."""

    error: ErrorBody

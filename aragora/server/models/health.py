"""Whether the service lives, and is ready."""

from typing import Literal

from pydantic import BaseModel


class Check(BaseModel):
    """One condition of readiness."""

    ok: bool
    detail: str


class Alive(BaseModel):
    """The process serves."""

    status: Literal["ok"]


class Health(BaseModel):
    """Liveness with facts about the process."""

    status: Literal["ok"]
    version: str
    build: str
    uptime_seconds: float


class Readiness(BaseModel):
    """Whether this worker may be sent requests, and every reason."""

    status: Literal["ready", "unavailable"]
    checks: dict[str, Check]

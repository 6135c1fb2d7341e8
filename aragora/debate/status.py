"""Where a debate stands."""

from enum import StrEnum


class Status(StrEnum):
    """`CREATED` and `RUNNING` change; the others are final."""

    CREATED = "created"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing can happen any more."""
        return self not in (Status.CREATED, Status.RUNNING)

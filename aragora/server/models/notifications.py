"""Messages about the end of a debate."""

from pydantic import BaseModel, Field

from aragora.server.models.times import Moment
from aragora.storage.notifications import Delivery, NotificationKind


class NotificationAnswer(BaseModel):
    """A message and its delivery; its address and secret are never shown."""

    id: str = Field(description="`webhook-id` of the message.")
    kind: NotificationKind
    host: str
    state: Delivery
    attempts: int
    next_at: Moment | None = Field(
        description="When it is sent next; null before the debate has ended, and at the end."
    )
    problem: str | None = Field(description="Why it was not taken the last time.")


class NotificationList(BaseModel):
    """The recipients notified when the debate ends."""

    debate_id: str
    notifications: list[NotificationAnswer]
    count: int

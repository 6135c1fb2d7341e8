"""The recipients notified when a debate ends: checked when they are asked for, shown without what is secret."""

from aragora.debate import limits
from aragora.errors import Problem, SettingsError, ValidationFailed
from aragora.outbound import NotPermitted, Outbound
from aragora.service import messages
from aragora.service.requests import NewNotification
from aragora.storage import DebateRecord, Store
from aragora.storage.notifications import Notification, NotificationKind, Recipient


class Notifications:
    """`secret` signs webhooks that bring none of their own; empty where there is none. Raises `SettingsError`."""

    def __init__(self, store: Store, outbound: Outbound, secret: str) -> None:
        self._kept = store.notifications
        self._outbound = outbound
        self._secret = secret
        if secret:
            try:
                messages.key_of(secret)
            except ValueError as error:
                raise SettingsError(f"ARAGORA_WEBHOOK_SECRET: its value does not fit: {error}") from None

    def recipients(self, asked: list[NewNotification], field: str = "notify.{}.") -> list[Recipient]:
        """The recipients; raises `ValidationFailed` for an address or a secret that is none."""
        return [self._recipient(one, field.format(index)) for index, one in enumerate(asked)]

    def add(self, record: DebateRecord, asked: NewNotification) -> Notification:
        """Tell one more, when the debate ends; raises `ValidationFailed`, `DebateEnded` and `TooManyRequests`."""
        return self._kept.add(record.id, self._recipient(asked, ""), limits.MOST_NOTIFICATIONS)

    def of(self, record: DebateRecord) -> list[Notification]:
        """The recipients, and the state of each delivery."""
        return self._kept.of(record.id)

    def _recipient(self, asked: NewNotification, field: str) -> Recipient:
        try:
            self._outbound.check(asked.url)
        except NotPermitted as error:
            raise ValidationFailed.of(Problem(f"{field}url", str(error))) from None
        if asked.kind is NotificationKind.SLACK:
            return Recipient(asked.kind, asked.url)
        secret = asked.secret or self._secret
        if not secret:
            raise ValidationFailed.of(Problem(f"{field}secret", "is needed: webhooks are signed"))
        try:
            messages.key_of(secret)
        except ValueError as error:
            raise ValidationFailed.of(Problem(f"{field}secret", str(error))) from None
        return Recipient(asked.kind, asked.url, secret)

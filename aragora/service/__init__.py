"""The use cases of the application, without HTTP."""

from aragora.service.access import Access
from aragora.service.debates import Debates
from aragora.service.exports import Export
from aragora.service.notifications import Notifications
from aragora.service.notifier import Notifier
from aragora.service.policy import Policy, daily_limits
from aragora.service.principal import EVERYBODY, STRANGER, Principal
from aragora.service.providers import Providers
from aragora.service.requests import DebateChanges, NewAgent, NewDebate
from aragora.service.sources import Sources

__all__ = [
    "EVERYBODY",
    "STRANGER",
    "Access",
    "DebateChanges",
    "Debates",
    "Export",
    "NewAgent",
    "NewDebate",
    "Notifications",
    "Notifier",
    "Policy",
    "Principal",
    "Providers",
    "Sources",
    "daily_limits",
]

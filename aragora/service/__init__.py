"""The use cases of the application, without HTTP."""

from aragora.service.debates import Debates
from aragora.service.exports import Export
from aragora.service.requests import DebateChanges, NewAgent, NewDebate

__all__ = ["DebateChanges", "Debates", "Export", "NewAgent", "NewDebate"]

"""The use cases of the application, without HTTP."""

from aragora.service.debates import Debates
from aragora.service.exports import FORMATS, TABLES, Export
from aragora.service.requests import DebateChanges, NewAgent, NewDebate

__all__ = ["FORMATS", "TABLES", "DebateChanges", "Debates", "Export", "NewAgent", "NewDebate"]

"""The use cases of the application, without HTTP."""

from aragora.service.debates import Debates
from aragora.service.requests import NewDebate

__all__ = ["Debates", "NewDebate"]

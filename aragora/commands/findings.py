"""What `doctor` has to say of one thing."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. `mend` says what to do unless it is `ok`."""

    name: str
    state: Literal["ok", "warning", "failure"]
    detail: str
    mend: str = ""

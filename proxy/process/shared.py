"""What the master hands to each worker it forks."""

from dataclasses import dataclass

from proxy.admin.overrides import OverrideRecord
from proxy.limits import Limits
from proxy.observe.metrics import Board
from proxy.observe.reports import Reports
from proxy.process.certificate_store import CertificateStore
from proxy.process.config_segment import ConfigSegment
from proxy.process.listeners import Listeners
from proxy.process.log_files import Channel, LogFiles
from proxy.settings import Settings


@dataclass(frozen=True, slots=True)
class Shared:
    """The state of the gateway at the fork, and the memory that master and workers share.

    The master replaces its instance whenever one of the values changes, so a worker forked later starts with the
    newest; a running worker learns of new settings by SIGHUP and reads them from `config`.
    """

    version: str
    admin_token: bytes
    """Authorises commands unless the settings name a token file; `aragora-proxy token` prints it."""
    settings: Settings
    logs: LogFiles
    listeners: Listeners
    config: ConfigSegment[Settings]
    """The newest settings that the master has checked."""
    certificates: CertificateStore
    board: Board
    reports: Reports
    overrides: OverrideRecord
    limits: Limits


@dataclass(slots=True)
class Seat:
    """A worker's place among its siblings, and what the master notes about it."""

    slot: int
    """Index of the worker in everything that has a part for each worker, such as the board's counters."""
    channel: Channel
    """Carries reopened log files from the master to the worker."""
    born: float
    """Monotonic seconds."""
    terminating: bool = False
    """Whether the master has sent a signal that ends the worker: an early end is no failure then."""

"""Sends the messages that are due, in the background of a process that advances debates.

A message that is not taken is sent again, six times within three hours, under the same id. What cannot succeed is not
tried twice: an address that is not permitted, and one that says that there is nothing there.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from aragora.errors import AragoraError, NotFound
from aragora.outbound import NotAnswered, NotPermitted, Outbound
from aragora.service import messages
from aragora.storage import Store
from aragora.storage.notifications import Delivery, Notification, NotificationKind

log = logging.getLogger(__name__)

LOOK = 1.0  # seconds between looks for messages that are due
AT_ONCE = 4  # messages of one process
SECONDS = 10.0  # for one try
LONGEST_ANSWER = 65_536  # bytes that are read of an answer
DELAYS = (10.0, 60.0, 300.0, 1800.0, 7200.0)  # seconds before each further try
_PASSING = frozenset({408, 425, 429})

Observe = Callable[[str, str], None]


class Notifier:
    """One for a process. `url` is this server's, for the links in messages; `observe` counts by kind and outcome."""

    def __init__(
        self,
        store: Store,
        outbound: Outbound,
        url: str,
        observe: Observe = lambda _kind, _outcome: None,
        delays: tuple[float, ...] = DELAYS,
    ) -> None:
        self._store = store
        self._outbound = outbound
        self._url = url.rstrip("/")
        self._observe = observe
        self._delays = delays
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="aragora-notifier", daemon=True)

    def start(self) -> None:
        """Begin to look for messages."""
        self._thread.start()

    def close(self) -> None:
        """Begin with no further message; those that are being sent are due again if they do not end in time."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(LOOK)

    def _run(self) -> None:
        with ThreadPoolExecutor(AT_ONCE, "aragora-notifier") as pool:
            while not self._ended.wait(LOOK):
                try:
                    while not self._ended.is_set() and (taken := self._store.notifications.take(AT_ONCE)):
                        list(pool.map(self.send, taken))
                except AragoraError as error:
                    log.debug("no messages are sent now: %s", error.message)
                except Exception:
                    log.exception("messages cannot be sent")

    def send(self, taken: Notification) -> None:
        """Send one message, and note what became of it."""
        problem, lasting = self._problem(taken)
        again = None
        if problem is not None and not lasting and taken.attempts <= len(self._delays):
            again = self._delays[taken.attempts - 1]
        state = Delivery.DELIVERED if problem is None else Delivery.FAILED if again is None else Delivery.WAITING
        if problem is not None:
            host = urlsplit(taken.recipient.url).hostname
            log.warning("message %s of %s to %s: %s", taken.id, taken.debate_id, host, problem)
        self._store.notifications.settle(taken, state, problem, again)
        self._observe(taken.recipient.kind.value, "retried" if state is Delivery.WAITING else state.value)

    def _problem(self, taken: Notification) -> tuple[str | None, bool]:
        """Why it was not taken, None if it was; and whether that will not change."""
        try:
            record = self._store.get(taken.debate_id)
        except NotFound:
            return "the debate was deleted", True
        link = f"{self._url}/#/d/{record.id}"
        headers = {"User-Agent": "aragora", "Content-Type": "application/json"}
        if taken.recipient.kind is NotificationKind.SLACK:
            body = messages.slack(record, link)
        else:
            body = messages.webhook(record, link)
            headers |= messages.signed(taken.id, int(time.time()), body, taken.recipient.secret or "")
        try:
            answer = self._outbound.post(taken.recipient.url, headers, body, limit=LONGEST_ANSWER, seconds=SECONDS)
        except NotPermitted as error:
            return str(error), True
        except NotAnswered as error:
            return str(error), False
        if 200 <= answer.status < 300:
            return None, False
        return f"it answers {answer.status}", answer.status < 500 and answer.status not in _PASSING

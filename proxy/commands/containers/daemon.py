"""The daemon that runs containers, read through Docker's API: nothing but GET requests."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from time import monotonic
from typing import Any

import docker
import requests
import urllib3
from docker.errors import DockerException, NotFound

from proxy.commands.containers.labels import Instance, LabelError, is_labelled, read

MOST = 500
"""Containers with labels; the others are named as faults."""
_TIMEOUT = 10.0  # seconds for one response
_STOPPING = 60.0  # seconds that a container may take to stop; one that stays is used again


class DaemonAway(Exception):  # noqa: N818 - names what happened
    """The daemon does not respond; the text says why."""


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as problem:
        raise DaemonAway(_reason(problem)) from None
    except (AttributeError, KeyError, TypeError) as problem:
        raise DaemonAway(f"an answer that is none of Docker's API: {problem!r}"[:300]) from None


def _reason(problem: BaseException) -> str:
    """The innermost error's text: what the libraries wrap around it says nothing more."""
    while (inner := problem.__cause__ or problem.__context__) is not None:
        problem = inner
    return (problem.strerror if isinstance(problem, OSError) else "") or str(problem) or type(problem).__name__


class Daemon:
    """One daemon at `url`. `changed` is set when something may have happened to a container, or to the connection."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.changed = threading.Event()
        self._client: Any = None
        self._lost = ""
        self._known: dict[str, dict[str, Any]] = {}
        """What containers were found to be, until an event says that it may be something else."""
        self._dirty: set[str] = set()
        self._noting = threading.Lock()
        """An event that comes while the set is taken is in neither without it."""
        self._told: dict[str, tuple[int, float]] = {}
        """Containers that were sent a signal: which, and when (monotonic seconds)."""

    def connect(self) -> None:
        """Begin to listen for events; returns when the daemon has responded. Raises DaemonAway."""
        with _answering():
            self._client = docker.APIClient(base_url=self.url, version="auto", timeout=_TIMEOUT)
            events = self._client.events(filters={"type": ["container"]}, decode=True)
        self._lost, self._known = "", {}
        threading.Thread(target=self._listen, args=(events,), daemon=True).start()

    def containers(self) -> tuple[list[Instance], list[str]]:
        """The running containers with labels that can be used, and a line for each other. Raises DaemonAway."""
        if self._lost:
            raise DaemonAway(self._lost)
        found, faults = list[Instance](), list[str]()
        for key, document in self._documents(faults).items():
            try:
                if document["State"]["Running"] and not document["State"].get("Paused"):
                    instance = read(document)
                    found.append(replace(instance, stopping=self._is_stopping(instance)))
            except LabelError as fault:
                faults.append(str(fault))
            except (KeyError, TypeError, AttributeError, ValueError) as problem:
                faults.append(f"container {key[:12]}: unusable answer of the daemon: {problem!r}"[:300])
        return found, faults

    def _documents(self, faults: list[str]) -> dict[str, dict[str, Any]]:
        """What the daemon knows of each container that has labels, oldest first; only of new ones it is asked."""
        with self._noting:
            dirty, self._dirty = self._dirty, set()
        before = {key: document for key, document in self._known.items() if key not in dirty}
        with _answering():
            labelled = [one for one in self._client.containers() if is_labelled(one.get("Labels"))]
            labelled.sort(key=lambda one: one.get("Created", 0))
            self._known = {}
            for one in labelled[:MOST]:
                key = str(one["Id"])
                with suppress(NotFound):  # it has just gone
                    self._known[key] = before.get(key) or self._client.inspect_container(key)
        more = [str(one["Id"])[:12] for one in labelled[MOST : MOST + 10]]
        faults += [f"container {key}: more than {MOST} containers have labels; stop some" for key in more]
        return self._known

    def _is_stopping(self, instance: Instance) -> bool:
        number, at = self._told.get(instance.id, (0, 0.0))
        return number in (signal.SIGKILL, instance.stop_signal) and monotonic() - at < _STOPPING

    def _listen(self, events: Any) -> None:
        """Note that something has happened, until the stream of events ends: what, the next reading shows."""
        try:
            with _answering():
                for event in events:
                    action, actor = str(event.get("Action", "")), event.get("Actor") or {}
                    with self._noting:
                        self._dirty.add(str(actor.get("ID")))
                    if action == "kill":
                        self._note_signal(actor)
                    elif action in ("start", "die", "died", "destroy", "remove"):
                        self._told.pop(str(actor.get("ID")), None)
                    self.changed.set()
            self._lost = "the stream of events has ended"
        except DaemonAway as problem:
            self._lost = str(problem)
        self.changed.set()

    def _note_signal(self, actor: Any) -> None:
        number = str((actor.get("Attributes") or {}).get("signal", ""))
        if number.isdigit() and len(self._told) < MOST:
            self._told[str(actor.get("ID"))] = int(number), monotonic()

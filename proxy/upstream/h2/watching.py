"""Readiness without a descriptor: what stands for gevent's watchers where many share a connection."""

from collections.abc import Callable
from typing import Any

from proxy.net.event_loop import READ, Hub, Loop, Timer, Watcher


class Readiness:
    """A watcher that calls back in each round of the loop while `ready()`, as one of a descriptor does."""

    def __init__(self, loop: Loop, events: int, ready: Callable[[], bool]) -> None:
        self._loop = loop
        self._ready = ready
        self._scheduled = False
        self.events = events
        self.callback: Callable[..., object] | None = None
        self.active = False

    def start(self, callback: Callable[..., object]) -> None:
        self.callback = callback
        self.active = True
        self.notice()

    def stop(self) -> None:
        self.active = False

    def close(self) -> None:
        self.active = False
        self.callback = None

    def notice(self) -> None:
        """Something has changed: call back in the loop's next round if that made it ready."""
        if self.active and not self._scheduled and self._ready():
            self._scheduled = True
            self._loop.run_callback(self._call)

    def _call(self) -> None:
        self._scheduled = False
        if self.active and self.callback is not None and self._ready():
            self.callback()
            self.notice()


class _ChannelLoop:
    """The loop, whose watchers of descriptors are a channel's two."""

    def __init__(self, loop: Loop, reader: Readiness, writer: Readiness) -> None:
        self._loop = loop
        self._reader = reader
        self._writer = writer

    def io(self, descriptor: int, events: int) -> Watcher:  # noqa: ARG002 - as the loop's
        return self._reader if events == READ else self._writer

    def timer(self, after: float, repeat: float = 0.0) -> Timer:
        return self._loop.timer(after, repeat)

    def signal(self, number: int) -> Any:
        return self._loop.signal(number)

    def run_callback(self, callback: Callable[..., object], *arguments: object) -> object:
        return self._loop.run_callback(callback, *arguments)


class ChannelHub(Hub):
    """The process' hub, as the connection over one channel sees it."""

    def __init__(self, hub: Hub, reader: Readiness, writer: Readiness) -> None:
        self.loop: Loop = _ChannelLoop(hub.loop, reader, writer)
        self.switch = hub.switch
        self.greenlet = hub.greenlet

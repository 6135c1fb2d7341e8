"""How slowly a body that is read to its end may come."""

from collections.abc import Callable

import pytest

from proxy.downstream import body as module
from proxy.downstream.body import BodySource, Pace, collect
from proxy.errors import ExchangeError
from proxy.settings import Settings


def test_slow_body_error_names_setting_and_measured_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RATE_GRACE", -1.0)
    now = [0.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    pace = Pace(Settings(min_rate=500))
    pace.took(1000)
    now[0] = 2.0
    pace.took(1)
    now[0] = 20.0
    with pytest.raises(ExchangeError) as failed:
        pace.took(1)
    assert failed.value.failure.reason == "min_rate"
    assert failed.value.client_message.endswith("1002 bytes in 20 s, under 500 a second (min_rate)")


def test_without_a_rate_any_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    unbounded, slowest = Pace(Settings(min_rate=0)), Pace(Settings(min_rate=1))
    now[0] = 1e6
    unbounded.took(1)
    with pytest.raises(ExchangeError, match="min_rate"):
        slowest.took(1)


class Late(BodySource):
    """A body of one byte whose end comes 18 seconds after it."""

    ready = False

    def __init__(self, now: list[float]) -> None:
        self._now = now
        self._pieces = [b"x", b""]

    def take(self) -> bytes | None:
        return self._pieces.pop(0)

    def wait(self, pace: Pace) -> None:
        if len(self._pieces) == 1:
            self._now[0] += 18.0

    def watch(self, callback: Callable[[], object]) -> None: ...

    def unwatch(self) -> None: ...

    def proceed(self) -> None: ...


def test_a_whole_body_is_never_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    assert collect(Late(now), Settings(min_rate=500)) == b"x"

"""Settings in shared memory: the newest, whole, however fast they follow each other."""

import os

import pytest

from proxy.handover import Handover
from proxy.settings import Address, Settings

SETTINGS = Settings(upstream=(Address("127.0.0.1", 8080),), workers=1)


def test_nothing_is_there_before_anything_is_published() -> None:
    assert Handover(Settings).get() is None


def test_the_newest_is_found() -> None:
    handover = Handover(Settings)
    for hold in range(5):
        settings = Settings(upstream=(Address(path="/run/app.sock"),), workers=1, hold=float(hold))
        handover.put(settings)
        assert handover.get() == settings


def test_a_reader_never_sees_half_of_two() -> None:
    handover = Handover(Settings)
    rounds = 3000

    def numbered(number: int) -> Settings:
        return Settings(workers=1, pool_size=number, max_fields=number)

    handover.put(numbered(1))
    reader = os.fork()
    if not reader:
        before = 0
        try:
            while before < rounds:
                seen = handover.get()
                if seen is None or seen.pool_size != seen.max_fields or seen.pool_size < before:
                    os._exit(1)
                before = seen.pool_size
        finally:
            os._exit(0 if before == rounds else 2)
    for number in range(2, rounds + 1):
        handover.put(numbered(number))
    _, status = os.waitpid(reader, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_settings_too_large_are_refused() -> None:
    with pytest.raises(ValueError, match="can be handed over"):
        Handover(Settings).put(Settings(workers=1, access_log="x" * (2 << 20)))

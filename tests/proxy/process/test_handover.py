"""Settings in shared memory: the newest, whole, however fast they follow each other."""

import ipaddress
import mmap
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import pytest

from proxy.net.keyring import KeyPair, Keyring
from proxy.process.config_segment import Handover
from proxy.settings import Address, Certificate, Peer, RouteSettings, Settings
from proxy.settings.values.web import Key, Rate, Trusted


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
        handover.read_only()
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


def in_a_worker(handover: Handover[Settings], act: Callable[[], object]) -> int:
    """Do it in a process that only reads; its exit code."""
    worker = os.fork()
    if not worker:
        code = 9
        try:
            handover.read_only()
            code = int(bool(act()))
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])


def test_everything_that_settings_and_certificates_hold_arrives() -> None:
    whole = Settings(
        workers=1,
        upstream=(Peer(Address("127.0.0.1", 8080), 3), Peer(Address(path="@name"))),
        trusted_proxies=Trusted((ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128")), unix=True),
        rate=Rate(20, 1),
        rate_by=Key("header", "x-key"),
        root=Path("/srv/files"),
        certificates=(Certificate(Path("/a.crt"), Path("/a.key")),),
        admin_token=b"secret",
    )
    routed = Settings(workers=1, routes=(RouteSettings("one", ("a.example",), "/", False, whole),))
    handover = Handover(Settings)
    handover.put(Settings(workers=1))

    def arrived() -> bool:
        os.read(ready, 1)
        return handover.get() == routed

    ready, told = os.pipe()
    worker = os.fork()
    if not worker:
        handover.read_only()
        os._exit(0 if arrived() else 1)
    handover.put(routed)  # after the fork: it is read from the memory
    os.write(told, b".")
    assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == 0
    ring = Keyring((KeyPair(b"chain", b"key", ("a.example",), 1, 2),), http2=True)
    keys = Handover(Keyring)
    keys.put(ring)
    keys.read_only()
    keys._known = 0
    assert keys.get() == ring


@pytest.mark.parametrize(
    "attempt",
    [
        lambda handover: handover._memory.__setitem__(slice(0, 8), b"x" * 8),
        lambda handover: handover._turn.__setitem__(0, 9),
        lambda handover: mmap.mmap(handover._file, mmap.PAGESIZE),
        lambda handover: os.pwrite(handover._file, b"x", 0),
        lambda handover: os.ftruncate(handover._file, 0),
        lambda handover: mmap.mmap(copies(handover), mmap.PAGESIZE),
        lambda handover: os.pwrite(copies(handover), b"x", 0),
        lambda handover: os.ftruncate(copies(handover), 0),
    ],
)
def test_a_worker_cannot_write_what_the_master_and_other_workers_read(
    attempt: Callable[[Handover[Settings]], object],
) -> None:
    handover = Handover(Settings)
    handover.put(Settings(workers=1, hold=7))

    def refused() -> bool:
        try:
            attempt(handover)
        except (OSError, TypeError, ValueError):
            return handover.get() == Settings(workers=1, hold=7)
        return False

    assert in_a_worker(handover, refused) == 1


def copies(_handover: object) -> int:
    """A descriptor of the same memory, however it was left open."""
    for file in Path("/proc/self/fd").iterdir():
        try:
            if "memfd:aragora-proxy" in str(file.readlink()):
                return os.open(file, os.O_RDWR)
        except OSError:
            continue
    raise OSError("there is none")


def test_the_master_reads_nothing_back() -> None:
    handover = Handover(Settings)
    handover.put(Settings(workers=1, hold=7))
    handover._memory[:] = b"\xff" * len(handover._memory)
    assert handover.get() == Settings(workers=1, hold=7)
    handover.put(Settings(workers=1, hold=8))
    assert (handover.turn, handover.get()) == (2, Settings(workers=1, hold=8))


class Payload:
    """What would run a program in whoever unpickles it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("exit 1",)


@pytest.mark.parametrize("planted", [Payload(), os.getcwd, Keyring(), [Settings(workers=1), Payload()]])
def test_reading_makes_settings_and_runs_nothing(planted: object) -> None:
    handover = Handover(Settings)
    content = pickle.dumps(planted)
    frame = len(content).to_bytes(8, "little") + crc32(content).to_bytes(8, "little") + content
    start = 24 + (1 << 20)
    handover._memory[start : start + len(frame)] = frame
    handover._turn[0] = 1
    handover.read_only()
    with pytest.raises(pickle.UnpicklingError, match="is not handed over"):
        handover.get()

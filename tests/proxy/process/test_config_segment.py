"""Settings in shared memory: the newest, whole, however fast they follow each other."""

import ipaddress
import mmap
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.net.certificate_set import CertificateSet, KeyPair
from proxy.process.config_segment import ConfigSegment
from proxy.settings import Address, Certificate, Peer, RouteSettings, Settings
from proxy.settings.values.web import Key, Rate, Trusted


def test_nothing_is_there_before_anything_is_published() -> None:
    assert ConfigSegment(Settings).get() is None


def test_the_newest_is_found() -> None:
    config_segment = ConfigSegment(Settings)
    for retry_wait in range(5):
        settings = Settings(upstream=(Address(path="/run/app.sock"),), workers=1, retry_wait=float(retry_wait))
        config_segment.put(settings)
        assert config_segment.get() == settings


def test_a_reader_never_sees_half_of_two() -> None:
    config_segment = ConfigSegment(Settings)
    rounds = 3000

    def numbered(number: int) -> Settings:
        return Settings(workers=1, pool_size=number, max_fields=number)

    config_segment.put(numbered(1))
    reader = os.fork()
    if not reader:
        before = 0
        config_segment.read_only()
        try:
            while before < rounds:
                seen = config_segment.get()
                if seen is None or seen.pool_size != seen.max_fields or seen.pool_size < before:
                    os._exit(1)
                before = seen.pool_size
        finally:
            os._exit(0 if before == rounds else 2)
    for number in range(2, rounds + 1):
        config_segment.put(numbered(number))
    _, status = os.waitpid(reader, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_settings_too_large_are_refused() -> None:
    with pytest.raises(ValueError, match="too large for shared memory"):
        ConfigSegment(Settings).put(Settings(workers=1, access_log="x" * (2 << 20)))


def in_a_worker(config_segment: ConfigSegment[Settings], act: Callable[[], object]) -> int:
    """Do it in a process that only reads; its exit code."""
    worker = os.fork()
    if not worker:
        code = 9
        try:
            config_segment.read_only()
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
    config_segment = ConfigSegment(Settings)
    config_segment.put(Settings(workers=1))

    def arrived() -> bool:
        os.read(ready, 1)
        return config_segment.get() == routed

    ready, told = os.pipe()
    worker = os.fork()
    if not worker:
        config_segment.read_only()
        os._exit(0 if arrived() else 1)
    config_segment.put(routed)  # after the fork: it is read from the memory
    os.write(told, b".")
    assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == 0
    ring = CertificateSet((KeyPair(b"chain", b"key", ("a.example",), 1, 2),), http2=True)
    keys = ConfigSegment(CertificateSet)
    keys.put(ring)
    keys.read_only()
    keys._known = 0
    assert keys.get() == ring


@pytest.mark.parametrize(
    "attempt",
    [
        lambda config_segment: config_segment._memory.__setitem__(slice(0, 8), b"x" * 8),
        lambda config_segment: config_segment._record.write(b"x", 9),
        lambda config_segment: mmap.mmap(config_segment._file, mmap.PAGESIZE),
        lambda config_segment: os.pwrite(config_segment._file, b"x", 0),
        lambda config_segment: os.ftruncate(config_segment._file, 0),
        lambda config_segment: mmap.mmap(copies(config_segment), mmap.PAGESIZE),
        lambda config_segment: os.pwrite(copies(config_segment), b"x", 0),
        lambda config_segment: os.ftruncate(copies(config_segment), 0),
    ],
)
def test_worker_cannot_write_the_shared_segment(
    attempt: Callable[[ConfigSegment[Settings]], object],
) -> None:
    config_segment = ConfigSegment(Settings)
    config_segment.put(Settings(workers=1, retry_wait=7))

    def refused() -> bool:
        try:
            attempt(config_segment)
        except (OSError, TypeError, ValueError):
            return config_segment.get() == Settings(workers=1, retry_wait=7)
        return False

    assert in_a_worker(config_segment, refused) == 1


def copies(_config_segment: object) -> int:
    """A descriptor of the same memory, however it was left open."""
    for file in Path("/proc/self/fd").iterdir():
        try:
            if str(file.readlink()).startswith("/memfd:aragora-proxy "):
                return os.open(file, os.O_RDWR)
        except OSError:
            continue
    raise OSError("there is none")


def test_the_master_reads_nothing_back() -> None:
    config_segment = ConfigSegment(Settings)
    config_segment.put(Settings(workers=1, retry_wait=7))
    config_segment._memory[:] = b"\xff" * len(config_segment._memory)
    assert config_segment.get() == Settings(workers=1, retry_wait=7)
    config_segment.put(Settings(workers=1, retry_wait=8))
    assert (config_segment.turn, config_segment.get()) == (2, Settings(workers=1, retry_wait=8))


class Payload:
    """What would run a program in whoever unpickles it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("exit 1",)


@pytest.mark.parametrize("planted", [Payload(), os.getcwd, CertificateSet(), [Settings(workers=1), Payload()]])
def test_reading_makes_settings_and_runs_nothing(planted: object) -> None:
    config_segment = ConfigSegment(Settings)
    config_segment._record.write(pickle.dumps(planted), 1)
    config_segment.read_only()
    with pytest.raises(pickle.UnpicklingError, match="does not belong into shared memory"):
        config_segment.get()

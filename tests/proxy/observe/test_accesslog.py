"""The access log: exact shape, nothing forged, nothing blocked, what is lost counted."""

import json
import os
import re
import resource
import shlex
import socket
import threading
import time
from pathlib import Path

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.observe import accesslog, log_formats
from proxy.observe.accesslog import AccessLog
from proxy.observe.destination import Destination
from proxy.observe.log_formats import ADMIN, ChosenJson, Combined, Entry, Json, escape, line_format
from proxy.observe.recent import Recent
from proxy.settings.values import logged
from tests.proxy.net.loop import until

FULL_DISK = "/dev/full"
ENTRY = Entry(
    when=1795465749.25,
    client="192.0.2.7",
    method=b"GET",
    target=b"/a?b=c",
    version=1,
    status=200,
    sent=1234,
    received=567,
    referer=b"https://example.org/",
    user_agent=b"curl/8",
    request_id=b"c0ffee",
    upstream="127.0.0.1:8080",
    queue=0.0,
    connect=-1.0,
    first_byte=0.00123,
    total=0.002,
    termination="--",
    reason="",
    trace=b"",
    host=b"example.com",
    user=b"ann lee",
    route="example.com /a",
)
ABORTED = ENTRY._replace(
    status=499,
    referer=None,
    user_agent=None,
    upstream="",
    first_byte=-1.0,
    termination="CQ",
    reason="client_closed",
    trace=b"4bf92f3577b34da6a3ce929d0e0e4736",
    host=None,
    user=None,
    route="",
)
CERTIFIED = ENTRY._replace(tls_client_subject=b'CN=a "b" \\,O=c')


def test_a_certificates_subject_is_logged_and_escaped() -> None:
    assert Combined().line(CERTIFIED).endswith(' "example.com /a" "CN=a \\x22b\\x22 \\x5c,O=c"\n')
    assert json.loads(Json().line(CERTIFIED))["tls_client_subject"] == CERTIFIED.tls_client_subject.decode()
    assert "tls_client_subject" not in json.loads(Json().line(ENTRY))


class Losses:
    """Counts lost lines, as the worker's metrics do."""

    def __init__(self) -> None:
        self.lines = 0

    def lost(self, lines: int) -> None:
        self.lines += lines


@pytest.fixture
def losses() -> Losses:
    return Losses()


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def opened(path: object) -> int:
    """A file as the master opens it."""
    return os.open(str(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def make(path: object, losses: Losses, log_format: str = "combined") -> AccessLog:
    file = None if path == "off" else opened(path)
    log = AccessLog(file, line_format(log_format, (), masks=False), losses.lost)
    if file is not None:
        os.close(file)
    return log


def test_combined_is_apache_s_line_and_then_our_facts() -> None:
    assert Combined().line(ENTRY) == (
        '192.0.2.7 - ann\\x20lee [23/Nov/2026:20:29:09 +0000] "GET /a?b=c HTTP/1.1" 200 1234 '
        '"https://example.org/" "curl/8" '
        "c0ffee 127.0.0.1:8080 0.000000/-/0.001230/0.002000 567 -- - - "
        'example.com "example.com /a"\n'
    )
    assert Combined().line(ABORTED) == (
        '192.0.2.7 - - [23/Nov/2026:20:29:09 +0000] "GET /a?b=c HTTP/1.1" 499 1234 "-" "-" '
        "c0ffee - 0.000000/-/-/0.002000 567 CQ client_closed "
        '4bf92f3577b34da6a3ce929d0e0e4736 - "-"\n'
    )


def test_json_is_one_object_a_line() -> None:
    assert json.loads(Json().line(ENTRY)) == {
        "time": "2026-11-23T20:29:09.250+00:00",
        "client": "192.0.2.7",
        "method": "GET",
        "target": "/a?b=c",
        "protocol": "HTTP/1.1",
        "status": 200,
        "sent": 1234,
        "received": 567,
        "referer": "https://example.org/",
        "user_agent": "curl/8",
        "request_id": "c0ffee",
        "upstream": "127.0.0.1:8080",
        "queue": 0.0,
        "connect": None,
        "first_byte": 0.00123,
        "total": 0.002,
        "termination": "--",
        "reason": None,
        "trace_id": None,
        "host": "example.com",
        "user": "ann lee",
        "route": "example.com /a",
    }
    aborted = json.loads(Json().line(ABORTED))
    assert [aborted[key] for key in ("referer", "user_agent", "upstream", "first_byte", "reason", "trace_id")] == [
        None,
        None,
        None,
        None,
        "client_closed",
        "4bf92f3577b34da6a3ce929d0e0e4736",
    ]


hostile = st.binary(max_size=40) | st.sampled_from(
    [b'"', b"\\", b"\r\n", b"\n127.0.0.1 - -", b"\x1b[31m", b"\xe2\x80\xa8"]
)


@given(hostile, hostile, hostile)
def test_no_client_bytes_can_forge_a_combined_line(target: bytes, referer: bytes, agent: bytes) -> None:
    line = Combined().line(ENTRY._replace(target=target, referer=referer, user_agent=agent))
    assert re.fullmatch(r"[ -~]*\n", line)
    quoted = re.findall(r'"([^"]*)"', line)
    assert quoted == [f"GET {escape(target)} HTTP/1.1", escape(referer), escape(agent), "example.com /a"]


@given(hostile, hostile, hostile)
def test_no_host_user_or_route_can_forge_a_line(host: bytes, user: bytes, route: bytes) -> None:
    entry = ENTRY._replace(host=host, user=user, route=route.decode("latin-1"))
    combined = Combined().line(entry)
    assert re.fullmatch(r"[ -~]*\n", combined)
    assert combined.split(" [")[0].count(" ") == 2
    for line in (Json().line(entry), ChosenJson(logged.NAMES).line(entry)):
        assert re.fullmatch(r"[ -~]*\n", line)
        assert json.loads(line)["user"] == user.decode("utf-8", "backslashreplace")


@pytest.mark.parametrize("entry", [ENTRY, ABORTED])
def test_chosen_fields_have_the_usual_values_in_their_order(entry: Entry) -> None:
    usual = json.loads(Json().line(entry))
    assert tuple(usual) == logged.USUAL
    assert json.loads(ChosenJson(logged.USUAL).line(entry)) == usual
    line = ChosenJson(("status", "path", "client")).line(entry)
    assert line == f'{{"status":{entry.status},"path":"/a","client":"192.0.2.7"}}\n'


@pytest.mark.parametrize(
    ("client", "masked"),
    [("192.0.2.7", "192.0.2.0"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"), ("", ""), ("unix:", "")],
)
def test_masked_addresses_are_those_of_networks(client: str, masked: str) -> None:
    entry = ENTRY._replace(client=client)
    for line in (Json(masks=True).line(entry), ChosenJson(("client",), masks=True).line(entry)):
        assert (json.loads(line)["client"] or "") == masked
    assert Combined(masks=True).line(entry).split()[0] == (masked or "-")


def test_a_share_of_requests_and_all_failed_ones_are_logged(tmp_path: Path, losses: Losses) -> None:
    log = make(tmp_path / "log", losses, "json")
    for number in range(1000):
        log.record(ENTRY._replace(sent=number), 0.1)
    log.record(ENTRY._replace(status=500, sent=-1), 0.0001)
    log.record(ENTRY._replace(status=500, sent=-2), 0.0)
    log.close()
    sent = [json.loads(line)["sent"] for line in (tmp_path / "log").read_text().splitlines()]
    assert sent.pop() == -1
    assert 50 < len(sent) < 200
    assert losses.lines == 0


@given(hostile, hostile, hostile)
def test_no_client_bytes_can_forge_a_json_line(target: bytes, referer: bytes, agent: bytes) -> None:
    line = Json().line(ENTRY._replace(target=target, referer=referer, user_agent=agent))
    assert re.fullmatch(r"[ -~]*\n", line)
    record = json.loads(line)
    assert record["target"] == target.decode("utf-8", "backslashreplace")
    assert record["status"] == 200


@given(st.binary(max_size=60))
def test_escaping_can_be_undone(value: bytes) -> None:
    undone = re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), escape(value).encode())
    assert undone == value


@pytest.mark.pure("looks at all attributes")
def test_repeated_field_values_are_remembered_within_bounds() -> None:
    for form in (Combined(), Json()):
        for number in range(5000):
            form.line(ENTRY._replace(user_agent=b"agent %d" % number, target=b"/%d" % number, sent=number))
        memories = [value for value in vars(form).values() if isinstance(value, log_formats._Texts)]
        assert len(memories) >= 3
        assert all(0 < len(memory) <= 1024 for memory in memories)
    assert len(log_formats._numbers) <= 4096


def test_lines_are_written_by_the_greenlet_in_order(tmp_path: Path, losses: Losses) -> None:
    path = tmp_path / "log"
    log = make(path, losses)
    greenlet = gevent.spawn(log.run)
    for number in range(1000):
        log.record(ENTRY._replace(target=b"/%d" % number))
    until(lambda: path.read_bytes().count(b"\n") == 1000)
    greenlet.kill()
    log.close()
    assert [shlex.split(line)[5].split()[1] for line in path.read_text().splitlines()] == [
        f"/{number}" for number in range(1000)
    ]
    assert losses.lines == 0


def test_requests_are_served_while_a_long_round_is_written(tmp_path: Path, losses: Losses) -> None:
    served: list[None] = []
    log = make(tmp_path / "log", losses)
    for _ in range(20 * accesslog.STRETCH):
        log.record(ENTRY)
    ours, peers = socket.socketpair()
    with ours, peers:
        peers.send(b"a request that can always be read")
        watcher = gevent.get_hub().loop.io(ours.fileno(), 1)
        watcher.start(served.append, None)
        log.flush()
        watcher.stop()
        watcher.close()
    log.close()
    assert (tmp_path / "log").read_bytes().count(b"\n") == 20 * accesslog.STRETCH
    assert len(served) >= 10


def test_slow_and_failed_requests_are_remembered(tmp_path: Path, losses: Losses) -> None:
    recent = Recent()
    log = AccessLog(opened(tmp_path / "log"), Combined(), losses.lost, recent)
    for one in (ENTRY, ABORTED, ENTRY._replace(total=9.0, upstream=ADMIN)):
        log.record(one)
    log.close()
    assert [row["status"] for row in recent.slowest()] == [499, 200]
    assert [row["reason"] for row in recent.failed()] == ["client_closed"]


def test_close_writes_what_is_left(tmp_path: Path, losses: Losses) -> None:
    log = make(tmp_path / "log", losses)
    log.record(ENTRY)
    log.close()
    assert (tmp_path / "log").read_text() == Combined().line(ENTRY)


def test_off_writes_nothing(losses: Losses) -> None:
    log = make("off", losses)
    assert not log.enabled
    log.record(ENTRY)
    log.close()
    assert losses.lines == 0


def test_what_does_not_fit_in_memory_is_lost_and_counted(tmp_path: Path, losses: Losses) -> None:
    log = make(tmp_path / "log", losses)
    for _ in range(accesslog.CAPACITY + 5):
        log.record(ENTRY)
    assert losses.lines == 5
    log.flush()
    log.close()
    assert (tmp_path / "log").read_bytes().count(b"\n") == accesslog.CAPACITY


@pytest.mark.skipif(not Path(FULL_DISK).exists(), reason="needs /dev/full")
def test_a_full_disk_loses_lines_and_counts_them(losses: Losses) -> None:
    log = make(FULL_DISK, losses)
    for _ in range(7):
        log.record(ENTRY)
    log.close()
    assert losses.lines == 7


def test_a_line_torn_by_a_full_disk_does_not_spoil_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    destination = Destination(opened(path))
    room = 30
    real = os.write

    def small_disk(file: int, content: bytes) -> int:
        if room == 0:
            raise OSError(28, "No space left on device")
        return real(file, content[:room])

    monkeypatch.setattr(os, "write", small_disk)

    def until_full(file: int, content: bytes) -> int:
        nonlocal room
        written = small_disk(file, content)
        room -= written
        return written

    monkeypatch.setattr(os, "write", until_full)
    assert destination.write(b"first line of twenty\nsecond line is torn\nthird is lost\n") == 2
    assert destination.write(b"fourth is lost\n") == 1
    room = 1000
    assert destination.write(b"fifth\n") == 0
    assert path.read_bytes() == b"first line of twenty\nsecond li\nfifth\n"
    destination.close()


def test_a_pipe_that_nobody_reads_blocks_no_greenlet_and_no_exit(tmp_path: Path, losses: Losses) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    log = make(fifo, losses)
    for _ in range(4000):  # several times what a pipe holds
        log.record(ENTRY)
    writing = gevent.spawn(log.flush)
    ticks = 0
    for _ in range(20):
        gevent.sleep(0.005)  # that others may run is what this is about
        ticks += 1
    assert not writing.dead
    assert ticks == 20
    log.record(ENTRY)
    log.record(ENTRY)
    began = time.monotonic()
    writing.kill()
    log.close()
    assert time.monotonic() - began < 20
    assert losses.lines == 4002
    seen = drain(reader)  # lets the writing thread end
    os.close(reader)
    assert all(line == Combined().line(ENTRY).encode() for line in seen.splitlines(keepends=True))


def drain(reader: int) -> bytes:
    """Read until the writer stands still for a moment."""
    seen, last = b"", time.monotonic()
    while time.monotonic() - last < 0.2:
        try:
            part = os.read(reader, 1 << 16)
        except BlockingIOError:
            gevent.sleep(0.01)  # nothing tells that a writer stands still
            continue
        if not part:
            break
        seen, last = seen + part, time.monotonic()
    return seen


def test_lines_of_several_writers_to_one_pipe_stay_whole() -> None:
    reader, writer = os.pipe()
    saved = os.dup(1)
    os.dup2(writer, 1)
    try:
        destinations = [Destination(os.dup(1)) for _ in range(3)]
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(writer)

    def write(number: int) -> None:
        destinations[number].write(b"".join(b"%d" % number * 150 + b"\n" for _ in range(500)))
        destinations[number].close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    with os.fdopen(reader, "rb") as pipe:
        lines = pipe.read().splitlines()
    for thread in threads:
        thread.join()
    assert len(lines) == 1500
    assert set(lines) == {b"%d" % number * 150 for number in range(3)}


def change(log: AccessLog, path: object, log_format: str = "combined") -> None:
    file = opened(path)
    log.change(file, line_format(log_format, (), masks=False))
    os.close(file)


def test_a_rotated_file_is_begun_anew(tmp_path: Path, losses: Losses) -> None:
    path = tmp_path / "log"
    log = make(path, losses)
    log.record(ENTRY)
    log.flush()
    path.rename(tmp_path / "log.1")
    change(log, path)
    log.record(ENTRY)
    log.flush()
    log.close()
    assert (path.read_bytes().count(b"\n"), (tmp_path / "log.1").read_bytes().count(b"\n")) == (1, 1)


def test_a_reload_changes_file_and_format(tmp_path: Path, losses: Losses) -> None:
    log = make(tmp_path / "one", losses)
    log.record(ENTRY)
    log.flush()
    change(log, tmp_path / "two", "json")
    log.record(ENTRY)
    log.flush()
    log.change(None, Json())
    assert not log.enabled
    log.close()
    assert (tmp_path / "one").read_text() == Combined().line(ENTRY)
    assert (tmp_path / "two").read_text() == Json().line(ENTRY)


def test_lines_of_before_a_reload_go_where_they_went(tmp_path: Path, losses: Losses) -> None:
    log = make(tmp_path / "one", losses)
    log.record(ENTRY)
    change(log, tmp_path / "two", "json")
    log.record(ENTRY)
    log.change(None, Json())
    log.record(ENTRY)
    log.close()
    assert (tmp_path / "one").read_text() == Combined().line(ENTRY)
    assert (tmp_path / "two").read_text() == Json().line(ENTRY)


def test_reloads_before_a_stalled_log_keep_no_more_lines(tmp_path: Path, losses: Losses) -> None:
    log = make(tmp_path / "log", losses)
    for _ in range(3):
        for _ in range(accesslog.CAPACITY):
            log.record(ENTRY)
        change(log, tmp_path / "log")
    log.close()
    assert losses.lines == 2 * accesslog.CAPACITY
    assert (tmp_path / "log").read_bytes().count(b"\n") == accesslog.CAPACITY


def test_without_descriptors_the_file_before_stays(tmp_path: Path, losses: Losses) -> None:
    log = make(tmp_path / "one", losses)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            log.change(2, Json())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    log.record(ENTRY)
    log.close()
    assert (tmp_path / "one").read_text() == Combined().line(ENTRY)

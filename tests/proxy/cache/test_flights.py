"""One request at a time for a key, in all processes; the end of a process ends its requests."""

import subprocess
import sys
from pathlib import Path

import gevent

from proxy.cache.flights import Flights

KEY = b"0123456789abcdef"
OTHER = b"fedcba9876543210"
HOLDER = (
    "import sys; from pathlib import Path; from proxy.cache.flights import Flights\n"
    f"flights = Flights(Path(sys.argv[1])); print(flights.take({KEY!r}) is not None, flush=True); sys.stdin.read()"
)


def test_one_at_a_time_in_one_process(tmp_path: Path) -> None:
    flights = Flights(tmp_path)
    first = flights.take(KEY)
    assert first is not None
    assert flights.take(KEY) is None
    assert flights.take(OTHER) is not None
    waiting = gevent.spawn(flights.wait, KEY, 10)
    gevent.idle()
    first.release()
    first.release()
    assert waiting.get(timeout=10)
    assert flights.take(KEY) is not None


def test_waiting_ends_with_patience(tmp_path: Path) -> None:
    flights = Flights(tmp_path)
    assert flights.take(KEY) is not None
    assert not flights.wait(KEY, 0.01)
    assert not flights.wait(KEY, 0)


def test_end_of_another_process_frees_its_keys(tmp_path: Path) -> None:
    flights = Flights(tmp_path)
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert flights.take(KEY) is None
        assert flights.take(OTHER) is not None
        assert flights.wait(KEY, 10)  # it is worth looking again
        holder.kill()
    assert flights.take(KEY) is not None


def test_without_a_file_each_process_is_for_itself(tmp_path: Path) -> None:
    flights = Flights(tmp_path / "missing")
    assert flights.take(KEY) is not None
    assert flights.take(KEY) is None

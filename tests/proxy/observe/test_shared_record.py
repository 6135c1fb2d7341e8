"""One record in shared memory: whole or not at all, whatever is written to the memory."""

import mmap
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.observe.shared_record import SharedRecord

CAPACITY = 100


def record() -> tuple[SharedRecord, mmap.mmap]:
    memory = mmap.mmap(-1, SharedRecord.size(CAPACITY))
    return SharedRecord(memoryview(memory), CAPACITY), memory


def test_a_record_is_read_as_it_was_written() -> None:
    one, _ = record()
    assert one.turn == 0
    for turn, content in enumerate((b"first", b"", b"x" * CAPACITY), 1):
        one.write(content, turn)
        assert (one.turn, one.read(turn)) == (turn, content)
    assert one.read(2) == b""  # the half before is still there
    one.clear()
    assert one.turn == 0


def test_a_record_too_long_changes_nothing() -> None:
    one, _ = record()
    one.write(b"before", 1)
    with pytest.raises(ValueError, match="101 bytes do not fit into 100"):
        one.write(b"x" * (CAPACITY + 1), 2)
    assert (one.turn, one.read(1)) == (1, b"before")


@given(st.binary(min_size=8, max_size=SharedRecord.size(CAPACITY)), st.integers(-(1 << 62), 1 << 62))
def test_no_content_of_the_memory_breaks_a_reader(content: bytes, turn: int) -> None:
    one, memory = record()
    memory[: len(content)] = content
    found = one.read(turn)
    assert found is None or len(found) <= CAPACITY
    assert isinstance(one.turn, int)


def test_a_reader_never_sees_half_of_two_records() -> None:
    one, _ = record()
    rounds = 3000
    one.write(b"1" * CAPACITY, 1)
    reader = os.fork()
    if not reader:
        turn = 1
        try:
            while turn < rounds:
                turn = one.turn
                found = one.read(turn)
                if found is not None and len(set(found)) != 1:
                    os._exit(1)
        finally:
            os._exit(0 if turn == rounds else 2)
    for turn in range(2, rounds + 1):
        one.write(bytes([turn % 256]) * CAPACITY, turn)
    assert os.waitstatus_to_exitcode(os.waitpid(reader, 0)[1]) == 0

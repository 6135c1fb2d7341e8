"""Parts of files are in memory before the loop touches them."""

import os
from pathlib import Path

from proxy.net.disk import WINDOW, warm_up


def test_a_part_that_the_kernel_has_dropped_is_read_by_a_thread(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * (2 * WINDOW))
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        for offset in (0, WINDOW, 2 * WINDOW - 1):
            length = min(WINDOW, 2 * WINDOW - offset)
            warm_up(file, offset, length)
            try:
                assert os.preadv(file, [bytearray(1)], offset + length - 1, os.RWF_NOWAIT) == 1
            except OSError as error:
                assert not isinstance(error, BlockingIOError)  # a file system that cannot say
    finally:
        os.close(file)


def test_a_file_that_has_become_shorter_is_left_to_who_sends_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    file = os.open(path, os.O_RDONLY)
    try:
        warm_up(file, 0, WINDOW)
    finally:
        os.close(file)

"""What errors of sockets, files and clocks mean to an exchange."""

import errno

import pytest

from proxy import errors
from proxy.errors import ClientGone, DeadlinePassed, ExchangeError, blaming


def test_error_of_a_clients_socket_is_the_end_of_its_exchange() -> None:
    with pytest.raises(ClientGone), blaming(errors.CLIENT_CLOSED):
        raise ConnectionResetError


def test_error_of_a_file_is_the_failure_that_is_named() -> None:
    with pytest.raises(ExchangeError) as raised, blaming(errors.SPOOL):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert raised.value.failure is errors.SPOOL
    assert raised.value.detail == "No space left on device"


@pytest.mark.parametrize("code", errors.DISK_ERRORS)
def test_disk_is_told_apart_from_the_socket(code: int) -> None:
    with pytest.raises(ExchangeError) as raised, blaming(errors.CLIENT_CLOSED, disk=errors.FILE_FAILED):
        raise OSError(code, "Input/output error")
    assert raised.value.failure is errors.FILE_FAILED


def test_passed_deadline_is_what_it_is_said_to_be() -> None:
    late = ExchangeError(errors.BODY_TIMEOUT)
    with pytest.raises(ExchangeError) as raised, blaming(errors.CLIENT_CLOSED, lambda: late):
        raise DeadlinePassed
    assert raised.value is late


@pytest.mark.parametrize("error", [BlockingIOError(), DeadlinePassed(), ValueError(), ExchangeError(errors.CHUNK)])
def test_other_errors_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, blaming(errors.CLIENT_CLOSED):
        raise error
    assert raised.value is error

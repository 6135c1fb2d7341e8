"""Faults of the gateway's own: exceptions that no code expects. They are logged; their requests get a 500."""

from proxy import errors
from proxy.errors import ClientGone, ExchangeError
from proxy.exchange.request import Request
from proxy.log import log


def failure_of(error: Exception, request: Request) -> ExchangeError:
    """What an error means to the exchange. A fault is logged."""
    if isinstance(error, ExchangeError):
        return error
    if isinstance(error, ClientGone):
        return ExchangeError(error.failure)
    log_fault(error, request)
    return ExchangeError(errors.INTERNAL)


def log_fault(fault: Exception, request: Request) -> None:
    """Log a fault with the place where it was raised."""
    log.error("request %s failed inside the gateway", request.id.decode("latin-1"), exc_info=fault)

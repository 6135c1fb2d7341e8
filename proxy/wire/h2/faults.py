"""What ends an HTTP/2 connection, and the codes that say why."""

from enum import IntEnum


class ErrorCode(IntEnum):
    """Why a stream or a connection ends (RFC 9113 section 7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class ConnectionFault(Exception):  # noqa: N818 - names what happened
    """The peer broke a rule in a way that ends the connection (RFC 9113 section 5.4.1)."""

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


def compression_fault(detail: str) -> ConnectionFault:
    """A field section that cannot be decoded: the peers' tables no longer agree (RFC 9113 section 4.3)."""
    return ConnectionFault(ErrorCode.COMPRESSION_ERROR, detail)


def protocol_fault(detail: str) -> ConnectionFault:
    """A rule that no other code stands for."""
    return ConnectionFault(ErrorCode.PROTOCOL_ERROR, detail)

"""Answers that are the same for everybody."""

from proxy.gate.answer import Answer


class FixedText:
    """A text from the configuration."""

    def __init__(self, text: str, status: int, content_type: str) -> None:
        self._answer = Answer(status, (b"Content-Type: " + content_type.encode(),), text.encode())

    def answer(self) -> Answer:
        return self._answer


class GatewayHealth:
    """Whether this gateway takes requests; what it does for load balancers that can only ask its public address."""

    _HEADERS = (b"Content-Type: text/plain; charset=utf-8", b"Cache-Control: no-store")

    def answer(self, *, draining: bool) -> Answer:
        return Answer(503, self._HEADERS, b"draining\n") if draining else Answer(200, self._HEADERS, b"ok\n")

"""WebSockets on a plain socket: under gunicorn's gevent workers and the development server.

    a thread of its own     listens: frames become messages in a small inbox
    the request's thread    converses: answers the inbox, sends the next portion of events, a heartbeat every 15 s

(Under gevent both are greenlets.) wsproto speaks the protocol; the frame of an event is made once for all watchers. A
client that takes nothing for `STALL_SECONDS` is closed with 1013: its kernel buffer is kept small, so that it can be
enlarged at the end to take what is left of the last frame, and the close frame.

Once the 101 is out, whatever fails ends with a close frame or with nothing: the server beneath us would answer an
exception with an HTTP response, in the middle of the client's frames.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import FrameProtocol
from wsproto.utilities import RemoteProtocolError

from aragora.server import auth, handshake, process
from aragora.server.audit import Caller
from aragora.server.context import RequestContext
from aragora.server.conversation import Conversation
from aragora.server.following import HEARTBEAT_SECONDS, Following, Signal, follow
from aragora.server.session import (
    GOING_AWAY,
    TOO_BIG,
    TRY_AGAIN,
    UNSUPPORTED,
    Closed,
    Session,
    ending,
)
from aragora.server.texts import MAX_MESSAGE_BYTES

log = logging.getLogger("aragora.server.websocket")

STALL_SECONDS = 20.0
GOODBYE_SECONDS = 2.0
REFUSED_AT_ONCE = 32  # refused clients of one process that are given time to read why
SEND_BUFFER = 131_072
LAST_SEND_BUFFER = 524_288
READ = 16_384
ABNORMAL = 1006
PROTOCOL_ERROR = 1002

_refusing = threading.BoundedSemaphore(REFUSED_AT_ONCE)

# Frames of a server carry no mask and no state: one framer serves every connection.
_framer = FrameProtocol(client=False, extensions=[])
PING = bytes(_framer.ping())

StartResponse = Callable[..., Any]


@lru_cache(maxsize=1024)
def frame(text: str) -> bytes:
    """`text` as a server's frame; nothing in it depends on the connection, so all watchers share it."""
    return bytes(_framer.send_data(text))


def serve(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Take the connection over and return when it is finished; raises `AragoraError` where HTTP is to answer instead.

    Under gunicorn the end is StopIteration: its worker then closes the socket and answers nothing.
    """
    context = RequestContext.of(environ)
    sock = context.connection or environ.get("gunicorn.socket")
    if sock is None:
        start_response("501 Not Implemented", [("Content-Type", "text/plain"), ("Content-Length", "0")])
        return []
    protocol = WSConnection(ConnectionType.SERVER)
    try:
        protocol.initiate_upgrade_connection(list(_fields(environ)), environ.get("RAW_URI") or environ["PATH_INFO"])
        request = next(event for event in protocol.events() if isinstance(event, Request))
    except RemoteProtocolError as error:
        _reject(sock, protocol, error.event_hint)
    else:
        token = auth.token_subprotocol(request.subprotocols)
        closed = None
        try:
            handshake.admit(environ, token)
        except Closed as refusal:
            closed = refusal
        _take_over(sock, protocol, environ, token, closed)
    context.upgraded = True
    if "gunicorn.socket" in environ:
        raise StopIteration  # the one end for which gunicorn's worker writes nothing more
    return []


def _fields(environ: dict[str, Any]) -> Iterable[tuple[bytes, bytes]]:
    for name, value in environ.items():
        if name.startswith("HTTP_"):
            yield name[5:].replace("_", "-").encode("latin-1"), value.encode("latin-1")


def _reject(sock: socket.socket, protocol: WSConnection, hint: Event | None) -> None:
    answer = hint if isinstance(hint, RejectConnection) else RejectConnection(status_code=400)
    sock.sendall(protocol.send(answer))


def _take_over(
    sock: socket.socket,
    protocol: WSConnection,
    environ: dict[str, Any],
    token: str | None,
    refusal: Closed | None,
) -> None:
    """Answer 101, and converse, or tell a page why not."""
    begun = time.monotonic()
    request_id = RequestContext.of(environ).request_id
    code = ABNORMAL
    here = process.current()
    caller = Caller.of(environ, token)
    try:
        with _ours_alone(sock):
            accepted = AcceptConnection(subprotocol=token, extra_headers=[(b"X-Request-ID", request_id.encode())])
            sock.settimeout(STALL_SECONDS)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            if refusal is not None:
                here.metrics.closes.labels(str(refusal.code)).inc()
                code = _refuse(sock, protocol, accepted, refusal)
            else:
                sock.sendall(protocol.send(accepted))
                code = Connection(sock, protocol, here, caller).run()
    finally:
        # Refusals are the audit log's, which counts them; here they would only fill the disk.
        log.log(
            logging.INFO if refusal is None else logging.DEBUG,
            "websocket %s from %s closed with %d after %.3f s",
            request_id,
            caller.client,
            code,
            time.monotonic() - begun,
        )


@contextmanager
def _ours_alone(sock: socket.socket) -> Iterator[None]:
    """Contain every failure in this block, and allow no write to the socket after it."""
    try:
        yield
    except OSError as error:
        log.debug("websocket lost: %s", error)
    except Exception:
        log.exception("a WebSocket ends by a failure of ours")
    finally:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def _refuse(sock: socket.socket, protocol: WSConnection, accepted: AcceptConnection, why: Closed) -> int:
    """Accept and close in one go; the code.

    A moment for the client to answer: what it sends meanwhile would reset the connection, and a proxy such as nginx
    ends both directions as soon as one has ended, so that the client's next write would fail before it has read the
    reason. But only for a few clients at once: refusing must stay cheap however many come.
    """
    sock.sendall(protocol.send(accepted) + protocol.send(CloseConnection(why.code, why.reason)))
    if _refusing.acquire(blocking=False):
        try:
            _await_answer(sock, protocol, time.monotonic() + GOODBYE_SECONDS)
        finally:
            _refusing.release()
    return why.code


def _await_answer(sock: socket.socket, protocol: WSConnection, until: float) -> None:
    """Return when the client has answered our close frame, has left, or has had its time; raises OSError."""
    while (left := until - time.monotonic()) > 0:
        sock.settimeout(left)
        received = sock.recv(READ)
        if not received:
            return
        try:
            protocol.receive_data(received)
            if any(isinstance(event, CloseConnection) for event in protocol.events()):
                return
        except RemoteProtocolError:
            return


class Connection:
    """An accepted WebSocket: one thread listens, the request's own converses."""

    def __init__(self, sock: socket.socket, protocol: WSConnection, here: process.Process, caller: Caller) -> None:
        self._sock = sock
        self._protocol = protocol
        self._here = here
        self._caller = caller
        self._changed = threading.Event()
        self._conversation = Conversation(Session(here, self._changed.set, caller))
        self._heard = time.monotonic()
        self._finished = False

    def run(self) -> int:
        """Serve the client until one side ends; the code it ended with."""
        metrics = self._here.metrics
        listener = self._listen()
        metrics.sockets.inc()
        metrics.active.inc()
        try:
            with self._here.watchers.admit(self._changed.set):
                end = self._converse()
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - told by a close code, and logged there
            end = ending(error)
        finally:
            self._conversation.session.close()
            metrics.sockets.dec()
            metrics.active.dec()
        self._say_goodbye(end, listener)
        return end.code

    def _converse(self) -> Closed:
        """Answer, send what is new, give signs of life; why that ends, which `Closed` may also be raised for."""
        session = self._conversation.session
        self._write(session.greeting())
        following = Following(self._conversation, HEARTBEAT_SECONDS, lambda: self._here.draining)
        for step in follow(following, self._changed):
            if not isinstance(step, Signal):
                self._write(step)
            elif time.monotonic() - self._heard > self._here.settings.ws_timeout:
                return Closed(GOING_AWAY, "idle")
            else:
                self._write([session.heartbeat(), PING])
        return Closed(GOING_AWAY, "going away")

    def _write(self, items: Sequence[str | bytes]) -> None:
        """Send texts and frames in portions of about one message; raises `Closed` when the client takes nothing."""
        portion = bytearray()
        for item in items:
            portion += frame(item) if isinstance(item, str) else item
            if len(portion) >= MAX_MESSAGE_BYTES:
                self._send(portion)
                portion = bytearray()
        if portion:
            self._send(portion)
        self._here.metrics.messages.labels("out").inc(sum(isinstance(item, str) for item in items))

    def _send(self, data: bytearray) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except TimeoutError:
                # Room for the rest of the frame and for the reason, which the client finds when it reads again.
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LAST_SEND_BUFFER)
                self._sock.settimeout(0)
                self._sock.send(view)
                raise Closed(TRY_AGAIN, "too slow; reconnect with replay_from_seq") from None

    def _say_goodbye(self, why: Closed, listener: threading.Thread) -> None:
        """Tell the reason and give the client a moment to answer, so that it reads the reason before a reset."""
        try:
            if self._protocol.state is ConnectionState.REMOTE_CLOSING:
                self._sock.send(self._protocol.send(CloseConnection(why.code, why.reason)))
            elif self._protocol.state is ConnectionState.OPEN:
                farewell = b"".join(map(frame, why.farewell))
                self._sock.send(farewell + self._protocol.send(CloseConnection(why.code, why.reason)))
                self._here.metrics.closes.labels(str(why.code)).inc()
                listener.join(GOODBYE_SECONDS)
        except OSError as error:
            log.debug("no goodbye: %s", error)
        self._finished = True
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        listener.join(STALL_SECONDS)

    def _listen(self) -> threading.Thread:
        thread = threading.Thread(target=self._read, name="aragora-websocket", daemon=True)
        thread.start()
        return thread

    def _read(self) -> None:
        """Hand over what the client says, until it has said its last; after a mistake listen only for the end."""
        reader = Reader()
        while not self._finished:
            try:
                received = self._sock.recv(READ)
                if not received:
                    break
                self._heard = time.monotonic()
                if reader.deaf:
                    continue
                self._protocol.receive_data(received)
                for event in self._protocol.events():
                    self._hand_over(reader.take(event))
                    if isinstance(event, CloseConnection):
                        return
            except TimeoutError:
                continue
            except RemoteProtocolError as error:
                hint = error.event_hint
                code = hint.code if isinstance(hint, CloseConnection) else PROTOCOL_ERROR
                reader.deaf = True
                self._hand_over(Closed(code, str(error)))
            except OSError:
                break
            except Exception as error:  # noqa: BLE001 - told by a close code, and logged there
                reader.deaf = True
                self._hand_over(ending(error))
        self._hand_over(Closed(ABNORMAL, "the client is gone"))

    def _hand_over(self, item: str | bytes | Closed | None) -> None:
        """Let `item` be answered; while there is no room, the client's next words wait in its socket."""
        if item is None:
            return
        while not self._conversation.hear(item, 1.0):
            if self._finished:
                return
        self._changed.set()


class Reader:
    """Puts messages together from fragments; RFC 6455 section 5.4."""

    def __init__(self) -> None:
        self.deaf = False
        self._parts: list[str] = []
        self._size = 0

    def take(self, event: Event) -> str | bytes | Closed | None:
        """The whole message that `event` completes, the pong that it asks for, or why the conversation is over."""
        if isinstance(event, Ping):
            return bytes(_framer.pong(bytes(event.payload)))
        if isinstance(event, CloseConnection):
            return Closed(event.code, event.reason or "")
        if isinstance(event, BytesMessage):
            self.deaf = True
            return Closed(UNSUPPORTED, "text messages only")
        if not isinstance(event, TextMessage) or self.deaf:
            return None
        self._parts.append(event.data)
        self._size += len(event.data.encode())
        if self._size > MAX_MESSAGE_BYTES:
            self.deaf = True
            return Closed(TOO_BIG, f"at most {MAX_MESSAGE_BYTES} bytes a message")
        if not event.message_finished:
            return None
        text = "".join(self._parts)
        self._parts.clear()
        self._size = 0
        return text

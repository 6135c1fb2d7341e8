"""TlsSocket: whatever the kernel does with the bytes, both ends see the same plaintext."""

import contextlib
import socket
import ssl
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from proxy.net.sockets import END_FOLLOWS
from proxy.net.tls_socket import TlsSocket
from tests.proxy.net.tls_client import Client, pair, shake_hands
from tests.waiting import readable

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


def connected(contexts: Contexts, size: int | None = None) -> tuple[TlsSocket, Client]:
    near, client = pair(*contexts, size)
    shake_hands(near, client)
    return near, client


def receive(near: TlsSocket, size: int = 65536) -> bytes | None:
    """What there is, None for nothing yet."""
    try:
        return near.recv(size)
    except BlockingIOError:
        return None


def end(near: TlsSocket, client: Client) -> None:
    near.close()
    client.far.close()


def offer(near: TlsSocket, left: memoryview) -> memoryview:
    """What is still to be sent after one attempt."""
    try:
        return left[near.send(left) :]
    except BlockingIOError:
        return left


bodies = st.binary(max_size=5000) | st.builds(
    lambda seed, count: (seed * (count // len(seed) + 1))[:count],
    st.binary(min_size=1, max_size=300),
    st.integers(0, 250_000),
)


@budget(max_examples=60)
@given(
    upward=bodies,
    downward=bodies,
    size=st.sampled_from([1, 5000, 30_000, 1 << 20]),
    pieces=st.lists(st.integers(200, 60_000), min_size=1, max_size=6),
    read_size=st.sampled_from([777, 16384, 65536]),
    into=st.booleans(),
    peek=st.booleans(),
)
def test_any_split_of_records_gives_the_same_plaintext(
    contexts: Contexts,
    upward: bytes,
    downward: bytes,
    size: int,
    pieces: list[int],
    read_size: int,
    into: bool,
    peek: bool,
) -> None:
    near, client = connected(contexts, size)
    client.write(upward)
    left = memoryview(downward)
    got_up, got_down = bytearray(), bytearray()
    buffer = memoryview(bytearray(read_size))
    for piece in cycle(pieces):
        client.push(piece)
        left = offer(near, left) if left else left
        try:
            if peek:
                assert upward[len(got_up) :].startswith(near.recv(5, socket.MSG_PEEK))
            if into:
                got_up += buffer[: near.recv_into(buffer)]
            else:
                got_up += near.recv(read_size)
        except BlockingIOError:
            assert not near.readable
        client.pull(piece)
        while data := client.read():
            got_down += data
        if len(got_up) >= len(upward) and len(got_down) >= len(downward) and not left:
            break
    assert got_up == upward
    assert got_down == downward
    assert receive(near) is None
    end(near, client)


@budget(max_examples=15)
@given(most=st.integers(1, 600))
def test_a_handshake_may_come_in_any_pieces(contexts: Contexts, most: int) -> None:
    near, client = pair(*contexts)
    shake_hands(near, client, most)
    client.write(b"done")
    while client.push(most):
        pass
    while (data := receive(near)) is None:
        pass
    assert data == b"done"
    end(near, client)


def answered(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[TlsSocket, Client]:
    """Both ends when the server's first flight is with the client."""
    near, far = pair(server, client)
    with pytest.raises(ssl.SSLWantReadError):
        far.tls.do_handshake()
    far.push()
    assert not near.shake_hands()
    far.pull()
    return near, far


def test_request_with_the_last_handshake_record_is_buffered(contexts: Contexts) -> None:
    if contexts[1].maximum_version != ssl.TLSVersion.TLSv1_3:
        pytest.skip("the server speaks last in TLS 1.2")
    near, client = answered(*contexts)
    client.tls.do_handshake()
    client.write(b"request")
    client.push()
    assert near.shake_hands()
    assert near.readable
    assert near.recv(100, socket.MSG_PEEK) == near.recv(100) == b"request"
    assert not near.readable
    end(near, client)


def test_pending_plaintext_counts_and_partial_record_does_not(contexts: Contexts) -> None:
    near, client = connected(contexts)
    client.write(b"a" * 100)
    client.write(b"b" * 100)
    whole = client.outgoing.read()
    client.far.send(whole[:150])
    assert near.recv(40) == b"a" * 40
    assert near.readable
    assert near.recv(100) == b"a" * 60
    assert not near.readable
    assert receive(near) is None
    client.far.send(whole[150:])
    assert near.recv(100) == b"b" * 100
    assert not near.readable
    end(near, client)


def test_a_keepalive_request_costs_one_system_call_each_way(contexts: Contexts) -> None:
    calls: list[str] = []

    class Counting(socket.socket):
        def recv(self, *arguments: object) -> bytes:
            calls.append("recv")
            return super().recv(*arguments)  # type: ignore[arg-type]

        def send(self, *arguments: object) -> int:
            calls.append("send")
            return super().send(*arguments)  # type: ignore[arg-type]

    raw, far = socket.socketpair()
    counted = Counting(fileno=raw.detach())
    for sock in (counted, far):
        sock.setblocking(False)
    near, client = TlsSocket(counted, contexts[0]), Client(contexts[1], far)
    shake_hands(near, client)
    calls.clear()
    for _ in range(3):
        client.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.push()
        near.recv(16384)
        assert not near.readable
        near.send(b"x" * 1024)
    assert calls == ["recv", "send"] * 3
    end(near, client)


def test_a_full_socket_is_offered_the_same_bytes_again(contexts: Contexts) -> None:
    near, client = connected(contexts, 5000)
    data = bytes(range(256)) * 400
    offered = []
    for _ in range(3):
        with pytest.raises(BlockingIOError):
            offered.append(near.send(data))
    assert near.sending
    assert not offered
    got = bytearray()
    left = memoryview(data)
    while len(got) < len(data):
        client.pull()
        while piece := client.read():
            got += piece
        left = offer(near, left) if left else left
    assert got == data
    assert not left
    end(near, client)


def test_close_notify_is_the_end_and_sending_goes_on(contexts: Contexts) -> None:
    near, client = connected(contexts)
    client.write(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.unwrap()
    client.push()
    assert near.recv(100) == b"last"
    assert near.readable
    assert near.recv(100) == b""
    assert near.recv(1, socket.MSG_PEEK) == b""
    assert near.send(b"answer") == 6
    client.pull()
    assert client.read() == b"answer"
    end(near, client)


def test_an_end_without_close_notify_is_an_end(contexts: Contexts) -> None:
    near, client = connected(contexts)
    client.write(b"last")
    client.push()
    client.far.shutdown(socket.SHUT_WR)
    assert near.recv(100) == b"last"
    assert near.recv(100) == b""
    assert near.recv(100) == b""
    assert near.readable
    end(near, client)


def test_half_close_keeps_what_was_received(contexts: Contexts) -> None:
    near, client = connected(contexts)
    client.write(b"one")
    client.write(b"two")
    client.push()
    assert near.recv(1) == b"o"
    near.shutdown(socket.SHUT_WR)
    client.pull()
    assert client.read() == b""
    assert near.recv(100) == b"netwo"
    client.write(b"three")
    client.push()
    assert near.recv(100) == b"three"
    client.far.shutdown(socket.SHUT_WR)
    assert near.recv(100) == b""
    end(near, client)


def test_closing_sends_close_notify_but_resetting_does_not(contexts: Contexts) -> None:
    near, client = connected(contexts)
    near.close()
    client.pull()
    client.pull()
    assert client.read() == b""
    client.far.close()

    near, client = connected(contexts)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    near.close()
    client.pull()
    client.pull()
    with pytest.raises(ssl.SSLError, match=r"(?i)eof"):
        client.read()
    client.far.close()


def test_garbage_is_a_lasting_error_and_alerts_the_peer(contexts: Contexts) -> None:
    near, client = connected(contexts)
    client.write(b"good")
    client.push()
    client.far.send(b"\x17\x03\x03\x00\x20" + b"x" * 32)
    assert near.recv(100) == b"good"
    assert near.readable
    for _ in range(2):
        with pytest.raises(ssl.SSLError) as failed:
            near.recv(100)
        assert failed.value.reason
    client.pull()
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        client.read()
    end(near, client)


def test_failed_handshake_raises_and_sends_an_alert(contexts: Contexts) -> None:
    near, client = pair(*contexts)
    client.far.send(b"\x16\x03\x01\x00\x05hello")
    with pytest.raises(ssl.SSLError):
        near.shake_hands()
    assert client.far.recv(1) == b"\x15"
    end(near, client)


def test_handshake_completes_although_the_client_has_left(contexts: Contexts) -> None:
    near, client = answered(*contexts)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.tls.do_handshake()
    client.push()
    client.far.close()
    near.shake_hands()
    assert near.recv(100) == b""
    near.close()


def test_a_peer_that_is_gone_is_an_os_error(contexts: Contexts) -> None:
    near, client = connected(contexts)
    client.far.close()
    with pytest.raises(BrokenPipeError):
        near.send(b"x" * 1000)
    assert near.recv(10) == b""
    near.close()


@pytest.mark.skipif(not END_FOLLOWS, reason="this kernel does not wait for more")
def test_the_last_data_and_the_end_travel_together(contexts: Contexts) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        far = socket.create_connection(listening.getsockname())
        raw, _ = listening.accept()
    for sock in (raw, far):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
    near, client = TlsSocket(raw, contexts[0]), Client(contexts[1], far)
    shake_hands(near, client)
    near.send(b"first")
    while client.read() != b"first":  # nothing of the handshake is under way any more
        readable(far, 5)
        client.pull()
    assert near.send(b"the last answer", END_FOLLOWS) == 15
    with pytest.raises(BlockingIOError):
        far.recv(1, socket.MSG_PEEK)
    near.shutdown(socket.SHUT_WR)
    readable(far, 5)
    client.pull()
    assert client.read() == b"the last answer"
    assert client.read() == b""
    assert far.recv(1) == b""
    end(near, client)

"""Whatever bytes come, a session tells of events or raises its own error, and keeps little of them."""

import random
import tracemalloc

import pytest
from hyperframe.frame import ContinuationFrame, HeadersFrame, SettingsFrame

from proxy.wire.h2 import frames
from proxy.wire.h2.events import DataReceived, Event, PingAcknowledged, RequestReceived
from proxy.wire.h2.faults import ConnectionFault, ErrorCode
from proxy.wire.h2.frames import PREFACE
from proxy.wire.h2.sending import StreamClosed
from proxy.wire.h2.session import ServerSession
from tests.proxy.integration.h2.random_frames import some_frame
from tests.proxy.integration.h2.raw import GET, POST
from tests.proxy.wire.h2.peer import MAX_STREAMS, Clock, Peer, begun

CONNECTIONS = 150


def changed(chance: random.Random, data: bytes) -> bytes:
    """The same with a few bytes changed, lost, doubled or put in."""
    bent = bytearray(data)
    for _ in range(chance.choice((0, 0, 1, 1, 3))):
        at = chance.choice((chance.randrange(len(bent)), chance.randrange(min(9, len(bent)))))
        bent[at : at + 1] = chance.choice((chance.randbytes(1), b"", b"\0\0", bytes(bent[at : at + 9]), b"\xff" * 3))
        if not bent:
            break
    return bytes(bent)


def respond(chance: random.Random, session: ServerSession, event: Event) -> None:
    """What a gateway may do with what it is told."""
    if isinstance(event, PingAcknowledged):
        return
    stream = event.stream
    try:
        if isinstance(event, DataReceived):
            session.give_back(stream, event.size)
        if chance.random() < 0.2:
            session.sender.reset(stream, ErrorCode.CANCEL)
        if chance.random() < 0.2:
            session.reject(stream, ErrorCode.PROTOCOL_ERROR)
        if isinstance(event, RequestReceived) and chance.random() < 0.7:
            session.sender.send_section(stream, ((b":status", b"200"),), ends=chance.random() < 0.5)
            room = session.sender.room(stream)
            if room > 0:
                session.sender.send_data(stream, bytes(min(room, 1000)), ends=chance.random() < 0.5)
            session.sender.end(stream)
    except StreamClosed:
        pass


@pytest.mark.parametrize("seed", range(4))
def test_frames_in_any_order_raise_nothing_unexpected(seed: int) -> None:
    chance = random.Random(seed)
    refused = 0
    for _ in range(CONNECTIONS):
        session, peer = ServerSession(MAX_STREAMS, 32768, Clock()), Peer()
        whole = PREFACE + SettingsFrame(0).serialize()
        whole += b"".join(changed(chance, some_frame(chance, peer.block)) for _ in range(chance.randrange(1, 40)))
        try:
            while whole:
                size = chance.choice((1, 9, 100, len(whole)))
                for event in session.receive(whole[:size]):
                    respond(chance, session, event)
                whole = whole[size:]
        except ConnectionFault as fault:
            refused += 1
            assert isinstance(fault.code, ErrorCode)
        session.sender.take()
    assert 0 < refused < CONNECTIONS


@pytest.mark.parametrize("seed", range(2))
def test_any_payloads_raise_nothing_unexpected(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(1500):
        session = begun()
        session.receive(Peer().open(1))
        try:
            for _ in range(4):
                payload = chance.randbytes(chance.choice((0, 1, 4, 5, 6, 8, 20)))
                session.receive(frames.frame(chance.randrange(11), chance.randrange(256), chance.randrange(4), payload))
        except ConnectionFault:
            pass


def test_what_a_client_may_leave_unfinished_is_bounded() -> None:
    sessions = [begun() for _ in range(20)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for session in sessions:
            peer = Peer()
            for number in range(1, 2 * MAX_STREAMS, 2):
                session.receive(peer.open(number, [*POST, (f"x-{number}", "a" * 60)]))
            session.receive(HeadersFrame(99, data=b"\x82" * 16000).serialize())
            session.receive(ContinuationFrame(99, data=b"\x82" * 16000).serialize() * 3)
            session.receive(ContinuationFrame(99, data=b"\x82" * 1000).serialize()[:-1])
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < len(sessions) * 120_000


def test_a_section_of_many_fields_takes_little_room() -> None:
    session, peer = begun(), Peer()
    session.receive(peer.headers(1, [*GET, ("x-a", "b")]))
    tracemalloc.start()
    try:
        with pytest.raises(ConnectionFault):
            session.receive(HeadersFrame(3, data=b"\xbe" * 16384, flags=["END_HEADERS"]).serialize())
        assert tracemalloc.get_traced_memory()[1] < 1_500_000
    finally:
        tracemalloc.stop()

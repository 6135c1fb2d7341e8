"""gRPC through a whole gateway, with its own client and server; and hypercorn, an ASGI server that speaks HTTP/2."""

import contextlib
import hashlib
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ports import ports
from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.applications import content
from tests.proxy.integration.upstreams import APPLICATIONS, Upstream
from tests.waiting import PATIENCE, until

Channel = Any
pytestmark = pytest.mark.component("grpc")


class Calls:
    """The server's methods, on bytes."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.waiting = threading.Event()

    def unary(self, request: bytes, call: Any) -> bytes:
        call.send_initial_metadata((("x-initial", "first"),))
        call.set_trailing_metadata((("x-echo", dict(call.invocation_metadata()).get("x-asked", "")),))
        return request

    def down(self, request: bytes, _call: Any) -> Iterator[bytes]:
        yield from (b"%d" % number for number in range(int(request)))

    def up(self, requests: Iterator[bytes], _call: Any) -> bytes:
        return b"%d" % sum(map(len, requests))

    def both(self, requests: Iterator[bytes], _call: Any) -> Iterator[bytes]:
        yield from (request[::-1] for request in requests)

    def missing(self, _request: bytes, call: Any) -> bytes:
        import grpc

        call.abort(grpc.StatusCode.NOT_FOUND, "none, señor")

    def wait(self, request: bytes, call: Any) -> bytes:
        call.add_callback(self.cancelled.set)
        self.waiting.set()
        self.cancelled.wait(PATIENCE)
        return request


@pytest.fixture(scope="module")
def calls() -> Calls:
    return Calls()


@pytest.fixture(scope="module")
def gateway(calls: Calls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    import grpc
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            kinds = {
                "down": grpc.unary_stream_rpc_method_handler,
                "up": grpc.stream_unary_rpc_method_handler,
                "both": grpc.stream_stream_rpc_method_handler,
            }
            service, _, name = details.method[1:].partition("/")
            kind = kinds.get(name, grpc.unary_unary_rpc_method_handler)
            return kind(getattr(calls, name)) if service == "t" else None

    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((Handler(),))
    checks = health.HealthServicer()
    checks.set("t", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    directory = tmp_path_factory.mktemp("grpc")
    file = directory / "proxy.toml"
    file.write_text(
        f'h2c = true\nupstream = "h2c://127.0.0.1:{port}"\n'
        f'[[route]]\nhost = "plain.test"\nupstream = "127.0.0.1:{port}"\n'
    )
    running = serve(directory, "", "--config", str(file))
    yield running
    running.close()
    server.stop(0).wait()
    assert "failed inside the gateway" not in running.log, running.log


@pytest.fixture(scope="module")
def channel(gateway: Gateway) -> Iterator[Channel]:
    import grpc

    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        yield channel


def test_a_unary_call_has_metadata_both_ways(channel: Channel) -> None:
    answer, call = channel.unary_unary("/t/unary").with_call(b"hello", metadata=(("x-asked", "yes"),), timeout=PATIENCE)
    assert answer == b"hello"
    assert ("x-initial", "first") in tuple(call.initial_metadata())
    assert tuple(call.trailing_metadata()) == (("x-echo", "yes"),)


@pytest.mark.parametrize("size", [0, 16_384, 3_000_000])
def test_messages_of_any_size_pass(channel: Channel, size: int) -> None:
    assert channel.unary_unary("/t/unary")(content(size), timeout=PATIENCE) == content(size)


def test_streams_pass_in_either_direction(channel: Channel) -> None:
    assert list(channel.unary_stream("/t/down")(b"50", timeout=PATIENCE)) == [b"%d" % number for number in range(50)]
    assert channel.stream_unary("/t/up")(iter([content(100_000)] * 20), timeout=PATIENCE) == b"2000000"


def test_both_sides_talk_in_turn(channel: Channel) -> None:
    said: queue.Queue[bytes | None] = queue.Queue()
    answers = channel.stream_stream("/t/both")(iter(said.get, None), timeout=PATIENCE)
    for word in (b"abc", b"def"):
        said.put(word)
        assert next(answers) == word[::-1]
    said.put(None)
    assert list(answers) == []


def test_a_status_comes_in_the_trailers(channel: Channel) -> None:
    import grpc

    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t/missing")(b"", timeout=PATIENCE)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.NOT_FOUND, "none, señor")
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/other/method")(b"", timeout=PATIENCE)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("how", ["cancelled", "late"])
def test_a_call_that_is_given_up_ends_at_the_server(channel: Channel, calls: Calls, how: str) -> None:
    import grpc

    calls.cancelled.clear()
    calls.waiting.clear()
    call = channel.unary_unary("/t/wait").future(b"", timeout=PATIENCE if how == "cancelled" else 1)
    assert calls.waiting.wait(PATIENCE)
    if how == "cancelled":
        call.cancel()
    else:
        assert call.exception(timeout=PATIENCE).code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert calls.cancelled.wait(PATIENCE)


def test_calls_given_up_in_a_row_harm_no_other(channel: Channel, calls: Calls) -> None:
    """gRPC servers end connections on which they get more than two PINGs that they did not ask for."""
    said: queue.Queue[bytes | None] = queue.Queue()
    answers = channel.stream_stream("/t/both")(iter(said.get, None), timeout=PATIENCE)
    for word in (b"abc", b"def"):
        said.put(word)
        assert next(answers) == word[::-1]
        for _ in range(6):
            calls.cancelled.clear()
            calls.waiting.clear()
            call = channel.unary_unary("/t/wait").future(b"", timeout=PATIENCE)
            assert calls.waiting.wait(PATIENCE)
            call.cancel()
            assert calls.cancelled.wait(PATIENCE)
    said.put(None)
    assert list(answers) == []


def test_a_plain_address_is_named_in_the_log(gateway: Gateway) -> None:
    answer = httpx.get(gateway.url, headers={"Host": "plain.test"}, timeout=PATIENCE)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "bad_response")
    gateway.wait_for("the application speaks HTTP/2 only, as gRPC does; write h2c:// before its address")


def test_the_health_service_responds(channel: Channel) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    stub = health_pb2_grpc.HealthStub(channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service="t"), timeout=PATIENCE)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_many_calls_at_once_have_no_error(channel: Channel) -> None:
    call = channel.unary_unary("/t/unary")
    under_way = [call.future(b"%d" % number, timeout=PATIENCE) for number in range(300)]
    assert [one.result() for one in under_way] == [b"%d" % number for number in range(300)]


@pytest.mark.long
def test_ten_thousand_calls_have_no_error(channel: Channel) -> None:
    call = channel.unary_unary("/t/unary")
    with futures.ThreadPoolExecutor(16) as callers:
        answers = callers.map(lambda number: call(b"%d" % number, timeout=PATIENCE), range(10_000))
        assert list(answers) == [b"%d" % number for number in range(10_000)]


@pytest.mark.component("hypercorn")
def test_hypercorn_is_spoken_to_in_http_2(start: Callable[..., Gateway], tmp_path: Path) -> None:
    (port,) = ports(1)
    command = [sys.executable, "-m", "hypercorn", "--bind", f"127.0.0.1:{port}", f"{APPLICATIONS}:asgi"]
    with contextlib.closing(Upstream(command, tmp_path / "hypercorn.log", port)):
        gateway = start(f"h2c://127.0.0.1:{port}", "--h2c", "on")
        for http2 in (False, True):
            with httpx.Client(timeout=PATIENCE, http1=not http2, http2=http2) as client:
                body = content(1_000_000)
                seen = client.post(gateway.url + "/up", content=body).json()
                assert seen["sha256"] == hashlib.sha256(body).hexdigest()
                assert client.get(gateway.url + "/bytes?n=1000000").content == body
                assert len(client.get(gateway.url + "/stream").content) == 200_000
        until(lambda: len(gateway.logged()) == 6, "the log")
        assert {line["status"] for line in gateway.logged()} == {200}

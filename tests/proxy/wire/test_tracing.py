"""Trace Context: what is valid, what is not."""

import pytest

from proxy.wire.tracing import Trace, TraceContext, read_trace, valid_state, well_formed_id

ID = b"4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = b"00f067aa0ba902b7"


@pytest.mark.parametrize(
    "value",
    [
        b"00-%s-%s-01" % (ID, SPAN),
        b"cc-%s-%s-01" % (ID, SPAN),
        b"cc-%s-%s-01-what-the-future-will-be-like" % (ID, SPAN),
    ],
)
def test_a_trace_is_read(value: bytes) -> None:
    trace = Trace.parse(value)
    assert trace == Trace(ID, SPAN, b"01")
    assert trace.lines == b"traceparent: 00-%s-%s-01\r\n" % (ID, SPAN)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00",
        b"ff-%s-%s-01" % (ID, SPAN),
        b"00-%s-%s-01-more" % (ID, SPAN),
        b"cc-%s-%s-01.more" % (ID, SPAN),
        b"00-%s-%s-1" % (ID, SPAN),
        b"00-%s-%s-01" % (ID.upper(), SPAN),
        b"00-%s-%s-01" % (b"0" * 32, SPAN),
        b"00-%s-%s-01" % (ID, b"0" * 16),
        b"00-%s-%s-01\n" % (ID, SPAN),
    ],
)
def test_a_malformed_trace_is_none(value: bytes) -> None:
    assert Trace.parse(value) is None


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ([b"congo=t61rcWkgMzE"], b"congo=t61rcWkgMzE"),
        ([b"a=1, b=2", b"", b"t@v=x y"], b"a=1,b=2,t@v=x y"),
        ([], None),
        ([b" , "], None),
        ([b"a=1,a=2"], None),
        ([b"a"], None),
        ([b"A=1"], None),
        ([b"a=1=2"], None),
        ([b",".join(b"k%d=1" % number for number in range(33))], None),
        ([b"a=" + b"x" * 256, b"b=" + b"x" * 256], None),
    ],
)
def test_a_state_is_valid_as_a_whole(values: list[bytes], state: bytes | None) -> None:
    assert valid_state(values) == state


@pytest.mark.parametrize(
    ("value", "good"),
    [(b"req-1:2/3", True), (b"", False), (b"a b", False), (b'a"', False), (b"x" * 128, True), (b"x" * 129, False)],
)
def test_request_ids_are_short_and_plain(value: bytes, good: bool) -> None:
    assert well_formed_id(value) is good


PARENT = (b"traceparent", b"00-%s-%s-01" % (ID, SPAN))


def test_a_trace_passes_with_its_state() -> None:
    trace = read_trace([PARENT, (b"tracestate", b"a=1"), (b"x-request-id", b"r"), (b"tracestate", b"b=2")])
    assert trace is not None
    assert trace.lines == b"traceparent: 00-%s-%s-01\r\ntracestate: a=1,b=2\r\n" % (ID, SPAN)
    assert TraceContext(None, trace, tracing=False).outgoing() is trace


@pytest.mark.parametrize(
    "forwarding_fields",
    [[], [PARENT, PARENT], [(b"traceparent", b"nonsense"), (b"tracestate", b"a=1")], [(b"tracestate", b"a=1")]],
)
def test_a_malformed_trace_is_dropped_with_its_state(forwarding_fields: list[tuple[bytes, bytes]]) -> None:
    assert read_trace(forwarding_fields) is None
    assert TraceContext(None, None, tracing=False).outgoing() is None


def test_a_trace_is_continued_under_a_span_of_our_own() -> None:
    trace_context = TraceContext(None, read_trace([PARENT, (b"tracestate", b"a=1")]), tracing=True)
    one, two = trace_context.outgoing(), trace_context.outgoing()
    assert one is not None
    assert two is not None
    assert (one.trace_id, one.flags, one.state) == (ID, b"01", b"a=1")
    assert len({SPAN, one.span, two.span}) == 3
    assert Trace.parse(one.lines.split(b"\r\n")[0].removeprefix(b"traceparent: ")) is not None


def test_a_trace_begins_where_none_came() -> None:
    one, two = TraceContext(None, None, tracing=True).outgoing(), TraceContext(None, None, tracing=True).outgoing()
    assert one is not None
    assert two is not None
    assert one.trace_id != two.trace_id
    assert Trace.parse(one.lines[13:-2]) == one


@pytest.mark.parametrize(("share", "flags"), [(1.0, b"01"), (0.0, b"00")])
def test_a_share_of_the_traces_that_begin_is_sampled(share: float, flags: bytes) -> None:
    trace = TraceContext(None, None, tracing=True, share=share).outgoing()
    assert trace is not None
    assert (trace.flags, trace.sampled) == (flags, bool(share))


def test_clients_do_not_decide_about_sampling() -> None:
    for share, flags in ((0.0, b"00"), (1.0, b"01")):
        context = TraceContext(None, read_trace([PARENT]), tracing=True, share=share, decided=False)
        trace = context.outgoing()
        assert trace is not None
        assert (trace.trace_id, trace.flags) == (ID, flags)
    kept = TraceContext(None, read_trace([PARENT]), tracing=True, share=0.0).outgoing()
    assert kept is not None
    assert kept.sampled

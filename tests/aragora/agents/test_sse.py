"""Server-sent events out of bytes, however they are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aragora.agents import sse

LINES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=40)


@given(st.lists(st.lists(LINES, min_size=1, max_size=3), max_size=5), st.data(), st.sampled_from([b"\n", b"\r\n"]))
def test_events_come_out_whole_wherever_the_bytes_are_cut(
    events: list[list[str]], data: st.DataObject, end: bytes
) -> None:
    stream = b"".join(
        b": comment" + end + b"event: name" + end + b"".join(b"data: " + line.encode() + end for line in lines) + end
        for lines in events
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert list(sse.events(pieces)) == ["\n".join(lines) for lines in events]


def test_the_last_event_needs_no_empty_line() -> None:
    assert list(sse.events([b"data: one\n\ndata:two"])) == ["one", "two"]


@pytest.mark.parametrize(
    "line", [b"data: " + b"x" * sse.MAX_EVENT + b"\n", b"x" * (sse.MAX_EVENT + 1), b"data: " + b"x" * 999 + b"\n"]
)
def test_an_event_that_is_too_long_is_refused(line: bytes) -> None:
    pieces = [line] * (1 if len(line) > sse.MAX_EVENT else sse.MAX_EVENT // 999 + 1)
    with pytest.raises(sse.TooLong):
        list(sse.events(pieces))


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_any_bytes_are_read(pieces: list[bytes]) -> None:
    assert all(isinstance(event, str) for event in sse.events(pieces))

"""What is said right now, handed to listeners at their own pace."""

import tracemalloc

from aragora.storage.words import ANSWERS, LONGEST, PIECE, Listener, Piece, Words


def piece(offset: int, text: str, answer: str = "a", *, ended: bool = False) -> Piece:
    return Piece(answer, "demo-1", 1, "propose", offset, text, ended)


def said(listener: Listener) -> str:
    return "".join(part.text for part in listener.take())


def deaf() -> None:
    pass


def test_a_listener_hears_every_word_once() -> None:
    words, woken = Words(), []
    listener = words.listen(lambda: woken.append(1))
    words.add(piece(0, "Begin "))
    words.add(piece(6, "small"))
    assert said(listener) == "Begin small"
    words.add(piece(11, "."))
    assert listener.take() == [piece(11, ".")]
    assert listener.take() == []
    assert len(woken) == 2  # once for what waits to be taken, however much it is


def test_a_late_listener_hears_the_answer_from_its_beginning() -> None:
    words = Words()
    early = words.listen(deaf)
    words.add(piece(0, "Begin "))
    assert said(early) == "Begin "
    words.add(piece(6, "small"))
    woken: list[int] = []
    late = words.listen(lambda: woken.append(1))
    assert woken
    assert late.take() == [piece(0, "Begin small")]
    assert said(early) == "small"


def test_an_ended_answer_is_not_told_to_who_comes_after_it() -> None:
    words = Words()
    slow = words.listen(deaf)
    words.add(piece(0, "Done.", ended=True))
    late = words.listen(deaf)
    assert late.take() == []
    assert slow.take() == [piece(0, "Done.", ended=True)]
    assert slow.take() == []


def test_pieces_that_come_twice_or_late_change_nothing() -> None:
    words = Words()
    listener = words.listen(deaf)
    words.add(piece(0, "Begin "))
    words.add(piece(0, "Begin small."), "far")
    words.add(piece(6, "small."))
    assert said(listener) == "Begin small."
    words.add(piece(12, "", ended=True))
    listener.take()
    words.add(piece(0, "Begin small.", ended=True), "far")
    assert listener.take() == []


def test_a_gap_is_shown_by_the_offset() -> None:
    words = Words()
    listener = words.listen(deaf)
    words.add(piece(0, "Begin "))
    words.add(piece(20, "and grow"))
    assert listener.take() == [piece(20, "and grow")]


def test_a_long_text_comes_in_pieces_that_fit_a_frame() -> None:
    words = Words()
    listener = words.listen(deaf)
    text = "".join(chr(0x1F600 + number % 50) for number in range(2 * PIECE + 5))
    words.add(piece(0, text))
    parts = listener.take()
    assert [len(part.text) for part in parts] == [PIECE, PIECE, 5]
    assert "".join(part.text for part in parts) == text


def test_what_is_kept_is_bounded() -> None:
    words = Words()
    slow = words.listen(deaf)
    words.add(piece(0, "x" * (2 * LONGEST)))
    assert sum(len(part.text) for part in slow.take()) == LONGEST
    for number in range(10 * ANSWERS):
        words.add(piece(0, "word", str(number)))
    assert len(slow.take()) == ANSWERS


def test_nothing_is_kept_of_answers_that_everybody_has() -> None:
    words = Words()
    listener = words.listen(deaf)
    tracemalloc.start()
    try:
        for number in range(500):
            words.add(piece(0, "x" * 10_000, str(number), ended=True))
            listener.take()
        assert tracemalloc.get_traced_memory()[0] < 200_000
    finally:
        tracemalloc.stop()
    listener.close()
    words.add(piece(0, "unheard", "b", ended=True))
    assert words.listen(deaf).take() == []


def test_words_of_a_process_that_died_are_dropped() -> None:
    words = Words()
    listener = words.listen(deaf)
    words.add(piece(0, "Begin "), "dead")
    words.add(piece(0, "Own", "b"))
    listener.take()
    words.lose("dead")
    late = words.listen(deaf)
    assert [part.answer for part in late.take()] == ["b"]


def test_only_own_words_are_told_on() -> None:
    words = Words()
    listener = words.listen(deaf, own=True)
    words.add(piece(0, "theirs"), "other")
    words.add(piece(0, "ours", "b"))
    assert [part.text for part in listener.take()] == ["ours"]
    assert [part.text for part in words.own()] == ["ours"]


def test_a_message_of_another_form_is_no_piece() -> None:
    right = {"answer": "a", "agent": "x", "round": 1, "purpose": "vote", "offset": 0, "text": "y", "ended": False}
    assert Piece.read(right) == Piece("a", "x", 1, "vote", 0, "y")
    for wrong in (
        None,
        [],
        {},
        right | {"offset": -1},
        right | {"round": True},
        right | {"text": None},
        right | {"z": 1},
    ):
        assert Piece.read(wrong) is None

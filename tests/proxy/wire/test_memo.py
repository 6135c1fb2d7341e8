"""A memory of what was worked out before."""

from proxy.wire.memo import BoundedMemo


def test_a_full_memo_begins_anew() -> None:
    memo: BoundedMemo[int, str] = BoundedMemo(3)
    for number in range(10):
        assert memo.remember(number, str(number)) == str(number)
        assert memo.get(number) == str(number)
        assert len(memo) <= 3
    assert list(memo) == [9]

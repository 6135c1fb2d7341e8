"""Councils kept under a name, on both databases."""

import pytest

from aragora.errors import NotFound
from aragora.storage import Store
from tests.aragora.storage.debates import spec

BODY = {"agents": ["demo", {"type": "demo", "role": "skeptic \U0001f914 \x00"}], "rounds": 2}


def test_a_council_is_kept_replaced_and_forgotten(store: Store) -> None:
    store.presets.save("guest", "red", {"agents": []})
    kept = store.presets.save("guest", "red", BODY)
    store.presets.save("", "blue", BODY)
    assert kept.body == BODY
    assert [(one.owner, one.name) for one in store.presets.of(("guest", ""))] == [("", "blue"), ("guest", "red")]
    assert store.presets.of(("guest",))[0].body == BODY
    with pytest.raises(NotFound):
        store.presets.remove("other", "red")
    store.presets.remove("guest", "red")
    assert store.presets.of(("guest",)) == []


def test_a_debate_is_shared_under_one_key_at_a_time(store: Store) -> None:
    record = store.create(spec())
    key = store.shares.add(record.id)
    assert store.shares.add(record.id) == key
    assert store.shares.find(key).id == record.id
    store.shares.remove(record.id)
    for wrong in (key, "", "\x00" * 32, "é" * 32, key + "x"):
        with pytest.raises(NotFound):
            store.shares.find(wrong)
    assert store.shares.add(record.id) != key
    for act in (store.shares.add, store.shares.remove):
        with pytest.raises(NotFound):
            act("adhoc_" + "0" * 26)

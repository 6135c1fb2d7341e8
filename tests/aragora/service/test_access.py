"""Who is let in, as whom, and from when on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aragora.errors import Forbidden
from aragora.service import Access
from aragora.settings import Settings, load
from aragora.storage import Limits, Scope, Store


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"ARAGORA_DATA_DIR": str(tmp_path)}


@pytest.fixture
def store(environ: dict[str, str]) -> Iterator[Store]:
    opened = Store.open(load(environ))
    yield opened
    opened.close()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def configured(environ: dict[str, str], **more: str) -> Settings:
    return load(environ | {"ARAGORA_API_TOKEN": "first-token, second-token", **more})


def test_without_tokens_everybody_is_an_administrator(environ: dict[str, str], store: Store) -> None:
    access = Access(load(environ), store.tokens)
    assert not access.needs_token()
    for token in (None, "whatever"):
        caller = access.principal(token)
        assert caller is not None
        assert (caller.name, caller.label, caller.reads, caller.key) == ("", "anyone", None, "")
        caller.demand(Scope.ADMIN)


def test_configured_tokens_are_administrators_told_apart(environ: dict[str, str], store: Store) -> None:
    access = Access(configured(environ, ARAGORA_DAILY_MONEY="2.5", ARAGORA_DEBATES_AT_ONCE="7"), store.tokens)
    first, second = access.principal("first-token"), access.principal("second-token")
    assert first is not None
    assert second is not None
    assert first.name != second.name
    assert first.key != second.key
    assert first.limits == Limits(cost=2_500_000, debates=7)
    assert first.may(Scope.ADMIN)
    assert "first-token" not in repr(first)
    for unknown in (None, "", "first-toke", "first-token ", "\udcff", "FIRST-TOKEN"):
        assert access.principal(unknown) is None


def test_a_stored_token_asks_everybody_for_one_within_a_second(environ: dict[str, str], store: Store) -> None:
    clock = Clock()
    access = Access(load(environ), store.tokens, clock)
    assert not access.needs_token()
    secret = store.tokens.add("guest", [Scope.READ])
    clock.now += 1.1
    assert access.needs_token()
    assert access.principal(None) is None
    assert access.principal("wrong") is None
    guest = access.principal(secret)
    assert guest is not None
    assert (guest.name, guest.label, guest.reads) == ("guest", "token guest", "guest")
    assert access.is_current(guest)
    store.tokens.remove("guest")
    assert not access.is_current(guest)
    clock.now += 1.1
    for nobody in (secret, None, "whatever"):
        assert access.principal(nobody) is None, "the last token that goes lets nobody in"


@pytest.mark.parametrize(
    ("given", "may"),
    [
        ([Scope.READ], {Scope.READ}),
        ([Scope.CREATE], {Scope.READ, Scope.CREATE}),
        ([Scope.ADMIN], {Scope.READ, Scope.CREATE, Scope.ADMIN}),
    ],
)
def test_each_scope_includes_those_before_it(
    environ: dict[str, str], store: Store, given: list[Scope], may: set[Scope]
) -> None:
    access = Access(configured(environ), store.tokens)
    caller = access.principal(store.tokens.add("guest", given))
    assert caller is not None
    assert caller.scopes == may
    assert (caller.reads is None) is (Scope.ADMIN in may)
    if Scope.ADMIN not in may:
        with pytest.raises(Forbidden, match="needs a token with the scope admin"):
            caller.demand(Scope.ADMIN)


def test_a_reader_may_read_what_another_token_owns(environ: dict[str, str], store: Store) -> None:
    access = Access(configured(environ), store.tokens)
    caller = access.principal(store.tokens.add("dashboard", [Scope.READ], owner="guest"))
    assert caller is not None
    assert caller.reads == "guest"

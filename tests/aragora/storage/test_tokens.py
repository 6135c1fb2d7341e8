"""API tokens in the database: found by their secret, which is kept nowhere."""

import pytest
import sqlalchemy as sa

from aragora.errors import Conflict, NotFound, ValidationFailed
from aragora.storage import Limits, Scope, Store


def test_a_token_is_found_by_its_secret_alone(store: Store) -> None:
    assert not store.tokens.have_existed()
    secret = store.tokens.add("guest", [Scope.READ, Scope.CREATE], Limits(questions=5), ["openai/*"])
    found = store.tokens.find(secret)
    assert found is not None
    assert (found.name, found.scopes, found.models) == ("guest", {"read", "create"}, ("openai/*",))
    assert found.limits == Limits(questions=5)
    assert store.tokens.all() == [found]
    assert store.tokens.have_existed()
    for wrong in ("", "guest", secret[:-1], secret + "x", secret.upper(), "\udcff"):
        assert store.tokens.find(wrong) is None


def test_the_secret_is_not_stored(store: Store) -> None:
    secret = store.tokens.add("guest", [Scope.READ], Limits())
    with store.database.reading() as connection:
        rows = [tuple(row) for row in connection.execute(sa.text("SELECT * FROM api_tokens"))]
    assert secret not in repr(rows)
    assert len(secret) >= 40


def test_a_removed_token_is_unknown_and_its_name_free(store: Store) -> None:
    secret = store.tokens.add("guest", [Scope.READ], Limits())
    with pytest.raises(Conflict, match="'guest' exists already"):
        store.tokens.add("guest", [Scope.ADMIN], Limits())
    store.tokens.remove("guest")
    assert store.tokens.find(secret) is None
    assert store.tokens.all() == []
    assert store.tokens.have_existed()
    for act in (store.tokens.remove, store.tokens.rotate, store.tokens.get):
        with pytest.raises(NotFound):
            act("guest")
    with pytest.raises(NotFound):
        store.tokens.change("guest", Limits(), [])
    assert store.tokens.add("guest", [Scope.READ], Limits()) != secret


def test_a_new_secret_replaces_the_old_one(store: Store) -> None:
    old = store.tokens.add("guest", [Scope.READ], Limits())
    new = store.tokens.rotate("guest")
    assert store.tokens.find(old) is None
    found = store.tokens.find(new)
    assert found is not None
    assert found.name == "guest"
    with pytest.raises(NotFound):
        store.tokens.rotate("nobody")


@pytest.mark.parametrize("name", ["", "@admin", "-x", "a b", "a" * 65, "é"])
def test_ambiguous_names_are_refused(store: Store, name: str) -> None:
    with pytest.raises(ValidationFailed, match="name"):
        store.tokens.add(name, [Scope.READ], Limits())


@pytest.mark.parametrize(
    ("scopes", "owner"), [([], None), ([Scope.CREATE], "other"), ([Scope.READ, Scope.ADMIN], "other")]
)
def test_a_token_may_do_something_and_reads_for_others_only(
    store: Store, scopes: list[Scope], owner: str | None
) -> None:
    with pytest.raises(ValidationFailed, match=r"read, create, admin|only be read"):
        store.tokens.add("guest", scopes, owner=owner)

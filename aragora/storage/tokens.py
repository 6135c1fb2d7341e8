"""API tokens: their names, what their callers may do, and how much they may spend. Secrets are kept as digests only.

A token's name is the name of what it owns: debates, idempotency keys and spending stay with the name when the secret
behind it is replaced, and only an administrator sees them once it is removed.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from aragora.errors import Conflict, NotFound, Problem, ValidationFailed
from aragora.storage.engine import Database
from aragora.storage.records import UNBOUNDED, ApiToken, Limits, Scope
from aragora.storage.tables import api_tokens

PREFIX = "ara_"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_THERE = api_tokens.c.removed_at.is_(None)
_BY_DIGEST = sa.select(api_tokens).where(api_tokens.c.digest == sa.bindparam("b_digest"), _THERE)
_BY_NAME = sa.select(api_tokens).where(api_tokens.c.name == sa.bindparam("b_name"), _THERE)
_EVER = sa.select(api_tokens.c.name).limit(1)


class ApiTokens:
    """The tokens that `aragora tokens` keeps in the database; those of ARAGORA_API_TOKEN are not among them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        name: str,
        scopes: Iterable[Scope],
        limits: Limits = UNBOUNDED,
        models: Iterable[str] = (),
        owner: str | None = None,
    ) -> str:
        """Make a token and return its secret, which is shown nowhere again.

        `models` are patterns of `type/model`; none allows all. `owner` is whose debates it reads, where that is not
        itself and it may only read. Raises `ValidationFailed`, and `Conflict` for a name that is taken.
        """
        chosen = tuple(dict.fromkeys(scopes))
        if not NAME.fullmatch(name) or (owner is not None and not NAME.fullmatch(owner)):
            raise ValidationFailed.of(Problem("name", "1 to 64 letters, digits and . _ -, a letter or digit first"))
        if not chosen:
            raise ValidationFailed.of(Problem("scopes", f"some of {', '.join(Scope)}"))
        if owner is not None and chosen != (Scope.READ,):
            raise ValidationFailed.of(Problem("owner", "another token's debates may only be read"))
        secret = PREFIX + secrets.token_urlsafe(32)
        row = {
            "name": name,
            "owner": owner or name,
            "digest": digest(secret),
            "scopes": [scope.value for scope in chosen],
            "models": list(models),
            "limits": limits.to_json(),
            "created_at": time.time(),
        }
        removed = sa.delete(api_tokens).where(api_tokens.c.name == name, api_tokens.c.removed_at.is_not(None))
        try:
            with self._database.writing() as connection:
                connection.execute(removed)
                connection.execute(sa.insert(api_tokens).values(row))
        except IntegrityError:
            raise Conflict(f"an API token {name!r} exists already: remove it first, or take another name") from None
        return secret

    def rotate(self, name: str) -> str:
        """Give the token of this name a new secret and return it; the old one is refused from now on.

        Raises `NotFound`.
        """
        secret = PREFIX + secrets.token_urlsafe(32)
        change = sa.update(api_tokens).where(api_tokens.c.name == name, _THERE).values(digest=digest(secret))
        with self._database.writing() as connection:
            if not connection.execute(change).rowcount:
                raise _no_such(name)
        return secret

    def change(self, name: str, limits: Limits, models: Iterable[str]) -> None:
        """Give the token of this name other limits and models, from now on; raises `NotFound`."""
        values = {"limits": limits.to_json(), "models": list(models)}
        with self._database.writing() as connection:
            change = sa.update(api_tokens).where(api_tokens.c.name == name, _THERE).values(values)
            if not connection.execute(change).rowcount:
                raise _no_such(name)

    def remove(self, name: str) -> None:
        """Refuse the token from now on, and ask no more questions for its debates; raises `NotFound`."""
        mine = (api_tokens.c.name == name, _THERE)
        values = {"removed_at": time.time(), "digest": digest(secrets.token_urlsafe(32))}
        with self._database.writing() as connection:
            if not connection.execute(sa.update(api_tokens).where(*mine).values(values)).rowcount:
                raise _no_such(name)

    def get(self, name: str) -> ApiToken:
        """The token of this name; raises `NotFound`."""
        with self._database.reading() as connection:
            found = named(connection, name)
        if found is None:
            raise _no_such(name)
        return found

    def all(self) -> list[ApiToken]:
        """Every token, by name."""
        with self._database.reading() as connection:
            found = sa.select(api_tokens).where(_THERE).order_by(api_tokens.c.name)
            return [_token(row) for row in connection.execute(found)]

    def find(self, secret: str) -> ApiToken | None:
        """The token with this secret."""
        with self._database.reading() as connection:
            row = connection.execute(_BY_DIGEST, {"b_digest": digest(secret)}).one_or_none()
        return None if row is None else _token(row)

    def is_current(self, token: ApiToken) -> bool:
        """Whether it is still there, with this secret."""
        with self._database.reading() as connection:
            return connection.execute(_BY_DIGEST, {"b_digest": token.digest}).first() is not None

    def have_existed(self) -> bool:
        """Whether there is any token, or has been one."""
        with self._database.reading() as connection:
            return connection.execute(_EVER).first() is not None


def named(connection: Connection, name: str) -> ApiToken | None:
    """The token of this name, as the transaction of `connection` sees it."""
    row = connection.execute(_BY_NAME, {"b_name": name}).one_or_none()
    return None if row is None else _token(row)


def digest(secret: str) -> str:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()


def _token(row: sa.Row[Any]) -> ApiToken:
    scopes = frozenset(map(Scope, row.scopes))
    limits = Limits.from_json(row.limits)
    return ApiToken(row.name, row.owner, row.digest, scopes, tuple(row.models), limits, row.created_at)


def _no_such(name: str) -> NotFound:
    return NotFound(f"no API token {name[:80]!r}")

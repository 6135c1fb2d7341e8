"""On whose behalf something is done, and what that allows."""

from dataclasses import dataclass

from aragora.errors import Forbidden
from aragora.storage import ApiToken, DebateRecord, Limits, Scope
from aragora.storage.records import UNBOUNDED

_INCLUDED = {
    Scope.READ: frozenset({Scope.READ}),
    Scope.CREATE: frozenset({Scope.READ, Scope.CREATE}),
    Scope.ADMIN: frozenset(Scope),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """An admitted caller.

    `name` owns what it makes; `reads` is whose debates it sees, None for all. `key` tells its idempotency keys
    from those of others. `models` are patterns of `type/model`, none for all. `token` is there where it is a stored
    one.
    """

    name: str
    label: str
    scopes: frozenset[Scope]
    reads: str | None = None
    limits: Limits = UNBOUNDED
    models: tuple[str, ...] = ()
    key: str = ""
    token: ApiToken | None = None

    @classmethod
    def of(cls, token: ApiToken) -> "Principal":
        """The caller with this token."""
        scopes = frozenset[Scope]().union(*(_INCLUDED[scope] for scope in token.scopes))
        reads = None if Scope.ADMIN in scopes else token.owner
        label = f"token {token.name}"
        return cls(token.name, label, scopes, reads, token.limits, token.models, f"token {token.name}", token)

    def may(self, scope: Scope) -> bool:
        """Whether it has this scope."""
        return scope in self.scopes

    def demand(self, scope: Scope) -> None:
        """Raise `Forbidden` unless it has this scope."""
        if scope not in self.scopes:
            has = ", ".join(item for item in Scope if item in self.scopes)
            raise Forbidden(f"this needs a token with the scope {scope}; the one given has {has}")

    def owns(self, record: DebateRecord) -> bool:
        """Whether the debate is among those that it made, or may do everything with."""
        return self.reads is None or record.owner == self.reads

    def sees(self, record: DebateRecord) -> bool:
        """Whether it may read the debate."""
        return record.is_public or self.owns(record)


# A caller where no token is needed; and one without any where a public debate is read.
EVERYBODY = Principal("", "anyone", frozenset(Scope))
STRANGER = Principal("?", "nobody", frozenset({Scope.READ}), reads="?")

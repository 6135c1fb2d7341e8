"""Councils that are kept under a name: agents and rules, which a request for a debate may take over.

An administrator's presets are shared; others are their owner's own, and come before those of the same name.
"""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from aragora.debate import limits
from aragora.errors import Problem, ValidationFailed
from aragora.service.principal import Principal
from aragora.service.requests import Mode, NewBudget, NewDebate, Participant, PresetName, Request
from aragora.storage import Scope, Store
from aragora.storage.presets import Preset, no_such

EVERYBODY_S = ""  # owner of shared presets


class NewPreset(Request):
    """The body of `PUT /api/presets/{name}`: members of `POST /api/debates` that a debate takes over."""

    description: Annotated[str, StringConstraints(max_length=limits.LONGEST_TITLE)] = ""
    agents: Annotated[list[Participant], Field(min_length=limits.FEWEST_AGENTS, max_length=limits.MOST_AGENTS)]
    rounds: Annotated[int, Field(ge=1, le=limits.MOST_ROUNDS)] | None = None
    consensus: Mode | None = None
    threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    criteria: Annotated[str, StringConstraints(max_length=limits.LONGEST_CRITERIA)] | None = None
    synthesis: bool | None = None
    early_stop: bool | None = None
    timeout: Annotated[float, Field(ge=limits.SHORTEST_TIMEOUT, le=limits.LONGEST_TIMEOUT)] | None = None
    budget: NewBudget | None = None


class Presets:
    """What callers keep and take over. Raises `NotFound` for unknown names, and `Forbidden`."""

    def __init__(self, store: Store) -> None:
        self._kept = store.presets

    def all(self, principal: Principal) -> list[Preset]:
        """What the caller may take over, by name."""
        principal.demand(Scope.READ)
        found = {preset.name: preset for preset in self._kept.of((EVERYBODY_S,))}
        found |= {preset.name: preset for preset in self._kept.of((_owner(principal),))}
        return [found[name] for name in sorted(found)]

    def is_own(self, principal: Principal, preset: Preset) -> bool:
        """Whether the caller may change it."""
        return preset.owner == _owner(principal)

    def get(self, principal: Principal, name: str) -> Preset:
        """One of them."""
        found = next((preset for preset in self.all(principal) if preset.name == name), None)
        if found is None:
            raise no_such(name)
        return found

    def save(self, principal: Principal, name: str, new: NewPreset) -> Preset:
        """Keep it, in place of the caller's own of this name; raises `ValidationFailed` and `TooManyRequests`."""
        principal.demand(Scope.CREATE)
        if not PresetName.fullmatch(name):
            raise ValidationFailed.of(Problem("name", "1 to 64 letters, digits and . _ -, a letter or digit first"))
        return self._kept.save(_owner(principal), name, new.model_dump(mode="json", exclude_none=True))

    def remove(self, principal: Principal, name: str) -> None:
        """Forget the caller's own."""
        principal.demand(Scope.CREATE)
        self._kept.remove(_owner(principal), name)

    def council(self, principal: Principal, name: str) -> dict[str, Any]:
        """The members of a request that a preset stands for; raises `ValidationFailed` for an unknown name."""
        found = next((preset for preset in self.all(principal) if preset.name == name), None)
        if found is None:
            raise ValidationFailed.of(Problem("preset", f"no preset {name!r}"))
        return {member: value for member, value in found.body.items() if member != "description"}


def applied(new: NewDebate, council: dict[str, Any]) -> NewDebate:
    """The request with what it leaves out taken from `council`."""
    given = {name: getattr(new, name) for name in new.model_fields_set if name != "preset"}
    return NewDebate.parse(council | given)


def _owner(principal: Principal) -> str:
    return EVERYBODY_S if principal.may(Scope.ADMIN) else principal.name

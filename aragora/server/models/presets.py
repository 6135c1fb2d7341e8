"""Councils that are kept under a name."""

from typing import Any

from pydantic import BaseModel, Field

from aragora.server.models.times import Moment


class PresetAnswer(BaseModel):
    """A council: members of `POST /api/debates` that a debate takes over by `preset`."""

    name: str
    description: str
    is_own: bool = Field(
        description="Whether the caller keeps it itself; others are an administrator's, for all callers."
    )
    updated_at: Moment
    body: dict[str, Any] = Field(description="Agents and rules, as they were saved.")


class PresetList(BaseModel):
    """What the caller may take over, by name."""

    presets: list[PresetAnswer]
    count: int

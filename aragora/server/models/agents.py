"""Agents, and the models that their providers offer."""

from pydantic import BaseModel, Field


class AgentAnswer(BaseModel):
    """A type of agent."""

    name: str
    title: str
    available: bool
    missing: str | None = Field(description="The variable to set, when it is not available.")


class AgentList(BaseModel):
    """The types of agents."""

    agents: list[AgentAnswer]
    count: int


class ProbeTokens(BaseModel):
    """What it took, in tokens."""

    input: int
    output: int
    cached: int
    written: int
    thought: int


class OfferedModel(BaseModel):
    """A model that can be asked."""

    id: str
    context: int | None = Field(description="Tokens of prompt and answer that it has room for; null where unknown.")


class OfferAnswer(BaseModel):
    """What one provider offers."""

    type: str = Field(description="The type of its agents.")
    title: str
    default: str = Field(description="The model that is asked when a debate names none; empty: one has to be named.")
    checked: str | None = Field(description="When our own default was looked up; null where the settings name one.")
    models: list[OfferedModel]
    problem: str | None = Field(description="Why its models are not known.")


class OfferList(BaseModel):
    """What the providers offer."""

    providers: list[OfferAnswer]
    count: int


class ProbeAnswer(BaseModel):
    """What asking a model one word came to."""

    type: str
    model: str
    ok: bool
    seconds: float
    answer: str | None = Field(description="Its word; null where there is none.")
    kind: str | None = Field(description="Of which kind the failure is, as in `agent_error`.")
    message: str | None = Field(description="The failure in words, the provider's own among them, and what to do.")
    usage: ProbeTokens | None


class Availability(BaseModel):
    """Which agents can run now, and what the others lack."""

    available: list[str]
    missing: dict[str, str]

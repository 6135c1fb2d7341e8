"""The part of a debate's answer that says what it came to; see `aragora.server.models`."""

from pydantic import BaseModel, Field

from aragora.debate.spec import ConsensusMode


class Voice(BaseModel):
    """One vote for or against the chosen answer, and why."""

    agent: str
    choice: str
    confidence: float
    reasoning: str
    shown: list[str] = Field(default_factory=list, description="Whose answers the reasoning knows as A, B, C.")
    judge: bool = False


class Lack(BaseModel):
    """What is missing for a result of all agents."""

    agent: str
    purpose: str = Field(description="What it was asked for: `propose`, `critique`, `revise`, `vote` ...")
    kind: str
    message: str


class Count(BaseModel):
    """So many votes of so many."""

    votes: int
    of: int


class Participation(BaseModel):
    """How many agents did all that they were asked for."""

    agents: int
    of: int


class Synthesis(BaseModel):
    """What the chairman makes of the debate."""

    agent: str
    answer: str
    agreements: list[str]
    disputes: list[str]
    minority: str = Field(description="Empty where there is none.")


class Verdict(BaseModel):
    """Whose answer won, by which votes, and what is to be known of that."""

    summary: str = Field(examples=["gpt-1's answer, by 2 of 2 votes"])
    reached: bool
    choice: str | None = Field(description="Whose answer is the final one; null where all stand side by side.")
    support: Count | None = Field(description="Votes for it, of those that could be; null in older debates.")
    share: float | None
    threshold: float | None
    confidence: float | None
    method: ConsensusMode | None
    votes: dict[str, float] = Field(description="Votes, weights or points of each answer.")
    quorum: dict[str, int] | None
    tied: bool
    tie_break: str | None = Field(description="`confidence`, `criticism` or `lot`, when it was tied.")
    alike: dict[str, list[str]] | None = Field(description="Which authors gave the same answer, by the first of them.")
    reasons: list[Voice]
    dissent: list[Voice]
    synthesis: Synthesis | None
    stopped_early: str | None
    degraded: list[Lack]
    took_part: Participation | None = Field(description="Null where all did.")
    user_votes: dict[str, int] | None
    cut_short: bool | None

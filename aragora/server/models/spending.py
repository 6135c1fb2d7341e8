"""What debates take and may take, in tokens and dollars."""

from pydantic import BaseModel, Field

from aragora.server.models.times import Day


class Tokens(BaseModel):
    """What answers took. `cached` and `written` are parts of `input`, `thought` is one of `output`."""

    input: int = Field(description="Tokens that models read.")
    output: int = Field(description="Tokens that they wrote.")
    cached: int = Field(description="Of the input: read from a prompt cache.")
    written: int = Field(description="Of the input: stored into a prompt cache.")
    thought: int = Field(description="Of the output: reasoning.")
    cost: float = Field(description="Dollars, by the price table.")


class SpentTokens(Tokens):
    """What was spent. What is held belongs to questions without an answer and counts as the most that they may take."""

    questions: int = Field(description="Asked of language models; the offline demo's are not counted.")
    held_tokens: int
    held_cost: float = Field(description="Dollars.")


class Budget(BaseModel):
    """The most that the debate may take; null is no bound."""

    money: float | None = Field(description="Dollars.")
    tokens: int | None
    questions: int | None


class EstimateAnswer(BaseModel):
    """What the debate would take: at most so many questions, unless answers fail, and about so many tokens."""

    questions: int
    input: int
    output: int
    tokens: int
    cost: float = Field(description="Dollars, by the price table.")
    summary: str = Field(examples=["at most 30 questions, about 64,000 tokens, 0.08 $"])
    assumed: list[str] = Field(
        description="Models without a row in the price table, as `type/model`: a price is assumed."
    )
    prices_checked: str = Field(description="When the built-in price table was checked.")
    budget: Budget = Field(description="What the debate may take in any case.")


class AgentUsage(Tokens):
    """What the answers of one agent took."""

    agent: str
    answers: int


class UsageAnswer(BaseModel):
    """What a debate took, and each of its agents whose answers are counted."""

    debate_id: str
    total: SpentTokens
    agents: list[AgentUsage]


class DayAnswer(SpentTokens):
    """What the debates of one owner spent on one day."""

    day: Day
    owner: str = Field(description="Name of the token; empty where none was needed.")


class SpendingAnswer(BaseModel):
    """Newest day first; administrators see every owner."""

    days: list[DayAnswer]
    count: int

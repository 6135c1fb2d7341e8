"""What the settings allow: every debate, and callers whose tokens have no limits of their own."""

from dataclasses import dataclass

from aragora.agents.prices import MICRODOLLARS
from aragora.debate.limits import MOST_AGENTS, MOST_ROUNDS
from aragora.debate.spec import NO_BUDGET, Budget
from aragora.errors import Problem, ValidationFailed
from aragora.service.requests import NewBudget
from aragora.settings import Settings
from aragora.storage import Limits


@dataclass(frozen=True, slots=True)
class Policy:
    """`models` are patterns of `type/model`, none for all; `budget` is the most that a debate may ask for."""

    models: tuple[str, ...] = ()
    agent_rounds: int = MOST_AGENTS * MOST_ROUNDS
    budget: Budget = NO_BUDGET

    @classmethod
    def of(cls, settings: Settings) -> "Policy":
        """What `settings` allow every debate."""
        budget = Budget(money=settings.debate_money or None, tokens=settings.debate_tokens or None)
        return cls(settings.models, settings.max_agent_rounds, budget)

    def bounded(self, asked: NewBudget | None) -> Budget:
        """The budget of a debate that asks for this one; raises `ValidationFailed` for more than is allowed."""
        budget = Budget(**asked.model_dump()) if asked is not None else NO_BUDGET
        most = self.budget
        if most.money is not None and (budget.money or 0) > most.money:
            raise ValidationFailed.of(Problem("budget.money", f"at most {most.money:g} (ARAGORA_DEBATE_MONEY)"))
        if most.tokens is not None and (budget.tokens or 0) > most.tokens:
            raise ValidationFailed.of(Problem("budget.tokens", f"at most {most.tokens} (ARAGORA_DEBATE_TOKENS)"))
        return Budget(budget.money or most.money, budget.tokens or most.tokens, budget.questions)


EVERYTHING = Policy()


def daily_limits(settings: Settings) -> Limits:
    """What a configured token, or any caller where none is needed, may spend on a day."""
    return Limits(
        questions=settings.daily_questions or None,
        tokens=settings.daily_tokens or None,
        cost=round(settings.daily_money * MICRODOLLARS) or None,
        debates=settings.debates_at_once or None,
    )

"""What has been learnt of a model: which forms of request its server takes, how much it holds, whether it thinks first.

Nothing of this can be asked in a way that all servers share, so a request is made as the best server takes it, and what
a server refuses is left away from then on: see `aragora.agents.lessons`.
"""

from dataclasses import dataclass
from enum import StrEnum

from aragora.agents.account import Account
from aragora.debate.questions import Question


class Form(StrEnum):
    """How an answer in JSON is demanded, the strictest first."""

    SCHEMA = "json_schema"
    OBJECT_BY_SCHEMA = "json_object by a schema"
    OBJECT = "json_object"
    PLAIN = "in words"


@dataclass(slots=True)
class Facts:
    """`window` is the tokens that prompt and answer share, None while unknown; `ask_at` is when the server may be asked
    for it, in unix seconds; `longest` is the tokens of one answer.

    `form` is how JSON is demanded, `holds` whether answers keep to a schema that was taken (None: none has come yet),
    `limit` the request's name for the longest answer; `counts` says that a stream may be asked for its usage,
    `system_role` that there may be a system message, `streams` that the model may be streamed, `effort` that it may be
    told how much to think.
    `thinks` says that it thinks before it answers, `begins_in_thought` that its template opens the thinking.
    `scale` is by how much its tokens are more than reckoned.
    """

    limit: str
    thinks: bool
    form: Form = Form.SCHEMA
    holds: bool | None = None
    window: int | None = None
    ask_at: float = 0.0
    longest: int | None = None
    counts: bool = True
    system_role: bool = True
    effort: bool = True
    streams: bool = True
    begins_in_thought: bool = False
    scale: float = 1.0

    def count(self, text: str) -> int:
        """About how many tokens `text` has."""
        return round(reckoned(text) * self.scale) + 1

    def measured(self, question: Question, tokens: int) -> None:
        """Learn from the count of a whole prompt: at once that it is more than was reckoned, slowly that it is less."""
        text = question.system + question.opening + question.prompt
        if tokens and text:
            scale = min(8.0, max(0.25, tokens / reckoned(text)))
            self.scale = scale if scale > self.scale else 0.8 * self.scale + 0.2 * scale


@dataclass(frozen=True, slots=True)
class Order:
    """One question as it is to be put: by what was known of the model then, how long the answer may be, whether it
    streams, and what the model has said already where it is to go on. `held`: its schema stands for an example."""

    question: Question
    facts: Facts
    tokens: int
    streams: bool
    so_far: str = ""
    held: bool = False


def facts(account: Account) -> Facts:
    """What is known before the first question."""
    return Facts(account.provider.limit, account.provider.thinks, window=account.window)


def reckoned(text: str) -> float:
    """Tokens by rule of thumb: of letters of the Latin alphabet three and a half, of others less than one."""
    plain = sum(map(str.isascii, text))
    return plain / 3.5 + (len(text) - plain) * 1.2

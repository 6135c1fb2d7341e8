"""The forms in which a debate can be downloaded."""

from enum import StrEnum

from aragora.debate.events import EventType


class Format(StrEnum):
    """Named as in the address of the download and as the file's extension."""

    JSON = "json"
    CSV = "csv"
    HTML = "html"
    TXT = "txt"
    MD = "md"


class Table(StrEnum):
    """What a download holds beside the debate's own facts: the whole argument, or one kind of row."""

    ARGUMENT = "argument"
    SUMMARY = "summary"
    MESSAGES = "messages"
    CRITIQUES = "critiques"
    VOTES = "votes"
    USAGE = "usage"


# The events that an argument consists of.
ARGUED = (
    *(EventType.AGENT_MESSAGE, EventType.CRITIQUE, EventType.CONVERGENCE, EventType.VOTE, EventType.AGENT_ERROR),
    *(EventType.USER_VOTE, EventType.USER_SUGGESTION),
)

"""What the API answers: the models that serialise answers and document them.

Requests are validated by the models of `aragora.service.requests`; `aragora.server.openapi` turns both into the served
document, so what is documented is what is checked and sent.
"""

from aragora.server.models.agents import (
    AgentAnswer,
    AgentList,
    Availability,
    OfferAnswer,
    OfferedModel,
    OfferList,
    ProbeAnswer,
    ProbeTokens,
)
from aragora.server.models.debates import (
    Cancelled,
    Created,
    Debate,
    DebateList,
    DebateSummary,
    Message,
    MessageList,
    Parent,
    Participant,
    Shared,
    SharedDebate,
)
from aragora.server.models.errors import ErrorAnswer, ErrorBody, Problem
from aragora.server.models.findings import (
    ConvergenceAnswer,
    ConvergencePoint,
    CritiqueAnswer,
    CritiqueList,
    EventAnswer,
    EventList,
    Finding,
    VoteAnswer,
    VoteList,
)
from aragora.server.models.health import Alive, Check, Health, Readiness
from aragora.server.models.notifications import NotificationAnswer, NotificationList
from aragora.server.models.presets import PresetAnswer, PresetList
from aragora.server.models.sources import SourceAnswer
from aragora.server.models.spending import (
    AgentUsage,
    Budget,
    DayAnswer,
    EstimateAnswer,
    SpendingAnswer,
    SpentTokens,
    Tokens,
    UsageAnswer,
)

__all__ = [
    "AgentAnswer",
    "AgentList",
    "AgentUsage",
    "Alive",
    "Availability",
    "Budget",
    "Cancelled",
    "Check",
    "ConvergenceAnswer",
    "ConvergencePoint",
    "Created",
    "CritiqueAnswer",
    "CritiqueList",
    "DayAnswer",
    "Debate",
    "DebateList",
    "DebateSummary",
    "ErrorAnswer",
    "ErrorBody",
    "EstimateAnswer",
    "EventAnswer",
    "EventList",
    "Finding",
    "Health",
    "Message",
    "MessageList",
    "NotificationAnswer",
    "NotificationList",
    "OfferAnswer",
    "OfferList",
    "OfferedModel",
    "Parent",
    "Participant",
    "PresetAnswer",
    "PresetList",
    "ProbeAnswer",
    "ProbeTokens",
    "Problem",
    "Readiness",
    "Shared",
    "SharedDebate",
    "SourceAnswer",
    "SpendingAnswer",
    "SpentTokens",
    "Tokens",
    "UsageAnswer",
    "VoteAnswer",
    "VoteList",
]

"""Every operation of the API: its address, what it takes, what it answers, and how it refuses.

Only the addresses stand here a second time; a test compares them with the router's.
"""

import re
from dataclasses import dataclass, field

from pydantic import BaseModel

from aragora.server import models, queries
from aragora.server.completions.request import ChatRequest
from aragora.server.completions.response import Completion, Failure, ModelAnswer, ModelList
from aragora.server.sources import NewSource
from aragora.service.lineage import AskAgain, FollowUp, Fork
from aragora.service.presets import NewPreset
from aragora.service.requests import DebateChanges, NewDebate, NewNotification, NewProbe

DEBATE = "/api/debates/{debate_id}"
PRESET = "/api/presets/{name}"
EXPORTS = ("application/json", "text/csv", "text/html", "text/plain", "text/markdown")
REFUSALS = {
    400: "The request breaks a rule; `details` names each field.",
    401: "A token is needed, or the one given is not known.",
    403: "The token may not do this, or the host is not served without a token.",
    404: "No such debate.",
    405: "This address does not take this method.",
    409: "The debate has ended, or has not; or the Idempotency-Key was used for another request.",
    413: "The body is too long.",
    415: "The body does not say that it is JSON.",
    502: "The debate ended without an answer, because its agents failed or its time was up.",
    429: "Too many watchers or debates, the debate is full, or the token has spent what it may on a day.",
    503: "Not available at the moment; try again after Retry-After.",
}


# What operations are about, in the order in which a reader wants them, by their addresses.
TAGS = {
    "Debates": (
        "Begin, find, change and end debates.",
        r"/api/debates(?:/estimate|/\{debate_id\}(?:/(?:cancel|follow-up|fork|ask-again))?)?",
    ),
    "What was said": (
        "Messages, events, critiques, votes and figures of one debate, also while it runs.",
        r".*\{debate_id\}/(?:messages|events|convergence|votes|critiques|export|usage).*",
    ),
    "Agents": ("Which models can be asked, and whether they answer.", r"/api/agents.*"),
    "Presets": ("Councils that are kept under a name.", r"/api/presets.*"),
    "Sources": ("Files and pages as text, for the context of a debate.", r"/api/sources"),
    "Sharing": ("A debate under an address that needs no token.", r".*/share|/shared/.*"),
    "Notifications": ("Messages that are sent when a debate ends.", r".*/notifications"),
    "Spending": ("What debates have cost.", r"/api/usage"),
    "Chat completions": ("OpenAI's form of the API, for programs that speak it.", r"/v1/.*"),
    "Service": ("Whether the service lives and is ready, and its figures.", r"/health.*|/ready.*|/metrics"),
}

IDEMPOTENCY = {
    "Idempotency-Key": "The same key of the same token with the same body makes one debate, however often it is sent."
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method at one address. `answers` maps a status to a model, or to media types for what is no model; `files`
    are media types that a body may have besides JSON."""

    method: str
    path: str
    name: str
    summary: str
    answers: dict[int, type[BaseModel] | str | None]
    refusals: tuple[int, ...] = ()
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    errors: type[BaseModel] = models.ErrorAnswer
    headers: dict[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    is_open: bool = False

    @property
    def tag(self) -> str:
        """The name of what it is about."""
        return next(name for name, (_, addresses) in TAGS.items() if re.fullmatch(addresses, self.path))


OPERATIONS = (
    Operation(
        "post",
        "/api/debates",
        "createDebate",
        "Begin a debate. 202 and its address, or 200 with the finished debate if `wait` was long enough.",
        {202: models.Created, 200: models.Debate},
        (400, 409, 413, 415, 429),
        query=queries.CreateQuery,
        body=NewDebate,
        headers=IDEMPOTENCY,
    ),
    Operation(
        "get",
        "/api/debates",
        "listDebates",
        "Debates, newest first, running ones included.",
        {200: models.DebateList},
        (400,),
        query=queries.ListQuery,
    ),
    Operation("get", DEBATE, "getDebate", "One debate, also while it runs.", {200: models.Debate}, (404,)),
    Operation(
        "patch",
        DEBATE,
        "changeDebate",
        "Change title, metadata, or whether it may be read without a token.",
        {200: models.Debate},
        (400, 404, 413, 415),
        body=DebateChanges,
    ),
    Operation("delete", DEBATE, "deleteDebate", "Remove a debate and its events.", {204: None}, (404,)),
    Operation(
        "post",
        f"{DEBATE}/cancel",
        "cancelDebate",
        "End a debate for good: no agent is called again.",
        {200: models.Cancelled},
        (404, 409),
    ),
    Operation(
        "get",
        f"{DEBATE}/messages",
        "listMessages",
        "What was said, also while it runs.",
        {200: models.MessageList},
        (400, 404),
        query=queries.MessagesQuery,
    ),
    Operation(
        "get",
        f"{DEBATE}/events",
        "listEvents",
        "The debate's log: a page, a long poll (`wait`), or a stream (`Accept: text/event-stream`). "
        "204 answers a stream that would bring nothing any more.",
        {200: models.EventList, 204: None},
        (400, 404, 429),
        query=queries.EventsQuery,
        headers={"Last-Event-ID": "For streams: the last `seq` you saw; takes the place of `since`."},
    ),
    Operation(
        "get",
        f"{DEBATE}/convergence",
        "getConvergence",
        "How near the answers came, round by round.",
        {200: models.ConvergenceAnswer},
        (404,),
    ),
    Operation("get", f"{DEBATE}/votes", "listVotes", "Which agent voted for which.", {200: models.VoteList}, (404,)),
    Operation(
        "get",
        f"{DEBATE}/critiques",
        "listCritiques",
        "What the agents hold against each other's answers.",
        {200: models.CritiqueList},
        (404,),
    ),
    Operation(
        "get",
        f"{DEBATE}/export/{{form}}",
        "exportDebate",
        "Download a debate.",
        {200: ", ".join(EXPORTS)},
        (400, 404),
        query=queries.ExportQuery,
    ),
    *(
        Operation(
            "post",
            f"{DEBATE}/{path}",
            name,
            summary,
            {202: models.Created, 200: models.Debate},
            (400, 404, 409, 413, 415, 429),
            query=queries.CreateQuery,
            body=asked,
            headers=IDEMPOTENCY,
        )
        for path, name, asked, summary in (
            ("follow-up", "followUpDebate", FollowUp, "Debate a further question, knowing what this debate came to."),
            ("fork", "forkDebate", Fork, "Debate the same with changes, knowing what this debate came to."),
            ("ask-again", "askAgain", AskAgain, "Go on where this debate first failed, with what was said until then."),
        )
    ),
    Operation(
        "get", f"{DEBATE}/usage", "getUsage", "What the debate took, and each agent.", {200: models.UsageAnswer}, (404,)
    ),
    Operation(
        "post",
        f"{DEBATE}/share",
        "shareDebate",
        "Give the debate an unguessable address that needs no token; a second call changes nothing.",
        {200: models.Shared},
        (404,),
    ),
    Operation("delete", f"{DEBATE}/share", "unshareDebate", "Withdraw that address for good.", {204: None}, (403, 404)),
    Operation(
        "get",
        f"{DEBATE}/notifications",
        "listNotifications",
        "The recipients notified when the debate ends, and the state of each delivery; for its owner.",
        {200: models.NotificationList},
        (404,),
    ),
    Operation(
        "post",
        f"{DEBATE}/notifications",
        "addNotification",
        "Tell one more when the debate ends.",
        {201: models.NotificationAnswer},
        (400, 404, 409, 413, 415, 429),
        body=NewNotification,
    ),
    Operation(
        "post",
        "/api/debates/estimate",
        "estimateDebate",
        "What a debate would take: questions, tokens, money. Nothing is begun.",
        {200: models.EstimateAnswer},
        (400, 413, 415),
        body=NewDebate,
    ),
    Operation(
        "post",
        "/api/sources",
        "readSource",
        'The text of a file (text, Markdown, HTML, PDF), sent as the body, or of what stands at a URL (`{"url"}`).',
        {200: models.SourceAnswer},
        (400, 413, 415, 429),
        query=queries.SourceQuery,
        body=NewSource,
        files=("text/plain", "text/markdown", "text/html", "application/pdf"),
    ),
    Operation("get", "/api/presets", "listPresets", "Councils that are kept under a name.", {200: models.PresetList}),
    Operation("get", PRESET, "getPreset", "One of them.", {200: models.PresetAnswer}, (404,)),
    Operation(
        "put",
        PRESET,
        "savePreset",
        "Keep a council under this name. An administrator's are there for all callers.",
        {200: models.PresetAnswer},
        (400, 413, 415, 429),
        body=NewPreset,
    ),
    Operation("delete", PRESET, "deletePreset", "Forget the caller's own of this name.", {204: None}, (404,)),
    Operation(
        "get",
        "/api/usage",
        "listSpending",
        "What was spent on each of the last days.",
        {200: models.SpendingAnswer},
        (400,),
        query=queries.SpendingQuery,
    ),
    Operation(
        "get",
        "/shared/{key}",
        "getSharedPage",
        "A shared debate as a page.",
        {200: "text/html"},
        (404, 503),
        is_open=True,
    ),
    Operation(
        "get",
        "/shared/{key}/json",
        "getSharedDebate",
        "A shared debate.",
        {200: models.SharedDebate},
        (404, 503),
        is_open=True,
    ),
    Operation("get", "/api/agents", "listAgents", "Every type of agent.", {200: models.AgentList}),
    Operation(
        "get",
        "/api/agents/availability",
        "getAvailability",
        "Which types can run now, and which variable the others miss.",
        {200: models.Availability},
    ),
    Operation(
        "get",
        "/api/agents/models",
        "listModels",
        "What the providers that can be asked offer. Each is asked; within a minute the same is said again.",
        {200: models.OfferList},
        (400, 404),
        query=queries.ModelsQuery,
    ),
    Operation(
        "post",
        "/api/agents/ask",
        "askModel",
        "Ask a model one word: whether its server is there, its key taken and its name known.",
        {200: models.ProbeAnswer},
        (400, 413, 415, 429),
        body=NewProbe,
    ),
    Operation(
        "post",
        "/v1/chat/completions",
        "createChatCompletion",
        "OpenAI's chat completions: a council debates the last message and answers with its verdict.",
        {200: Completion},
        (400, 403, 404, 409, 413, 415, 429, 502),
        body=ChatRequest,
        headers=IDEMPOTENCY,
        errors=Failure,
    ),
    Operation("get", "/v1/models", "listCouncils", "The councils that can be asked.", {200: ModelList}, errors=Failure),
    Operation("get", "/v1/models/{name}", "getCouncil", "One of them.", {200: ModelAnswer}, (404,), errors=Failure),
    Operation(
        "get", "/healthz", "isAlive", "Whether the process serves; nothing else.", {200: models.Alive}, is_open=True
    ),
    Operation(
        "get", "/health", "getHealth", "Liveness with version, build and uptime.", {200: models.Health}, is_open=True
    ),
    *(
        Operation(
            "get",
            path,
            name,
            "Whether requests should be sent here; each check by name.",
            {200: models.Readiness, 503: models.Readiness},
            is_open=True,
        )
        for path, name in (("/ready", "isReady"), ("/readyz", "isReadyz"))
    ),
    Operation("get", "/metrics", "getMetrics", "Prometheus text of all workers.", {200: "text/plain"}, is_open=True),
)

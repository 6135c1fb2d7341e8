"""The messages of a WebSocket, for their description alone: `aragora.server.session` reads and writes them.

`loop_id` is another name of `debate_id` in what a client sends, and accompanies it in what the server sends.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from aragora.debate.limits import LONGEST_COMMENT
from aragora.debate.status import Status
from aragora.server.models.debates import DebateSummary
from aragora.server.models.errors import Problem

DebateId = Annotated[str, Field(examples=["adhoc_0123456789abcdef0123456789"])]
Comment = Annotated[str, Field(min_length=1, max_length=LONGEST_COMMENT)]


class Subscribe(BaseModel):
    """Follow a debate: `sync`, then what is replayed, then what happens."""

    type: Literal["subscribe"]
    debate_id: DebateId
    replay_from_seq: int | None = Field(
        None, ge=0, description="The last `seq` you saw; 0 brings everything, leaving it out nothing of the past."
    )


class Unsubscribe(BaseModel):
    """Follow it no longer."""

    type: Literal["unsubscribe"]
    debate_id: DebateId


class GetLoops(BaseModel):
    """List the debates that run or wait."""

    type: Literal["get_loops"]


class Ping(BaseModel):
    """Ask for a sign of life."""

    type: Literal["ping"]
    ts: float | None = Field(None, description="Comes back in the `pong`.")


class Cancel(BaseModel):
    """End a debate for good."""

    type: Literal["cancel"]
    debate_id: DebateId


class CastVote(BaseModel):
    """A person's vote: shown, and never counted."""

    type: Literal["user_vote"]
    debate_id: DebateId
    choice: Comment = Field(description="An agent's name.")
    reasoning: str | None = None


class Suggest(BaseModel):
    """A person's suggestion, for the agents' next round."""

    type: Literal["user_suggestion"]
    debate_id: DebateId
    text: Comment


class Facts(BaseModel):
    """What `connection_info` says."""

    client_id: str
    authenticated: bool
    write_access: bool = Field(description="Whether the token may change anything.")
    heartbeat_seconds: float
    max_message_bytes: int


class ConnectionInfo(BaseModel):
    """The first message."""

    type: Literal["connection_info"]
    data: Facts


class Loop(BaseModel):
    """A debate that runs or waits."""

    debate_id: str
    loop_id: str
    name: str
    status: Status
    started_at: float = Field(description="Unix seconds.")


class Loops(BaseModel):
    """What `loop_list` says."""

    loops: list[Loop]
    count: int


class LoopList(BaseModel):
    """The second message, and what `get_loops` is answered."""

    type: Literal["loop_list"]
    data: Loops


class OfDebate(BaseModel):
    """A message about one debate."""

    debate_id: str
    loop_id: str


class Sync(OfDebate):
    """How a debate stands, as in lists."""

    type: Literal["sync"]
    data: DebateSummary


class ReplayBegin(BaseModel):
    """What `replay_start` says."""

    from_seq: int
    latest_seq: int
    event_count: int


class ReplayStart(OfDebate):
    """Events of the past follow."""

    type: Literal["replay_start"]
    data: ReplayBegin


class ReplayDone(BaseModel):
    """What `replay_end` says."""

    replayed_count: int
    latest_seq: int


class ReplayEnd(OfDebate):
    """From here on events come as they happen."""

    type: Literal["replay_end"]
    data: ReplayDone


class Words(BaseModel):
    """What `token_delta` says."""

    agent: str
    round: int
    purpose: str
    answer: str = Field(description="Names the answer; each try has another.")
    offset: int = Field(description="How many characters of the answer came before.")
    text: str


class TokenDelta(OfDebate):
    """What an agent is saying at the moment; has no `seq` and is not replayed."""

    type: Literal["token_delta"]
    agent: str
    data: Words


class Beat(BaseModel):
    """What `heartbeat` says."""

    timestamp: float = Field(description="Unix seconds.")
    last_seq: dict[str, int] = Field(description="The newest `seq` of each debate that is followed.")


class Heartbeat(BaseModel):
    """A sign of life, every 15 seconds."""

    type: Literal["heartbeat"]
    data: Beat


class Pong(BaseModel):
    """The response to `ping`."""

    type: Literal["pong"]
    ts: float | None
    data: dict[str, Any]


class Done(BaseModel):
    """What `ack` says."""

    action: Literal["unsubscribe", "cancel", "user_vote", "user_suggestion"]
    seq: int | None = Field(None, description="Of the event that a vote or suggestion became.")
    status: Status | None = Field(None, description="Of the debate that was cancelled.")


class Ack(OfDebate):
    """What was asked for is done."""

    type: Literal["ack"]
    data: Done


class Reason(BaseModel):
    """Why a message was refused."""

    code: str = Field(examples=["validation_error"])
    message: str
    details: list[Problem] | None = None


class Refusal(BaseModel):
    """A message was refused; the connection goes on."""

    type: Literal["error"]
    debate_id: str | None = None
    error: Reason
    data: Reason = Field(description="The same as `error`.")


REQUESTS = (Subscribe, Unsubscribe, GetLoops, Ping, Cancel, CastVote, Suggest)
RESPONSES = (ConnectionInfo, LoopList, Sync, ReplayStart, ReplayEnd, TokenDelta, Heartbeat, Pong, Ack, Refusal)

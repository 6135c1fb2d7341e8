"""`/v1/chat/completions` and `/v1/models`."""

from functools import partial

import falcon

from aragora.errors import NotFound, Unavailable
from aragora.server import body, problems, process, stream, waiting
from aragora.server.completions import errors
from aragora.server.completions.request import COUNCIL, ChatRequest
from aragora.server.completions.response import Completion, Envelope, ModelAnswer, ModelList, Result
from aragora.server.completions.streaming import CompletionStream
from aragora.server.context import RequestContext
from aragora.server.resources import Resource, answer, debates_of, idempotency_key, principal_of
from aragora.service import Debates
from aragora.storage import DebateRecord

SPARE_SECONDS = 60.0  # after a debate's own timeout, in which its end is stored
SINCE = 1_767_225_600  # when the council became a model: unix seconds of 1 January 2026


class ChatCompletions:
    """`/v1/chat/completions`."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Let a council debate the last message of the user, and answer with its verdict."""
        asked = ChatRequest.parse(body.read(req, process.current().settings.max_body))
        debates = debates_of(req)
        waited = RequestContext.of(req.env).outcome
        record = self._begin(req, asked, debates) if waited is None else debates.get(waited.debate_id)
        # OpenAI's clients ask again after most errors: without a key that would begin another debate.
        resp.set_header("X-Should-Retry", "true" if idempotency_key(req) else "false")
        envelope = Envelope(record.id, asked.model, record.created_at)
        if asked.stream:
            cancel = partial(process.current().cancel, debates, record.id)
            waiting.send(req, resp, CompletionStream(debates, record.id, envelope, asked.includes_usage, cancel))
            return
        if not record.ended and waited is None:
            waited = waiting.wait(req, stream.Wait(debates, record.id, record.spec.timeout + SPARE_SECONDS))
            if waited is None:
                return
            record = debates.get(record.id)
        self._answer(req, resp, debates, record, envelope)

    def _begin(self, req: falcon.Request, asked: ChatRequest, debates: Debates) -> DebateRecord:
        here = process.current()
        council = (
            {} if asked.model == COUNCIL else debates.presets.council(debates.principal, _preset(req, asked.model))
        )
        here.watchers.demand_room()
        return debates.create(asked.debate(council), idempotency_key=idempotency_key(req))

    def _answer(
        self, req: falcon.Request, resp: falcon.Response, debates: Debates, record: DebateRecord, envelope: Envelope
    ) -> None:
        """The verdict, or why there is none."""
        if not record.ended:
            raise Unavailable(f"the server restarts; the debate goes on at /api/debates/{record.id}")
        verdict = debates.view(record.id)["verdict"] or {}
        result = Result(
            debate_id=record.id,
            status=record.status,
            answer=record.final_answer,
            reached=record.consensus_reached or verdict.get("method") == "none",
            confidence=record.confidence,
            summary=verdict.get("summary", ""),
            reason=record.reason,
            usage=record.spending.usage,
        )
        if result.failure:
            resp.set_header("X-Should-Retry", "false")
            resp.status = falcon.HTTP_502
            trace_id = RequestContext.of(req.env).request_id
            problems.write(resp, errors.form("debate_failed", result.failure, 502, trace_id=trace_id))
            return
        answer(resp, Completion, envelope.whole(result))


class Models(Resource):
    """`/v1/models`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Every council that can be asked: the default one, and the presets."""
        presets = debates_of(req).presets.all(principal_of(req))
        kept = [_model(preset.name, int(preset.updated_at)) for preset in presets if preset.name != COUNCIL]
        answer(resp, ModelList, {"data": [_model(COUNCIL, SINCE), *kept]})


class Model(Resource):
    """`/v1/models/{name}`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """One council."""
        if name != COUNCIL:
            name = _preset(req, name)
        answer(resp, ModelAnswer, _model(name, SINCE))


def _preset(req: falcon.Request, name: str) -> str:
    """The name of a preset that the caller may take over; raises `ModelNotFound`."""
    try:
        return debates_of(req).presets.get(principal_of(req), name).name
    except NotFound:
        raise errors.ModelNotFound(f"no model {name!r}; GET /v1/models lists them") from None


def _model(name: str, created: int) -> dict[str, object]:
    return {"id": name, "created": created, "owned_by": "aragora"}

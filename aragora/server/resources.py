"""The API's resources: read the request, call the use case, write the answer. Rules live in the service."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import falcon
from pydantic import BaseModel

from aragora.debate.limits import LONGEST_KEY
from aragora.errors import BadRequest
from aragora.server import body, models, process, queries, stream, waiting
from aragora.server.context import RequestContext
from aragora.server.texts import describe
from aragora.service import STRANGER, Debates, Principal, views
from aragora.service.requests import DebateChanges, NewDebate, NewProbe
from aragora.storage import DebateRecord

PORTION_BYTES = 65_536


def answer(resp: falcon.Response, model: type[BaseModel], content: Any) -> None:
    """Serialise `content` through the model that documents it."""
    resp.content_type = falcon.MEDIA_JSON
    resp.data = model.model_validate(content, from_attributes=True).model_dump_json().encode()
    resp.set_header("Cache-Control", "no-store")


def answer_list(
    req: falcon.Request,
    resp: falcon.Response,
    lists: tuple[str, type[BaseModel], Iterable[Any]],
    **beside: Any,
) -> None:
    """Serialise the rows of `lists` (name, model, rows) one by one and send them as they come, with their count and
    the members `beside` them.
    """
    name, model, rows = lists
    count = 0

    def parts() -> Iterator[bytes]:
        nonlocal count
        yield b'{"%s":[' % name.encode()
        for row in rows:
            shown = model.model_validate(row, from_attributes=True).model_dump_json().encode()
            yield b"," + shown if count else shown
            count += 1
        yield b"]," + json.dumps({"count": count, **beside}).encode().removeprefix(b"{")

    send_parts(req, resp, falcon.MEDIA_JSON, parts())


def send_parts(req: falcon.Request, resp: falcon.Response, content_type: str, parts: Iterator[bytes]) -> None:
    """Answer with a body that is made while it is sent; what fails before its first portion is an ordinary answer."""
    resp.content_type = content_type
    resp.set_header("Cache-Control", "no-store")
    made = portions(parts)
    first = next(made, b"")
    if len(first) < PORTION_BYTES:
        resp.data = first  # all of it, with its length
        return
    RequestContext.of(req.env).streamed = True
    resp.stream = iter(()) if req.method == "HEAD" else chain([first], made)


def portions(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The parts joined to portions of about `PORTION_BYTES`, with a pause after each in which others are served."""
    portion = bytearray()
    for part in parts:
        portion += part
        if len(portion) >= PORTION_BYTES:
            yield bytes(portion)
            portion.clear()
            time.sleep(0)
    if portion:
        yield bytes(portion)


def answer_begun(
    req: falcon.Request, resp: falcon.Response, begin: Callable[[falcon.Request, Debates], DebateRecord]
) -> None:
    """Begin a debate and answer 202; or 200 with the finished one when `?wait=` was long enough."""
    wait = queries.parse(queries.CreateQuery, req).wait
    debates = debates_of(req)
    waited = RequestContext.of(req.env).outcome
    record = begin(req, debates) if waited is None else debates.get(waited.debate_id)
    resp.set_header("Location", f"/api/debates/{record.id}")
    if wait > 0 and not record.ended and waited is None:
        waited = waiting.wait(req, stream.Wait(debates, record.id, wait))
        if waited is None:
            return
        record = debates.get(record.id)
    if wait > 0 and record.ended:
        answer(resp, models.Debate, debates.view(record.id))
        return
    resp.status = falcon.HTTP_202
    created = {"debate_id": record.id, "status": record.status, "task": record.spec.question}
    answer(resp, models.Created, created)


class Resource:
    """HEAD is GET without a body, everywhere (RFC 9110 section 9.3.2)."""

    def on_head(self, req: falcon.Request, resp: falcon.Response, **params: str) -> None:
        """Answer as to GET; the framework keeps the length and drops the body."""
        getter = getattr(self, "on_get", None)
        if getter is None:
            raise falcon.HTTPMethodNotAllowed(["POST"])
        getter(req, resp, **params)


class DebateCollection(Resource):
    """`/api/debates`."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Begin a debate: 202, or 200 with the finished one when `?wait=` was long enough."""
        answer_begun(req, resp, self._create)

    def _create(self, req: falcon.Request, debates: Debates) -> DebateRecord:
        new = NewDebate.parse(body.read(req, process.current().settings.max_body))
        return debates.create(new, idempotency_key=idempotency_key(req))

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """A page of debates, newest first."""
        debates = debates_of(req)
        query = queries.parse(queries.ListQuery, req)
        page = debates.page(query.limit, query.cursor, query.status, query.q, query.parent)
        rows = map(debates.listed, page.debates)
        answer_list(req, resp, ("debates", models.DebateSummary, rows), next_cursor=page.next_cursor)


class DebateItem(Resource):
    """`/api/debates/{debate_id}`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, debate_id: str) -> None:
        """One debate with its messages, also while it runs."""
        answer(resp, models.Debate, debates_of(req).view(debate_id))

    def on_patch(self, req: falcon.Request, resp: falcon.Response, debate_id: str) -> None:
        """Change title, metadata, or whether it may be read without a token."""
        changes = DebateChanges.parse(body.read(req, process.current().settings.max_body))
        debates = debates_of(req)
        debates.update(debate_id, changes)
        answer(resp, models.Debate, debates.view(debate_id))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, debate_id: str) -> None:
        """Remove a debate and its events."""
        debates_of(req).delete(debate_id)
        resp.status = falcon.HTTP_204


class Cancellation:
    """`/api/debates/{debate_id}/cancel`."""

    def on_post(self, req: falcon.Request, resp: falcon.Response, debate_id: str) -> None:
        """End a debate for good."""
        record = process.current().cancel(debates_of(req), debate_id)
        answer(resp, models.Cancelled, {"debate_id": record.id, "status": record.status})


class Messages(Resource):
    """`/api/debates/{debate_id}/messages`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, debate_id: str) -> None:
        """A page of what was said."""
        query = queries.parse(queries.MessagesQuery, req)
        messages, total = debates_of(req).messages(debate_id, query.limit, query.offset)
        content = {
            "debate_id": debate_id,
            "messages": messages,
            "total": total,
            "limit": query.limit,
            "offset": query.offset,
            "has_more": query.offset + len(messages) < total,
        }
        answer(resp, models.MessageList, content)


class Events(Resource):
    """`/api/debates/{debate_id}/events`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, debate_id: str) -> None:
        """A page of the log, a long poll for its next events, or a stream of them."""
        debates = debates_of(req)
        query = queries.parse(queries.EventsQuery, req)
        if wants_stream(req):
            self._stream(req, resp, debate_id, query.since)
            return
        wait = stream.Wait(debates, debate_id, query.wait, query.since, query.limit)
        waited = waiting.wait(req, wait) if query.wait else None
        if query.wait and waited is None:
            return
        events = debates.events(debate_id, query.since, query.limit) if waited is None else waited.events
        content = {
            "events": [describe(debate_id, event) for event in events],
            "next_seq": events[-1].seq if events else query.since,
        }
        answer(resp, models.EventList, content)

    def _stream(self, req: falcon.Request, resp: falcon.Response, debate_id: str, since: int) -> None:
        last = req.get_header("Last-Event-ID")
        if last is not None:
            if not last.isdecimal() or len(last) > 16:
                raise BadRequest("Last-Event-ID: write the seq of the last event you saw")
            since = int(last)
        debates = debates_of(req)
        record = debates.get(debate_id)
        if record.ended and since >= record.last_seq:
            # Nothing will follow: 204 is what tells an EventSource not to connect again (HTML standard, 9.2.2).
            resp.status = falcon.HTTP_204
            return
        waiting.send(req, resp, stream.DebateEvents(debates, process.current().metrics, debate_id, since))


class Votes(Resource):
    """`/api/debates/{debate_id}/votes`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, debate_id: str) -> None:
        """Which agent voted for which."""
        votes = debates_of(req).votes(debate_id)
        answer_list(req, resp, ("votes", models.VoteAnswer, votes), debate_id=debate_id)


class Critiques(Resource):
    """`/api/debates/{debate_id}/critiques`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, debate_id: str) -> None:
        """What the agents hold against each other's answers."""
        critiques = debates_of(req).critiques(debate_id)
        answer_list(req, resp, ("critiques", models.CritiqueAnswer, critiques), debate_id=debate_id)


class Convergence(Resource):
    """`/api/debates/{debate_id}/convergence`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, debate_id: str) -> None:
        """How near the answers came, round by round."""
        rounds = list(debates_of(req).convergence(debate_id))
        answer(resp, models.ConvergenceAnswer, {"debate_id": debate_id, "rounds": rounds})


class Export(Resource):
    """`/api/debates/{debate_id}/export/{form}`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, debate_id: str, form: str) -> None:
        """Download a debate."""
        query = queries.parse(queries.ExportQuery, req)
        export = debates_of(req).export(debate_id, form, query.table)
        send_parts(req, resp, export.content_type, export.parts)
        resp.downloadable_as = export.filename
        # The HTML form holds other people's words: even if a browser shows it in place, nothing in it may run.
        resp.set_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")


class Estimation:
    """`/api/debates/estimate`."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Say what a debate would take; nothing is begun."""
        new = NewDebate.parse(body.read(req, process.current().settings.max_body))
        found = debates_of(req).estimate(new)
        answer(resp, models.EstimateAnswer, views.estimate(found))


class Usage(Resource):
    """`/api/debates/{debate_id}/usage`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, debate_id: str) -> None:
        """What the debate took, and each of its agents."""
        debates = debates_of(req)
        total = views.spending(debates.get(debate_id).spending)
        agents = list(debates.usage(debate_id))
        answer(resp, models.UsageAnswer, {"debate_id": debate_id, "total": total, "agents": agents})


class Spending(Resource):
    """`/api/usage`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """What was spent on each of the last days, by each owner that the caller may see."""
        days = debates_of(req).spending(queries.parse(queries.SpendingQuery, req).days)
        answer(resp, models.SpendingAnswer, {"days": days, "count": len(days)})


class Share:
    """`/api/debates/{debate_id}/share`."""

    def on_post(self, req: falcon.Request, resp: falcon.Response, debate_id: str) -> None:
        """Give the debate an address that needs no token."""
        record = debates_of(req).share(debate_id)
        answer(resp, models.Shared, {"debate_id": record.id, "share": views.share(record)})

    def on_delete(self, req: falcon.Request, resp: falcon.Response, debate_id: str) -> None:
        """Withdraw that address."""
        debates_of(req).unshare(debate_id)
        resp.status = falcon.HTTP_204


class SharedDebate(Resource):
    """`/shared/{key}/json`."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response, key: str) -> None:
        """A shared debate, for any client that has its address."""
        answer(resp, models.SharedDebate, process.current().debates.shared(key))
        _keep_address_secret(resp)


class SharedPage(Resource):
    """`/shared/{key}`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, key: str) -> None:
        """A page that shows a shared debate; nothing on it leads anywhere."""
        page = process.current().debates.shared_page(key)
        send_parts(req, resp, page.content_type, page.parts)
        resp.set_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
        _keep_address_secret(resp)


def _keep_address_secret(resp: falcon.Response) -> None:
    """Neither other sites nor search engines may learn an address that opens the page behind it."""
    resp.set_header("Referrer-Policy", "no-referrer")
    resp.set_header("X-Robots-Tag", "noindex, nofollow")


class Agents(Resource):
    """`/api/agents`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Every type of agent."""
        agents = debates_of(req).agents()
        answer(resp, models.AgentList, {"agents": agents, "count": len(agents)})


class AgentAvailability(Resource):
    """`/api/agents/availability`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Which types can run now, and what the others lack."""
        answer(resp, models.Availability, debates_of(req).availability())


class Models(Resource):
    """`/api/agents/models`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """What the providers offer; each of them is asked."""
        RequestContext.of(req.env).unhurried = True
        query = queries.parse(queries.ModelsQuery, req)
        offers = process.current().providers.offers(principal_of(req), query.type)
        answer(resp, models.OfferList, {"providers": offers, "count": len(offers)})


class Probe:
    """`/api/agents/ask`."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Ask a model one word; 200 whether it answers or not."""
        RequestContext.of(req.env).unhurried = True
        here = process.current()
        new = NewProbe.parse(body.read(req, here.settings.max_body))
        answer(resp, models.ProbeAnswer, here.providers.ask(principal_of(req), new.type, new.model))


def principal_of(req: falcon.Request) -> Principal:
    """The caller of `req`."""
    return RequestContext.of(req.env).principal or STRANGER


def debates_of(req: falcon.Request) -> Debates:
    """The debates as the caller of `req` may see and change them."""
    return process.current().debates.on_behalf_of(principal_of(req))


def idempotency_key(req: falcon.Request) -> str | None:
    """The Idempotency-Key of `req`; raises `BadRequest` for one that no header should carry."""
    key = req.get_header("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise BadRequest(f"Idempotency-Key: write 1 to {LONGEST_KEY} visible ASCII characters")
    return key


def wants_stream(req: falcon.Request) -> bool:
    """Whether the client names the event stream as a form it takes."""
    return "text/event-stream" in (req.get_header("Accept") or "").lower()

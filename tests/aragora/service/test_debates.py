"""The use cases on SQLite: what is accepted, what is refused and in which words, and what is shown."""

import csv
import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aragora.debate.downloads import Format, Table
from aragora.debate.events import Draft, EventType
from aragora.errors import Conflict, DebateEnded, NotFound, TooManyRequests, ValidationFailed, render
from aragora.server import verdicts as models
from aragora.server.models.debates import Message
from aragora.service import DebateChanges, Debates, NewDebate
from aragora.service import debates as service
from aragora.settings import load
from aragora.storage import ChangeFeed, DebateRecord, Store

HOSTILE = "<script>alert(1)</script> =cmd|'/C calc'!A0 \x1b[31m # *x* | y\n- item"


@pytest.fixture
def debates(tmp_path: Path) -> Iterator[Debates]:
    settings = load({"ARAGORA_DATA_DIR": str(tmp_path), "ARAGORA_POLL_INTERVAL": "0.02"})
    store = Store.open(settings)
    feed = ChangeFeed(store, settings)
    feed.start()
    yield Debates(store, feed, settings.agents_environ)
    feed.close()
    store.close()


def ask(debates: Debates, **changes: Any) -> DebateRecord:
    body = {"question": "Should we adopt event sourcing?", "agents": ["demo", "demo"]} | changes
    return debates.create(NewDebate.parse(body))


def say(debates: Debates, record: DebateRecord, *drafts: Draft) -> None:
    added = debates.store.append(record.id, None, drafts, lease=None, at=time.time())
    debates.feed.publish(record.id, added[-1].seq, added)


def consensus(text: str) -> dict[str, Any]:
    voice = {"agent": "demo-2", "choice": "demo-1", "confidence": 0.5, "reasoning": text, "shown": ["demo-1"]}
    return {
        "reached": True,
        "confidence": 0.5,
        "answer": text,
        "method": "majority",
        "choice": "demo-1",
        "support": {"votes": 1, "of": 1},
        "votes": {"demo-1": 1.0, "demo-2": 0.0},
        "share": 1.0,
        "threshold": 0.5,
        "tied": False,
        "quorum": {"needed": 1, "cast": 1},
        "user_votes": {"demo-1": 1},
        "reasons": [voice],
        "dissent": [voice],
        "degraded": [{"agent": "demo-2", "purpose": "revise", "kind": "timeout", "message": text}],
        "stopped_early": "all votes agree",
        "synthesis": {"agent": "demo-1", "answer": text, "agreements": [text], "disputes": [text], "minority": text},
    }


def finished(debates: Debates, text: str = "Let us measure first.") -> DebateRecord:
    """A debate with one of everything, in which every text is `text`."""
    record = ask(debates, question=f"Is this so? {text}")
    critique = {"target": "demo-2", "issues": [text], "suggestions": [text], "severity": 5, "reasoning": text}
    vote = {"choice": "demo-1", "confidence": 0.5, "reasoning": text}
    say(
        debates,
        record,
        Draft(EventType.DEBATE_START, 0, None, {}),
        Draft(EventType.ROUND_START, 1, None, {"round": 1}),
        Draft(EventType.AGENT_MESSAGE, 1, "demo-1", {"role": "proposer", "content": text}),
        Draft(EventType.AGENT_MESSAGE, 1, "demo-2", {"role": "proposer", "content": text}),
        Draft(EventType.CRITIQUE, 1, "demo-1", critique),
        Draft(EventType.CONVERGENCE, 1, None, {"similarity": 0.4, "status": "diverging"}),
        Draft(EventType.VOTE, 1, "demo-2", vote),
        Draft(EventType.USER_VOTE, 1, None, vote),
        Draft(EventType.CONSENSUS, 1, None, consensus(text)),
        Draft(EventType.DEBATE_END, 1, None, {"status": "completed", "rounds": 1, "duration": 2.0}),
    )
    return debates.get(record.id)


def test_the_shortest_request_takes_the_defaults(debates: Debates) -> None:
    record = debates.create(NewDebate.parse({"task": "  Should we adopt event sourcing?  "}))

    assert record.spec.question == "Should we adopt event sourcing?"
    assert [agent.name for agent in record.spec.agents] == ["demo-1", "demo-2", "demo-3"]
    assert (record.spec.rounds, record.spec.consensus, record.status) == (3, "majority", "created")


def test_participants_are_named_apart(debates: Debates) -> None:
    agents = ["demo", {"type": "demo", "name": "demo-1"}, {"type": "demo", "name": "Ann", "role": "skeptic"}, "demo"]
    record = ask(debates, agents=agents)

    assert [agent.name for agent in record.spec.agents] == ["demo-2", "demo-1", "Ann", "demo-3"]
    assert record.spec.agents[2].role == "skeptic"


@pytest.mark.parametrize(
    ("changes", "field", "problem"),
    [
        ({"question": "why?"}, "question", "at least 5 characters"),
        ({"question": "x" * 2001}, "question", "at most 2000 characters"),
        ({"question": 7}, "question", "write a text"),
        ({"question": "nul \x00 in a question"}, "question", "NUL"),
        ({"question": "half a pair \ud800 here"}, "question", "surrogate"),
        ({"context": "x" * 100_001}, "context", "at most 100000 characters"),
        ({"agents": ["demo"]}, "agents", "at least 2"),
        ({"agents": ["demo"] * 11}, "agents", "at most 10"),
        ({"agents": ["demo", "nobody"]}, "agents.1", "no agent 'nobody'"),
        ({"agents": ["demo", 7]}, "agents.1", "write"),
        ({"agents": ["demo", {"type": "demo", "nme": "x"}]}, "agents.1.nme", "is not known here"),
        ({"agents": ["demo", {"name": "x"}]}, "agents.1.type", "is needed"),
        ({"agents": [{"type": "demo", "name": "x"}] * 2}, "agents", "each name may appear once"),
        ({"agents": ["demo", {"type": "demo", "name": "<b>"}]}, "agents.1.name", "letters and digits"),
        ({"agents": ["demo", {"type": "demo", "name": "Ann "}]}, "agents.1.name", "letters and digits"),
        ({"rounds": 0}, "rounds", "at least 1"),
        ({"rounds": 11}, "rounds", "at most 10"),
        ({"rounds": "3"}, "rounds", "write a whole number"),
        ({"rounds": True}, "rounds", "write a whole number"),
        ({"consensus": "dictator"}, "consensus", "one of 'majority'"),
        ({"threshold": 0}, "threshold", "more than 0"),
        ({"threshold": 1.5}, "threshold", "at most 1"),
        ({"timeout": 1801}, "timeout", "at most 1800"),
        ({"early_stop": "yes"}, "early_stop", "write true or false"),
        ({"metadata": []}, "metadata", "write an object"),
        ({"metadata": {"x": "y" * 20_000}}, "metadata", "at most 16384 characters"),
        ({"metadata": {"x": float("nan")}}, "metadata", "NaN"),
        ({"bogus": 1}, "bogus", "is not known here"),
    ],
)
def test_what_breaks_a_rule_is_named(debates: Debates, changes: dict[str, Any], field: str, problem: str) -> None:
    with pytest.raises(ValidationFailed) as raised:
        ask(debates, **changes)
    assert raised.value.details[0].field == field
    assert problem in raised.value.details[0].problem
    shown = render(raised.value, "trace")["error"]
    assert shown["code"] == "validation_error"
    assert shown["details"][0]["field"] == field


@pytest.mark.parametrize("body", [None, [], "text", 7])
def test_a_body_that_is_no_object_is_refused(body: object) -> None:
    with pytest.raises(ValidationFailed, match="must be a JSON object"):
        NewDebate.parse(body)


def test_deep_metadata_does_not_break_the_process(debates: Debates) -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"x": deep}
    with pytest.raises(ValidationFailed):
        ask(debates, metadata=deep)


def test_an_idempotency_key_is_for_one_request(debates: Debates) -> None:
    def create(key: str, question: str) -> str:
        return debates.create(NewDebate.parse({"question": question}), idempotency_key=key).id

    first = create("k", "Should we adopt event sourcing?")
    assert create("k", "Should we adopt event sourcing?") == first
    with pytest.raises(Conflict):
        create("k", "Should we abandon event sourcing?")
    for wrong in ("", "x" * 256):
        with pytest.raises(ValidationFailed):
            create(wrong, "Should we adopt event sourcing?")


def test_changes_name_what_they_may_change(debates: Debates) -> None:
    record = ask(debates)
    debates.update(record.id, DebateChanges.parse({"title": "New", "is_public": True}))
    assert debates.get(record.id).title == "New"
    for wrong in ({"status": "completed"}, {"title": ""}, {"is_public": 1}, {"question": "Another question?"}):
        with pytest.raises(ValidationFailed):
            DebateChanges.parse(wrong)


def test_cancelling_ends_it_for_good(debates: Debates) -> None:
    record = ask(debates)
    assert debates.cancel(record.id).status == "cancelled"
    with pytest.raises(DebateEnded):
        debates.cancel(record.id)
    with pytest.raises(DebateEnded):
        debates.user_suggestion(record.id, "too late")


@pytest.mark.parametrize(("since", "limit"), [(-1, 1), (0, 0), (0, 501)])
def test_reading_events_has_limits(debates: Debates, since: int, limit: int) -> None:
    with pytest.raises(ValidationFailed):
        debates.events(ask(debates).id, since, limit)


def test_people_join_in_within_limits(debates: Debates, monkeypatch: pytest.MonkeyPatch) -> None:
    record = ask(debates)
    assert debates.user_vote(record.id, "demo-2", "it is shorter", "u1").seq == 1
    assert debates.user_suggestion(record.id, HOSTILE).data["text"] == HOSTILE
    for wrong in (
        lambda: debates.user_vote(record.id, "nobody"),
        lambda: debates.user_vote(record.id, "demo-1", "x" * 2001),
        lambda: debates.user_suggestion(record.id, "  "),
        lambda: debates.user_suggestion(record.id, "x" * 2001),
    ):
        with pytest.raises(ValidationFailed):
            wrong()
    monkeypatch.setattr(service, "MOST_EVENTS", 2)
    with pytest.raises(TooManyRequests):
        debates.user_suggestion(record.id, "one more")


def test_the_view_says_whose_answer_won_and_why(debates: Debates) -> None:
    verdict = debates.view(finished(debates).id)["verdict"]
    assert verdict["summary"] == "demo-1's answer, by 1 of 1 votes"
    assert verdict["reasons"][0]["reasoning"] == "Let us measure first."
    assert verdict["degraded"][0]["message"] == "Let us measure first."
    assert debates.view(ask(debates).id)["verdict"] is None


def test_a_verdict_of_an_older_version_says_what_it_has(debates: Debates) -> None:
    record = ask(debates)
    old = {"reached": False, "confidence": 0.2, "answer": "Wait.", "choice": "demo-1", "method": "weighted"}
    end = {"status": "completed", "rounds": 1, "duration": 2.0}
    say(debates, record, Draft(EventType.CONSENSUS, 1, None, old), Draft(EventType.DEBATE_END, 1, None, end))
    verdict = debates.view(record.id)["verdict"]
    assert (verdict["summary"], verdict["reasons"], verdict["degraded"]) == ("demo-1's answer", [], [])
    models.Verdict.model_validate(verdict)
    assert debates.export(record.id, "txt").body


@pytest.mark.parametrize("form", [Format.HTML, Format.TXT, Format.MD])
def test_readable_exports_say_why(debates: Debates, form: Format) -> None:
    text = debates.export(finished(debates, "Answer A is best").id, form).body.decode()
    for words in ("by 1 of 1 votes", "Degraded", "failed at revising", "Dissent", "Synthesis", "Agreed", "Disputed"):
        assert words in text
    assert "Answer A (demo-1) is best" in text.replace("\\", "")


def test_the_view_has_the_shape_of_the_contract(debates: Debates) -> None:
    view = debates.view(finished(debates).id)

    assert view["id"] == view["debate_id"]
    assert view["agents"] == ["demo-1", "demo-2"]
    assert (view["status"], view["in_progress"], view["consensus_reached"]) == ("completed", False, True)
    assert view["final_answer"] == view["conclusion"] == "Let us measure first."
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", view["created_at"])
    first = view["messages"][0]
    assert (first["index"], first["role"], first["agent"], first["round"]) == (0, "proposer", "demo-1", 1)
    json.dumps(view, allow_nan=False)


def test_tables_are_what_the_events_say(debates: Debates) -> None:
    record = finished(debates)
    messages, total = debates.messages(record.id, limit=1, offset=1)

    assert ([row["agent"] for row in messages], [row["index"] for row in messages], total) == (["demo-2"], [1], 2)
    assert [row["type"] for row in debates.votes(record.id)] == ["vote", "user_vote"]
    assert next(debates.critiques(record.id))["severity"] == 5
    assert next(debates.convergence(record.id))["similarity"] == 0.4


@pytest.mark.parametrize("table", Table)
@pytest.mark.parametrize("form", Format)
def test_exports_carry_hostile_text_as_text(debates: Debates, form: Format, table: Table) -> None:
    record = finished(debates, HOSTILE)
    export = debates.export(record.id, form, table)
    text = export.body.decode()

    part = "" if table is Table.ARGUMENT else f"-{table}"
    assert re.fullmatch(rf"[a-z0-9-]+{part}\.{form}", export.filename)
    assert "\x1b" not in text
    if form in ("html", "md"):
        assert "<script" not in text
        assert "&lt;script" in text
    if form == "json":
        shown = json.loads(text)
        assert shown["final_answer"] == HOSTILE


@pytest.mark.parametrize("form", Format)
def test_an_export_has_the_whole_argument_by_default(debates: Debates, form: Format) -> None:
    record = finished(debates, "Answer A is best")
    text = debates.export(record.id, form).body.decode().replace("\\", "")
    for event in debates.store.history(record.id):
        if event.type in (EventType.AGENT_MESSAGE, EventType.CRITIQUE, EventType.VOTE):
            said = event.data.get("content") or event.data["reasoning"]
            assert str(said).split("\n")[0] in text, event
    if form in (Format.HTML, Format.MD, Format.TXT):
        for section in ("Proposals", "Round 1", "Votes of round 1", "votes for", "severity 5"):
            assert section in text
    if form is Format.JSON:
        types = [row["type"] for row in json.loads(text)["argument"]]
        assert {"agent_message", "critique", "vote", "convergence"} <= set(types)


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(debates: Debates, start: str) -> None:
    export = debates.export(finished(debates, start).id, "csv", Table.MESSAGES)
    rows = csv.DictReader(io.StringIO(export.body.decode(), newline=""))
    assert all(not row["content"].startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows)


def test_a_message_says_what_it_and_its_prompt_lack(debates: Debates) -> None:
    record = ask(debates)
    said = {"role": "proposer", "content": "First, we", "cut": "length", "omitted": ["critiques (90 characters)"]}
    say(debates, record, Draft(EventType.AGENT_MESSAGE, 1, "demo-1", said))
    (message,), _ = debates.messages(record.id)
    assert (message["cut"], message["omitted"]) == ("length", ["critiques (90 characters)"])
    Message.model_validate(message)
    for form in Format:
        text = debates.export(record.id, form, Table.MESSAGES).body.decode()
        for words in ("length", "critiques", "90 characters"):
            assert words in text, form


def test_numbers_stay_numbers_in_a_csv(debates: Debates) -> None:
    export = debates.export(finished(debates).id, "csv", Table.VOTES)
    rows = list(csv.DictReader(io.StringIO(export.body.decode(), newline="")))
    assert rows[0]["confidence"] == "0.5"


def test_unknown_forms_are_refused(debates: Debates) -> None:
    record = ask(debates)
    with pytest.raises(NotFound):
        debates.export(record.id, "pdf")


def test_a_running_debate_is_exported_too(debates: Debates) -> None:
    for form in Format:
        assert debates.export(ask(debates).id, form, Table.SUMMARY).body


def test_agents_and_what_they_miss(debates: Debates) -> None:
    names = [info.name for info in debates.agents()]
    found = debates.availability()
    assert "demo" in found["available"]
    assert sorted([*found["available"], *found["missing"]]) == sorted(names)

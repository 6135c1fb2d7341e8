"""Language models behind HTTP: what is sent, what is made of the answers, and how every failure ends."""

import email.utils
import logging
import threading
import time
import traceback
from collections.abc import Callable, Mapping

import pytest
import requests

from aragora.agents import Agent, AgentFailed, exchange, inquiry
from aragora.agents.endpoint import FIRST_CONTACT
from aragora.agents.facts import Order, facts
from aragora.debate.questions import Question
from tests.aragora.agents.conftest import KEY, Naps
from tests.aragora.agents.provider import (
    STALL,
    Act,
    Api,
    answers,
    breaks_off,
    hangs_up,
    provider,
    repeats,
    sends,
    stalls,
    status,
)
from tests.ports import ports

Make = Callable[..., Agent]
LONG = 30.0
SHORT = 0.7  # long enough for a question to reach its provider


def nothing(text: str) -> None:
    pass


def failure(
    make: Make, question: Question, *acts: Act, within: float = LONG, environ: Mapping[str, str] | None = None
) -> tuple[AgentFailed, int]:
    """How asking ends, and how often the provider was asked."""
    with provider(*acts) as server:
        agent = make(server.url, environ)
        with pytest.raises(AgentFailed) as caught:
            agent.ask(question, nothing, time.time() + within)
        return caught.value, len(server.calls)


def test_the_question_is_put_in_the_words_of_the_api(agent: Make, api: Api, question: Question) -> None:
    with provider(answers(api, "Yes.")) as server:
        agent(server.url + "/").ask(question, nothing, time.time() + LONG)
        ((path, fields, body),) = server.calls
    assert path == api.path
    assert body["stream"] is True
    if api.name == "openai":
        assert fields["Authorization"] == f"Bearer {KEY}"
        assert body["messages"] == [
            {"role": "system", "content": question.system},
            {"role": "user", "content": question.prompt},
        ]
        assert body["stream_options"] == {"include_usage": True}
    else:
        assert fields["x-api-key"] == KEY
        assert fields["anthropic-version"] == "2023-06-01"
        assert "Authorization" not in fields
        assert body["system"] == question.system
        assert body["messages"] == [{"role": "user", "content": question.prompt}]


def test_the_model_is_the_debates_or_the_settings(agent: Make, api: Api, question: Question) -> None:
    with provider(answers(api, "Yes.")) as server:
        agent(server.url, {api.variables[2]: "from-settings"}).ask(question, nothing, time.time() + LONG)
        agent(server.url, {api.variables[2]: "from-settings"}, "from-debate").ask(question, nothing, time.time() + LONG)
        assert [body["model"] for _, _, body in server.calls] == ["from-settings", "from-debate"]


def test_tokens_arrive_as_they_are_sent(agent: Make, api: Api, question: Question) -> None:
    arrived = threading.Event()

    def act(call: object) -> None:
        call.begin()
        call.chunk(api.first() + api.text("Yes, "))
        assert arrived.wait(LONG), "the first text should arrive before the second is sent"
        call.chunk(api.text("gradually. ") + api.finish() + api.done())
        call.wfile.write(b"0\r\n\r\n")

    texts: list[str] = []

    def on_token(text: str) -> None:
        if text:
            texts.append(text)
            arrived.set()

    with provider(act) as server:
        reply = agent(server.url).ask(question, on_token, time.time() + LONG)
    assert texts == ["Yes, ", "gradually. "]
    assert reply.text == "Yes, gradually. "
    assert reply.model == "gpt-real"


@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
def test_a_stream_may_be_cut_anywhere(agent: Make, api: Api, question: Question, piece: int) -> None:
    data = api.first() + api.text("Größe 🎈\n") + api.text("zählt") + api.finish() + api.done()
    for sent in (data, data.replace(b"\n", b"\r\n"), data.rstrip(b"\n")):
        with provider(sends(sent, piece=piece)) as server:
            assert agent(server.url).ask(question, nothing, time.time() + LONG).text == "Größe 🎈\nzählt"


def test_a_server_may_answer_in_one_piece(agent: Make, api: Api, question: Question) -> None:
    with provider(status(200, api.body("Whole."))) as server:
        assert agent(server.url).ask(question, nothing, time.time() + LONG).text == "Whole."


def test_half_a_surrogate_pair_cannot_spoil_what_watchers_get(agent: Make, api: Api, question: Question) -> None:
    texts: list[str] = []
    with provider(answers(api, "a\ud800b")) as server:
        reply = agent(server.url).ask(question, texts.append, time.time() + LONG)
    assert reply.text == "".join(texts) == "a?b"


def test_one_connection_serves_many_questions(
    agent: Make, api: Api, question: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "FAREWELL", LONG)  # however long the provider takes from its last word to the end
    clients = set()

    def act(call: object) -> None:
        clients.add(call.client_address)
        answers(api, "Yes.")(call)

    with provider(act) as server:
        asked = agent(server.url)
        for _ in range(3):
            asked.ask(question, nothing, time.time() + LONG)
    assert len(clients) == 1


def test_a_busy_provider_is_asked_again_when_it_says_so(agent: Make, api: Api, question: Question, naps: Naps) -> None:
    limit = status(429, {"error": {"message": "slow down"}}, Retry_After="3")
    with provider(limit, status(500), hangs_up, answers(api, "Now.")) as server:
        assert agent(server.url).ask(question, nothing, time.time() + LONG).text == "Now."
        assert len(server.calls) == 4
    assert naps.taken == [1.0, 1.0, 1.0, 0.5, 1.0], "it looks each second whether anybody still waits"


def test_retry_after_may_be_a_date(agent: Make, api: Api, question: Question, naps: Naps) -> None:
    began = time.time()
    date = email.utils.formatdate(began + 10, usegmt=True)  # in whole seconds
    with provider(status(503, Retry_After=date), answers(api, "Now.")) as server:
        agent(server.url).ask(question, nothing, time.time() + LONG)
    assert 9 - (time.time() - began) < sum(naps.taken) <= 10


def test_a_pause_is_kept_while_the_debate_has_time(agent: Make, api: Api, question: Question, naps: Naps) -> None:
    with provider(status(429, Retry_After="45"), answers(api, "Now.")) as server:
        assert agent(server.url).ask(question, nothing, time.time() + 100).text == "Now."
    assert sum(naps.taken) == 45


def test_a_pause_beyond_the_debates_time_is_not_waited_for(agent: Make, question: Question, naps: Naps) -> None:
    failed, calls = failure(agent, question, status(429, Retry_After="20"), within=10.0)
    assert (failed.kind, calls, naps.taken) == ("rate_limit", 1, [])


def test_a_pause_may_stand_in_the_words(agent: Make, api: Api, question: Question, naps: Naps) -> None:
    words = {"error": {"message": "Rate limit reached. Please try again in 7.66s.", "code": "rate_limit_exceeded"}}
    with provider(status(429, words), answers(api, "Now.")) as server:
        agent(server.url).ask(question, nothing, time.time() + LONG)
    assert len(naps.taken) == 8


@pytest.mark.parametrize("value", ["soon", "-1", "1e9", "9" * 400, "Mon, 99 Foo 2026 99:99:99 GMT"])
def test_a_senseless_retry_after_is_ignored(agent: Make, api: Api, question: Question, naps: Naps, value: str) -> None:
    with provider(status(429, Retry_After=value), answers(api, "Now.")) as server:
        agent(server.url).ask(question, nothing, time.time() + LONG)
    assert naps.taken == [0.5]


@pytest.mark.parametrize(
    ("act", "kind"), [(status(500), "server"), (status(429), "rate_limit"), (hangs_up, "connection")]
)
def test_a_provider_that_keeps_failing_is_given_up(
    agent: Make, question: Question, naps: Naps, act: Act, kind: str
) -> None:
    failed, calls = failure(agent, question, act)
    assert (failed.kind, calls, failed.final) == (kind, 4, False)
    assert sum(naps.taken) == sum(inquiry.PAUSES)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(400, "refused"), (401, "auth"), (402, "quota"), (403, "auth"), (404, "configuration"), (422, "refused")],
)
def test_what_cannot_get_better_is_not_tried_again(agent: Make, question: Question, code: int, kind: str) -> None:
    failed, calls = failure(agent, question, status(code, {"error": {"message": "It is Tuesday."}}))
    assert (failed.kind, calls, failed.final) == (kind, 1, True)
    assert f"{code}: It is Tuesday" in failed.message


@pytest.mark.parametrize("code", ["insufficient_quota", "billing_hard_limit_reached"])
def test_an_account_without_credit_is_not_tried_again(agent: Make, question: Question, code: str) -> None:
    failed, calls = failure(agent, question, status(429, {"error": {"message": "You exceeded", "code": code}}))
    assert (failed.kind, calls) == ("quota", 1)


def test_a_failure_has_the_providers_words_and_what_to_do(
    agent: Make, api: Api, question: Question, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"error": {"message": "The model `x` does not exist.", "type": "invalid", "code": "model_not_found"}}
    failed, calls = failure(agent, question, status(404, body))
    assert (failed.kind, calls, failed.final) == ("model", 1, True)
    assert "answered 404 (model_not_found): The model `x` does not exist" in failed.message
    assert failed.message.endswith(f"name a model that it offers in {api.variables[2]}")
    assert "The model `x` does not exist" in caplog.text


@pytest.mark.parametrize("code", ["sk-abcdefghijk", KEY, "two words", "x" * 65, "", 7, None, ["list"]])
def test_a_code_that_is_none_is_left_away(agent: Make, question: Question, code: object) -> None:
    failed, _ = failure(agent, question, status(400, {"error": {"code": code}}))
    assert failed.message.endswith("answered 400")


def test_a_redirection_is_not_followed_with_the_key(agent: Make, question: Question) -> None:
    with provider(status(200)) as elsewhere:
        failed, _ = failure(agent, question, status(307, Location=elsewhere.url))
        assert not elsewhere.calls
    assert failed.kind == "configuration"


def test_nobody_listens(agent: Make, question: Question, naps: Naps) -> None:
    (port,) = ports(1)
    with pytest.raises(AgentFailed, match=f"cannot be reached at 127.0.0.1:{port}") as caught:
        agent(f"http://127.0.0.1:{port}").ask(question, nothing, time.time() + LONG)
    assert (caught.value.kind, caught.value.final) == ("connection", False)
    assert LONG / 2 - inquiry.LONGEST_PAUSE <= sum(naps.taken) <= LONG / 2, "half of the time is left for others"


def test_a_provider_that_never_answered_is_waited_for_a_while(agent: Make, question: Question, naps: Naps) -> None:
    (port,) = ports(1)
    with pytest.raises(AgentFailed):
        agent(f"http://127.0.0.1:{port}").ask(question, nothing, time.time() + 100 * FIRST_CONTACT)
    assert FIRST_CONTACT - inquiry.LONGEST_PAUSE <= sum(naps.taken) <= FIRST_CONTACT


@pytest.mark.parametrize("code", [502, 503, 504, 529])
def test_a_restart_is_waited_out(agent: Make, api: Api, question: Question, naps: Naps, code: int) -> None:
    away = [status(code)] * 8
    with provider(answers(api, "Before."), *away, answers(api, "After.")) as server:
        asked = agent(server.url)
        asked.ask(question, nothing, time.time() + LONG)
        assert asked.ask(question, nothing, time.time() + 600).text == "After."
    assert sum(naps.taken) > sum(inquiry.PAUSES)


def test_whoever_asks_later_does_not_wait_anew(agent: Make, question: Question, naps: Naps) -> None:
    with provider(status(503)) as server:
        asked = agent(server.url, {"ARAGORA_OUTAGE_TIMEOUT": "20"})
        deadline = naps.clock() + 600
        with pytest.raises(AgentFailed):
            asked.ask(question, nothing, deadline)
        calls, waited = len(server.calls), sum(naps.taken)
        with pytest.raises(AgentFailed):
            asked.ask(question, nothing, deadline)
        assert (len(server.calls), sum(naps.taken)) == (calls + 1, waited)
    assert 10 < waited <= 20


def test_whoever_waits_is_told_why(agent: Make, api: Api, question: Question) -> None:
    told = []
    with provider(status(503, {"error": {"message": "Loading model"}}), answers(api, "Now.")) as server:
        agent(server.url).ask(question, nothing, time.time() + LONG, told.append)
    (waiting,) = told
    assert waiting.place == 0
    assert "Loading model" in waiting.message
    assert "asked again in 0.5 s" in waiting.message


@pytest.mark.parametrize("part", ["before the head", "before the text", "in the text"])
def test_a_stall_ends_at_the_deadline(agent: Make, api: Api, question: Question, part: str) -> None:
    data = {"before the head": b"", "before the text": api.first(), "in the text": api.first() + api.text("Ye")}[part]
    began = time.monotonic()
    failed, calls = failure(agent, question, stalls(data), within=SHORT)
    assert (failed.kind, calls) == ("timeout", 1)
    assert time.monotonic() - began < STALL


def test_a_trickle_ends_at_the_deadline(agent: Make, api: Api, question: Question) -> None:
    def act(call: object) -> None:
        call.begin()
        while not call.server.released.wait(0.02):
            call.chunk(api.text("."))

    began = time.monotonic()
    failed, _ = failure(agent, question, act, within=SHORT)
    assert failed.kind == "timeout"
    assert time.monotonic() - began < STALL


@pytest.mark.parametrize("how", ["byte by byte", "without an end of its own"])
def test_no_way_of_dawdling_outlasts_the_deadline(agent: Make, api: Api, question: Question, how: str) -> None:
    """A socket's timeout begins anew with every byte, and cannot be changed where the connection ends the answer."""

    def act(call: object) -> None:
        if how == "byte by byte":
            call.begin()
            call.wfile.write(b"ffff\r\n")
            while not call.server.released.wait(0.02):
                call.wfile.write(b":")
        else:
            call.begin(Content_Length="9999", Connection="close")
            call.wfile.write(api.first())
            call.server.released.wait(LONG)

    began = time.monotonic()
    failed, calls = failure(agent, question, act, within=SHORT)
    assert (failed.kind, calls) == ("timeout", 1)
    assert time.monotonic() - began < STALL


def test_the_first_byte_has_a_patience_of_its_own(agent: Make, question: Question) -> None:
    failed, _ = failure(agent, question, stalls(), environ={"ARAGORA_FIRST_BYTE_TIMEOUT": "0.2"})
    assert failed.kind == "timeout"
    assert "within 0.2 s (ARAGORA_FIRST_BYTE_TIMEOUT)" in failed.message


def test_a_slow_start_is_not_held_against_the_answer(agent: Make, api: Api, question: Question) -> None:
    def act(call: object) -> None:
        call.begin()
        for _ in range(8):
            call.chunk(b": ping\n\n")
            call.server.released.wait(0.1)
        call.chunk(api.first() + api.text("Now.") + api.finish() + api.done())
        call.wfile.write(b"0\r\n\r\n")

    short = {"ARAGORA_SILENCE_TIMEOUT": "0.3", "ARAGORA_AGENT_TIMEOUT": "0.5"}
    with provider(act) as server:
        assert agent(server.url, short).ask(question, nothing, time.time() + LONG).text == "Now."


def test_silence_has_a_limit_of_its_own(agent: Make, api: Api, question: Question) -> None:
    act = stalls(api.first() + api.text("Yes"))
    failed, _ = failure(agent, question, act, environ={"ARAGORA_SILENCE_TIMEOUT": "0.2"})
    assert failed.kind == "timeout"
    assert "was silent for 0.2 s (ARAGORA_SILENCE_TIMEOUT)" in failed.message


def test_an_answer_has_a_time_of_its_own(agent: Make, api: Api, question: Question) -> None:
    def act(call: object) -> None:
        call.begin()
        while not call.server.released.wait(0.02):
            call.chunk(api.text("."))

    failed, _ = failure(agent, question, act, environ={"ARAGORA_AGENT_TIMEOUT": "0.3"})
    assert failed.kind == "timeout"
    assert "within 0.3 s (ARAGORA_AGENT_TIMEOUT)" in failed.message


def test_a_deadline_that_has_passed_asks_nobody(agent: Make, api: Api, question: Question) -> None:
    failed, calls = failure(agent, question, answers(api, "Late."), within=-1)
    assert (failed.kind, calls) == ("timeout", 0)


@pytest.mark.parametrize("how", ["the connection breaks", "the stream ends early", "an error in the stream"])
def test_half_an_answer_is_none(agent: Make, api: Api, question: Question, how: str) -> None:
    half = api.first() + api.text("Yes, but")
    act = {
        "the connection breaks": breaks_off(half),
        "the stream ends early": sends(half),
        "an error in the stream": sends(half + api.error("Overloaded")),
    }[how]
    failed, calls = failure(agent, question, act)
    assert failed.kind in ("connection", "protocol", "server")
    assert calls == 1, "part of the answer was shown already"


def test_done_is_an_end_without_a_reason(agent: Make, api: Api, question: Question) -> None:
    with provider(sends(api.first() + api.text("Yes, and so on.") + b"data: [DONE]\n\n")) as server:
        assert agent(server.url).ask(question, nothing, time.time() + LONG).text == "Yes, and so on."


def test_done_without_anything_is_tried_again(agent: Make, api: Api, question: Question) -> None:
    with provider(sends(b"data: [DONE]\n\n"), answers(api, "Now.")) as server:
        assert agent(server.url).ask(question, nothing, time.time() + LONG).text == "Now."


def test_an_error_before_the_first_word_is_tried_again(agent: Make, api: Api, question: Question) -> None:
    with provider(sends(api.error("Overloaded")), sends(api.first()), answers(api, "Now.")) as server:
        assert agent(server.url).ask(question, nothing, time.time() + LONG).text == "Now."


def test_events_after_the_response_end_are_ignored(agent: Make, api: Api, question: Question) -> None:
    whole = api.first() + api.text("Yes.") + api.finish()
    for act in (breaks_off(whole), sends(whole), stalls(whole), sends(whole + b"data: {\n\n")):
        with provider(act) as server:
            assert agent(server.url).ask(question, nothing, time.time() + LONG).text == "Yes."


@pytest.mark.parametrize(
    "data",
    [
        b"data: {\n\n",
        b"data: [1, 2]\n\n",
        b"data: null\n\n",
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"data: \xff\xfe\n\n",
        b"<html>Bad gateway</html>",
        b"",
        b"\x00" * 5000,
    ],
    ids=["half", "list", "null", "deep", "bytes", "html", "empty", "nul"],
)
def test_garbage_is_no_answer(agent: Make, question: Question, data: bytes) -> None:
    failed, _ = failure(agent, question, sends(data))
    assert failed.kind == "protocol"


@pytest.mark.parametrize(
    "data",
    [
        b'data: {"choices": 7, "type": "content_block_delta", "delta": 7}\n\n',
        b'data: {"choices": [], "type": "message_delta"}\n\n',
        b'data: {"choices": [null], "type": 7, "content": 7}\n\n',
        b'data: {"choices": [{"delta": {"content": {"a": 1}}}]}\n\n',
        b'data: {"type": "content_block_delta", "delta": {"type": "text_delta", "text": 7}}\n\n',
        b'data: {"model": 7, "choices": [{"delta": {"content": [7, {"type": "text", "text": 7}]}}]}\n\n',
    ],
)
def test_events_of_another_shape_say_nothing(agent: Make, api: Api, question: Question, data: bytes) -> None:
    with provider(sends(data + api.text("Yes.") + api.finish() + api.done())) as server:
        assert agent(server.url).ask(question, nothing, time.time() + LONG).text == "Yes."


def test_an_endless_answer_is_broken_off(agent: Make, api: Api, question: Question) -> None:
    texts = iter(range(10_000_000))

    def act(call: object) -> None:
        call.begin()
        while not call.server.hung_up.is_set():
            call.chunk(api.text(" ".join(str(next(texts)) for _ in range(500))))

    failed, _ = failure(agent, question, act)
    assert failed.kind == "too_long"


@pytest.mark.parametrize(
    "circle", ["la ", "The risk is high. It must be weighed against the cost.\n", " ", "\n- a\n- b"]
)
def test_an_answer_that_runs_in_circles_is_broken_off(agent: Make, api: Api, question: Question, circle: str) -> None:
    def act(call: object) -> None:
        call.begin()
        call.chunk(api.first() + api.text("Yes, gradually. "))
        while not call.server.hung_up.is_set():
            call.chunk(api.text(circle))

    with provider(act) as server:
        reply = agent(server.url).ask(question, nothing, time.time() + LONG)
        assert server.hung_up.wait(LONG)
    assert reply.cut == "circles"
    assert reply.text.strip() == ("Yes, gradually. " + circle).strip()


def test_an_endless_stream_without_text_is_broken_off(
    agent: Make, question: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange.Exchange.pieces, "__defaults__", (100_000,))
    failed, _ = failure(agent, question, repeats(b": ping\n\n" * 1000, 1000))
    assert failed.kind == "too_long"


def test_an_event_without_end_is_broken_off(agent: Make, question: Question) -> None:
    failed, _ = failure(agent, question, repeats(b"data: " + b"x" * 50_000, 1000))
    assert failed.kind == "protocol"


def test_an_error_page_without_end_is_broken_off(agent: Make, question: Question) -> None:
    def act(call: object) -> None:
        call.begin(400, "text/html")
        while True:
            call.chunk(b"x" * 60_000)

    failed, _ = failure(agent, question, act)
    assert failed.kind == "refused"


def test_a_cut_answer_is_one_unless_it_is_empty(agent: Make, api: Api, question: Question) -> None:
    with provider(answers(api, "Yes, be", reason=api.cut)) as server:
        assert agent(server.url).ask(question, nothing, time.time() + LONG).text == "Yes, be"
    failed, _ = failure(agent, question, answers(api, reason=api.cut))
    assert failed.kind == "too_long"


def test_a_refusal_is_a_failure(agent: Make, api: Api, question: Question) -> None:
    failed, calls = failure(agent, question, answers(api, "I", reason=api.refused))
    assert (failed.kind, calls) == ("refused", 1)


class Gone(Exception):  # noqa: N818 - no error: it ends an answer that nobody waits for
    """The debate was cancelled."""


def test_an_answer_that_nobody_waits_for_is_broken_off(agent: Make, api: Api, question: Question) -> None:
    def on_token(text: str) -> None:
        if text:
            raise Gone

    def act(call: object) -> None:
        call.begin()
        while not call.server.hung_up.is_set():
            call.chunk(api.text("la " * 1000))

    with provider(act) as server:
        with pytest.raises(Gone):
            agent(server.url).ask(question, on_token, time.time() + LONG)
        assert server.hung_up.wait(LONG)


def test_a_debate_that_ended_during_a_pause_asks_nobody(agent: Make, question: Question) -> None:
    asked = []

    def on_token(text: str) -> None:
        asked.append(text)
        if len(asked) > 1:
            raise Gone

    with provider(status(503)) as server:
        with pytest.raises(Gone):
            agent(server.url).ask(question, on_token, time.time() + LONG)
        assert len(server.calls) == 1


LEAKS = [
    status(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}),
    status(400, {"error": {"message": f"Bad request with {KEY} and sk-ant-abc***xyz-123456"}}),
    status(400, {"error": f"key {KEY}"}),
    status(429, {"message": f"quota of {KEY} exceeded"}, Retry_After="60"),
    status(500, {"detail": KEY}),
    status(502, KEY.encode()),
]


@pytest.mark.parametrize("act", LEAKS)
def test_the_key_stays_secret(agent: Make, question: Question, act: Act, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    failed, _ = failure(agent, question, act)
    told = f"{failed!r} {failed} {failed.message} {''.join(traceback.format_exception(failed))} {caplog.text}"
    for part in ("verysecret", "abc***xyz"):
        assert part not in told
    assert "\n" not in failed.message


def test_the_key_stays_secret_in_a_stream(
    agent: Make, api: Api, question: Question, caplog: pytest.LogCaptureFixture
) -> None:
    failed, _ = failure(agent, question, sends(api.error(f"cannot use {KEY}\nnow")))
    assert failed.message.endswith("cannot use [key] now")
    assert caplog.messages[0].endswith("cannot use [key] now")


def test_the_key_is_in_no_repr(agent: Make, api: Api, question: Question) -> None:
    made = agent("http://127.0.0.1:1")
    order = Order(question, facts(made._account), 100, streams=True)
    request = made._dialect.request(made._account, order)
    assert KEY in "".join(request.headers.values())
    for shown in (made, made._account, request, vars(made)):
        assert "verysecret" not in repr(shown)


def test_credentials_of_netrc_do_not_replace_the_key(
    agent: Make, api: Api, question: Question, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with provider(answers(api, "Yes.")) as server:
        agent(server.url).ask(question, nothing, time.time() + LONG)
        ((_, fields, _),) = server.calls
    assert "Basic" not in fields.get("Authorization", "")


def test_the_connections_of_the_process_hold_no_cookies(agent: Make, api: Api, question: Question) -> None:
    with provider(status(200, api.body("Yes."), Set_Cookie="who=me; Path=/")) as server:
        asked = agent(server.url)
        shared = exchange.session.__wrapped__()
        with shared:
            for _ in range(2):
                request = exchange.Request(asked._account, server.url, {}, {})
                with exchange.Exchange(shared, request, time.time() + LONG) as answer:
                    assert b"".join(answer.pieces())
        assert not any("Cookie" in fields for _, fields, _ in server.calls)
        assert isinstance(shared, requests.Session)

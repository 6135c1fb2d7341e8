"""Answers in the forms that servers send them, and what they lack or took."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from aragora.agents import Agent, AgentFailed, Usage
from aragora.debate.questions import Question
from tests.aragora.agents.provider import Act, Anthropic, Api, OpenAI, answers, provider, sends, sse, status

Make = Callable[..., Agent]
LONG = 30.0
DONE = b"data: [DONE]\n\n"
only_openai = pytest.mark.parametrize("api", [OpenAI()], indirect=True, ids=["openai"])
only_anthropic = pytest.mark.parametrize("api", [Anthropic()], indirect=True, ids=["anthropic"])


def nothing(text: str) -> None:
    pass


def asked(make: Make, question: Question, *acts: Act) -> tuple[Any, list[dict[str, Any]]]:
    """The reply, and the bodies of the requests."""
    with provider(*acts) as server:
        reply = make(server.url).ask(question, nothing, time.time() + LONG)
        return reply, [body for _, _, body in server.calls]


def failed(make: Make, question: Question, *acts: Act) -> tuple[AgentFailed, int]:
    with provider(*acts) as server:
        with pytest.raises(AgentFailed) as caught:
            make(server.url).ask(question, nothing, time.time() + LONG)
        return caught.value, len(server.calls)


def of_type(content_type: str, data: bytes) -> Act:
    def act(call: Any) -> None:
        call.begin(200, content_type, Content_Length=str(len(data)))
        call.wfile.write(data)

    return act


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "byte order mark"])
@pytest.mark.parametrize("piece", [1, 5, 1 << 16])
def test_streams_may_be_written_as_the_standard_allows(
    agent: Make, api: Api, question: Question, end: bytes, mark: bytes, piece: int
) -> None:
    data = api.first() + api.text("Yes — ") + api.text("naïvely.") + api.finish() + api.done()
    reply, _ = asked(agent, question, sends(mark + data.replace(b"\n", end), piece=piece))
    assert reply.text == "Yes — naïvely."


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "application/octet-stream", "text/html"])
def test_a_wrong_type_does_not_matter(agent: Make, api: Api, question: Question, content_type: str) -> None:
    stream = api.first() + api.text("Yes.") + api.finish() + api.done()
    whole = json.dumps(api.body("Yes.")).encode()
    for data in (stream, whole, b"\xef\xbb\xbf" + whole, b"\n " + whole):
        assert asked(agent, question, of_type(content_type, data))[0].text == "Yes."


def test_a_page_is_no_answer_and_says_so(agent: Make, question: Question) -> None:
    problem, calls = failed(agent, question, of_type("text/html", b"<!DOCTYPE html><title>Welcome</title>"))
    assert (problem.kind, calls) == ("protocol", 1)
    assert "address" in problem.message


@only_openai
def test_a_reason_in_every_chunk_is_no_end(agent: Make, api: OpenAI, question: Question) -> None:
    chunks = [sse({"choices": [{"delta": {"content": text}, "finish_reason": "stop"}]}) for text in ("Ye", "s", ".")]
    assert asked(agent, question, sends(b"".join(chunks) + DONE))[0].text == "Yes."


def test_a_whole_answer_needs_no_reason(agent: Make, api: Api, question: Question) -> None:
    body = api.body("Yes.")
    (body if api.name == "anthropic" else body["choices"][0]).pop("stop_reason", None)
    if api.name == "openai":
        body["choices"][0].pop("finish_reason")
    reply, _ = asked(agent, question, status(200, body))
    assert (reply.text, reply.cut) == ("Yes.", None)


@only_openai
@pytest.mark.parametrize(
    ("reason", "cut"),
    [("length", "length"), ("MAX_TOKENS", "length"), ("model_length", "window"), ("content_filter", "content_filter")],
)
def test_half_answers_are_marked(agent: Make, api: OpenAI, question: Question, reason: str, cut: str) -> None:
    text = "Yes, because of the reasons given. " * 3 + "And whereas the first of them is not, " * 4
    reply, _ = asked(agent, question, answers(api, text, reason=reason))
    assert (reply.text, reply.cut) == (text, cut)


@only_anthropic
@pytest.mark.parametrize(
    ("reason", "cut"), [("max_tokens", "length"), ("model_context_window_exceeded", "window"), ("end_turn", None)]
)
def test_half_messages_are_marked(
    agent: Make, api: Anthropic, question: Question, reason: str, cut: str | None
) -> None:
    reply, _ = asked(agent, question, answers(api, "Yes, but", reason=reason))
    assert (reply.text, reply.cut) == ("Yes, but", cut)


@only_anthropic
def test_a_pause_is_gone_on_from(agent: Make, api: Anthropic, question: Question) -> None:
    first, last = answers(api, "Yes, ", reason="pause_turn"), answers(api, " gradually.")
    reply, bodies = asked(agent, question, first, last)
    assert (reply.text, reply.cut) == ("Yes, gradually.", None)
    assert bodies[1]["messages"][1] == {"role": "assistant", "content": [{"type": "text", "text": "Yes,"}]}


@only_anthropic
def test_a_pause_that_does_not_go_on_is_marked(agent: Make, api: Anthropic, question: Question) -> None:
    first = answers(api, "Yes, but", reason="pause_turn")
    reply, bodies = asked(agent, question, first, status(400, {"error": {"message": "no prefill"}}))
    assert (reply.text, reply.cut, len(bodies)) == ("Yes, but", "pause", 2)


@only_openai
@pytest.mark.parametrize("reason", ["error", "abort", "insufficient_system_resource"])
def test_a_failure_at_the_end_is_no_answer(agent: Make, api: OpenAI, question: Question, reason: str) -> None:
    problem, calls = failed(agent, question, answers(api, "half an answer", reason=reason))
    assert (problem.kind, calls) == ("server", 1), "part of it has been shown"


@only_openai
@pytest.mark.parametrize(
    "delta",
    [
        {"refusal": "I cannot help with that."},
        {"tool_calls": [{"index": 0, "type": "function", "function": {"name": "vote", "arguments": "{}"}}]},
        {"function_call": {"name": "vote", "arguments": "{}"}},
    ],
)
def test_refusals_and_tools_are_no_answers(agent: Make, api: OpenAI, question: Question, delta: dict) -> None:
    chunk = sse({"choices": [{"delta": delta, "finish_reason": None}]})
    problem, calls = failed(agent, question, sends(chunk + api.finish("tool_calls") + DONE))
    assert (problem.kind, calls, problem.final) == ("refused", 1, False)
    whole = {"choices": [{"message": {"content": None, **delta}, "finish_reason": "stop"}]}
    assert failed(agent, question, status(200, whole))[0].kind == "refused"


@only_openai
def test_the_words_of_a_refusal_are_passed_on(agent: Make, api: OpenAI, question: Question) -> None:
    chunk = sse({"choices": [{"delta": {"refusal": "I cannot help with that."}}]})
    problem, _ = failed(agent, question, sends(chunk + api.finish() + DONE))
    assert problem.message.endswith("would not answer this: I cannot help with that.")


ERRORS = [
    ({"error": {"code": 401, "message": "No auth credentials found"}}, "auth"),
    ({"error": {"code": "429", "message": "Rate limited upstream"}}, "rate_limit"),
    ({"error": {"code": 402, "message": "Insufficient credits"}}, "quota"),
    ({"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}, "model"),
    ({"error": {"message": "the request exceeds the available context size", "n_ctx": 64}}, "context"),
    ({"error": {"message": "Overloaded", "type": "server_error"}}, "server"),
    ({"error": "something"}, "server"),
]


@only_openai
@pytest.mark.parametrize(("body", "kind"), ERRORS)
@pytest.mark.parametrize("way", ["whole", "stream"])
def test_an_error_in_a_good_status_has_its_kind(
    agent: Make, api: OpenAI, question: Question, body: dict, kind: str, way: str
) -> None:
    problem, _ = failed(agent, question, status(200, body) if way == "whole" else sends(sse(body)))
    assert problem.kind == kind


THOUGHTS = [
    {"reasoning_content": "I should say no."},
    {"reasoning": "I should say no."},
    {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "I should say no."}]}]},
    {"content": "<think>I should say no.</think>"},
    {"content": "I should say no.</think>"},
]


@only_openai
@pytest.mark.parametrize("thought", THOUGHTS)
def test_thinking_is_no_part_of_an_answer(agent: Make, api: OpenAI, question: Question, thought: dict) -> None:
    stream = sse({"choices": [{"delta": thought}]}) + api.text("Yes.") + api.finish() + DONE
    assert asked(agent, question, sends(stream))[0].text == "Yes."


@only_openai
def test_a_model_that_thinks_gets_room_for_it(agent: Make, api: OpenAI, question: Question) -> None:
    thinks = sse({"choices": [{"delta": {"reasoning_content": "hm"}, "finish_reason": "length"}]}) + DONE
    with provider(sends(thinks), answers(api, "Yes.")) as server:
        asked_agent = agent(server.url, provider_name="mistral")
        assert asked_agent.ask(question, nothing, time.time() + LONG).text == "Yes."
        first, second = (body["max_tokens"] for _, _, body in server.calls)
    assert (first, second) == (1200, 1200 + 8192)


@only_openai
def test_a_model_that_only_thinks_comes_to_no_answer(agent: Make, api: OpenAI, question: Question) -> None:
    thinks = sse({"choices": [{"delta": {"reasoning_content": "hm"}, "finish_reason": "length"}]}) + DONE
    problem, calls = failed(agent, question, sends(thinks))
    assert (problem.kind, calls) == ("too_long", 1)
    assert "ARAGORA_THINKING_TOKENS" in problem.message


COUNTS = [
    ({"prompt_tokens": 9, "completion_tokens": 5}, Usage(9, 5)),
    (
        {
            "prompt_tokens": 900,
            "completion_tokens": 50,
            "prompt_tokens_details": {"cached_tokens": 800, "cache_write_tokens": 20},
            "completion_tokens_details": {"reasoning_tokens": 40},
        },
        Usage(900, 50, 800, 20, 40),
    ),
    ({"prompt_tokens": 9, "completion_tokens": 5, "prompt_cache_hit_tokens": 7}, Usage(9, 5, 7)),
    ({"prompt_tokens": "9", "completion_tokens": None}, None),
    ("x", None),
    (None, None),
]


@only_openai
@pytest.mark.parametrize(("counted", "usage"), COUNTS)
def test_tokens_are_counted(agent: Make, api: OpenAI, question: Question, counted: Any, usage: Usage | None) -> None:
    end = sse({"choices": [{"delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": counted})
    assert asked(agent, question, sends(api.text("Yes.") + end + DONE))[0].usage == usage
    body = api.body("Yes.") | {"usage": counted}
    assert asked(agent, question, status(200, body))[0].usage == usage


@only_anthropic
def test_tokens_of_messages_are_counted(agent: Make, api: Anthropic, question: Question) -> None:
    begun = {"input_tokens": 10, "cache_read_input_tokens": 700, "cache_creation_input_tokens": 90, "output_tokens": 1}
    ended = {"output_tokens": 55, "output_tokens_details": {"thinking_tokens": 30}}
    stream = (
        sse({"type": "message_start", "message": {"model": "m", "usage": begun}})
        + api.text("Yes.")
        + sse({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": ended})
        + api.done()
    )
    assert asked(agent, question, sends(stream))[0].usage == Usage(800, 55, 700, 90, 30)


@only_openai
def test_what_vain_tries_took_is_counted(agent: Make, api: OpenAI, question: Question) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    thinks = sse({"choices": [{"delta": {"reasoning_content": "hm"}, "finish_reason": "length"}], "usage": usage})
    problem, _ = failed(agent, question, sends(thinks + DONE))
    assert problem.usage == Usage(100, 10)


@only_openai
def test_the_count_may_come_late(agent: Make, api: OpenAI, question: Question) -> None:
    def act(call: Any) -> None:
        call.begin()
        call.chunk(api.text("Yes.") + sse({"choices": [{"delta": {}, "finish_reason": "stop"}]}))
        call.server.released.wait(0.4)
        call.chunk(sse({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}}))
        call.wfile.write(b"0\r\n\r\n")

    assert asked(agent, question, act)[0].usage == Usage(9, 5)


def test_the_opening_is_marked_for_the_cache(agent: Make, api: Api, question: Question) -> None:
    put = replace(question, opening="<question>Event sourcing?</question>\n\n", prompt="Answer it.")
    _, (body,) = asked(agent, put, answers(api, "Yes."))
    (message,) = [item for item in body["messages"] if item["role"] == "user"]
    if api.name == "anthropic":
        first, second = message["content"]
        assert first == {"type": "text", "text": put.opening, "cache_control": {"type": "ephemeral"}}
        assert second == {"type": "text", "text": put.prompt}
    else:
        assert message["content"] == put.opening + put.prompt

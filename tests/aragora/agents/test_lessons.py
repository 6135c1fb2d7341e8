"""What refusals teach: requests go as the best server takes them, and what one refuses is left away from then on."""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from aragora.agents import Agent, AgentFailed
from aragora.debate.questions import Kind, Passage, Purpose, Question
from aragora.debate.spec import Effort
from tests.aragora.agents.conftest import Naps
from tests.aragora.agents.provider import Act, Anthropic, Api, OpenAI, answers, provider, sends, sse, status

Make = Callable[..., Agent]
LONG = 30.0
SCHEMA = {
    "type": "object",
    "properties": {"choice": {"type": "string", "enum": ["A", "B"]}},
    "required": ["choice"],
    "additionalProperties": False,
}
only_openai = pytest.mark.parametrize("api", [OpenAI()], indirect=True, ids=["openai"])
only_anthropic = pytest.mark.parametrize("api", [Anthropic()], indirect=True, ids=["anthropic"])


def nothing(text: str) -> None:
    pass


@pytest.fixture
def vote(question: Question) -> Question:
    return replace(question, purpose=Purpose.VOTE, schema=SCHEMA, choices=("A", "B"))


def refuses(words: str, code: int = 400, **more: Any) -> Act:
    return status(code, {"error": {"message": words, "type": "invalid_request_error", **more}})


def bodies(make: Make, questions: Iterable[Question], *acts: Act, **how: Any) -> list[dict[str, Any]]:
    """The bodies of the requests with which the questions were put, all of which were answered."""
    with provider(*acts) as server:
        agent = make(server.url, **how)
        for question in questions:
            assert agent.ask(question, nothing, time.time() + LONG).text == '{"choice": "A"}'
        return [body for _, _, body in server.calls]


@only_openai
def test_json_is_demanded_by_a_schema(agent: Make, api: OpenAI, vote: Question, question: Question) -> None:
    voted, proposed = bodies(agent, [vote, question], answers(api, '{"choice": "A"}'))
    assert voted["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "vote", "schema": SCHEMA, "strict": True},
    }
    assert "response_format" not in proposed
    assert (voted["max_completion_tokens"], proposed["max_completion_tokens"]) == (600 + 8192, 1200 + 8192)


@only_anthropic
def test_messages_demand_json_by_a_schema(agent: Make, api: Anthropic, vote: Question) -> None:
    taught = refuses("output_config: Extra inputs are not permitted")
    voted, again, later = (
        bodies(agent, [vote, vote], answers(api, '{"choice": "A"}'))[:1]
        + bodies(agent, [vote, vote], taught, answers(api, '{"choice": "A"}'))[1:]
    )
    assert voted["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert "output_config" not in again
    assert "output_config" not in later
    assert voted["max_tokens"] == 600


def thoughtful(question: Question) -> Question:
    return replace(question, agent=replace(question.agent, effort=Effort.LOW))


@only_openai
@pytest.mark.parametrize(
    "words",
    [
        "Unsupported parameter: 'reasoning_effort' is not supported with this model.",
        "Unrecognized request argument supplied: reasoning_effort",
        "Extra inputs are not permitted",
    ],
)
def test_a_model_that_takes_no_effort_is_asked_without(
    agent: Make, api: OpenAI, question: Question, words: str
) -> None:
    told = [thoughtful(question)] * 2
    assert [body["reasoning_effort"] for body in bodies(agent, told, answers(api, '{"choice": "A"}'))] == ["low"] * 2
    assert "reasoning_effort" not in bodies(agent, [question], answers(api, '{"choice": "A"}'))[0]
    found = bodies(agent, told, refuses(words), answers(api, '{"choice": "A"}'))
    assert ["reasoning_effort" in body for body in found] == [True, False, False]


@only_anthropic
def test_messages_are_told_an_effort_beside_the_form(agent: Make, api: Anthropic, vote: Question) -> None:
    told = [thoughtful(vote)] * 2
    (body, *_) = bodies(agent, told, answers(api, '{"choice": "A"}'))
    assert body["output_config"]["effort"] == "low"
    assert "format" in body["output_config"]
    taught = refuses("output_config.effort: this model does not support the effort parameter")
    found = bodies(agent, told, taught, answers(api, '{"choice": "A"}'))
    assert [set(body["output_config"]) for body in found] == [{"format", "effort"}, {"format"}, {"format"}]


@only_openai
def test_each_form_of_json_is_tried_once_for_a_model(agent: Make, api: OpenAI, vote: Question) -> None:
    acts = [
        refuses("Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."),
        refuses("Unknown parameter: 'response_format.schema'."),
        refuses("This response_format type is unavailable now"),
        answers(api, '{"choice": "A"}'),
    ]
    forms = [body.get("response_format") for body in bodies(agent, [vote, vote], *acts)]
    assert [form and form["type"] for form in forms] == ["json_schema", "json_object", "json_object", None, None]
    assert forms[1]["schema"] == SCHEMA
    assert "schema" not in forms[2]


@pytest.mark.parametrize("api", [OpenAI(), Anthropic()], indirect=True, ids=["openai", "anthropic"])
def test_an_example_is_shown_where_no_schema_holds(agent: Make, api: Api, vote: Question) -> None:
    """A small model repeats it in place of an answer."""
    vote = replace(vote, example="An example: EXAMPLE")

    def shown(*acts: Act, **changes: Any) -> list[bool]:
        return ["EXAMPLE" in json.dumps(body) for body in bodies(agent, [replace(vote, **changes)], *acts)]

    answer = answers(api, '{"choice": "A"}')
    assert shown(answer) == [False]
    assert shown(answer, attempt=2) == [True], "the one before was not usable"
    kept = bodies(agent, [vote, replace(vote, attempt=2)], answer)
    assert "EXAMPLE" not in json.dumps(kept), "it is known to hold the model to it"
    assert shown(refuses("json_schema is not supported"), refuses("json_object is not supported"), answer)[-1]


@pytest.mark.parametrize("api", [OpenAI(), Anthropic()], indirect=True, ids=["openai", "anthropic"])
def test_a_server_that_passes_over_a_schema_is_found_out(agent: Make, api: Api, vote: Question) -> None:
    vote = replace(vote, example="An example: EXAMPLE")
    with provider(answers(api, "I vote for A."), answers(api, '{"choice": "A"}')) as server:
        asked, deadline = agent(server.url), time.time() + LONG
        assert asked.ask(vote, nothing, deadline).text == "I vote for A.", "the engine decides whether to ask again"
        assert asked.ask(vote, nothing, deadline).text == '{"choice": "A"}'
        found = [body for _, _, body in server.calls]
    assert ["EXAMPLE" in json.dumps(body) for body in found] == [False, True]


@only_openai
def test_a_server_that_checks_types_teaches_too(agent: Make, api: OpenAI, vote: Question) -> None:
    detail = [{"loc": ["body", "response_format", "type"], "msg": "Input should be 'text' or 'json_object'"}]
    found = bodies(agent, [vote, vote], status(422, {"detail": detail}), answers(api, '{"choice": "A"}'))
    assert [body["response_format"]["type"] for body in found] == ["json_schema", "json_object", "json_object"]


@only_openai
def test_a_model_that_finds_no_way_into_json_is_asked_in_words(agent: Make, api: OpenAI, vote: Question) -> None:
    blank = answers(api, "\n" * 30, reason="length")
    found = bodies(agent, [vote], blank, blank, blank, answers(api, '{"choice": "A"}'))
    assert "response_format" not in found[-1]


@only_openai
@pytest.mark.parametrize(
    ("words", "member"),
    [
        ("Unrecognized request argument supplied: stream_options", "stream_options"),
        ("stream_options: extra fields not permitted", "stream_options"),
        ("Your organization must be verified to stream this model. Please go to: https://…", "stream"),
        ("Unsupported value: 'stream' does not support true with this model.", "stream"),
    ],
)
def test_what_is_refused_is_left_away_from_then_on(
    agent: Make, api: OpenAI, question: Question, words: str, member: str
) -> None:
    answer = status(200, api.body('{"choice": "A"}')) if member == "stream" else answers(api, '{"choice": "A"}')
    param = {"param": "stream"} if member == "stream" else {}
    found = bodies(agent, [question, question], refuses(words, **param), answer)
    assert [member in body for body in found] == [True, False, False]


@only_openai
def test_streaming_can_be_turned_off(agent: Make, api: OpenAI, question: Question) -> None:
    with provider(status(200, api.body("Yes."))) as server:
        texts: list[str] = []
        asked = agent(server.url, {"ARAGORA_OPENAI_STREAM": "0"})
        asked.ask(question, texts.append, time.time() + LONG)
        ((_, _, body),) = server.calls
    assert "stream" not in body
    assert "stream_options" not in body
    assert "".join(texts) == "Yes."


@only_openai
@pytest.mark.parametrize("name", ["openai", "vllm"])
def test_the_limit_may_have_another_name(agent: Make, api: OpenAI, question: Question, name: str) -> None:
    limit, other = (
        ("max_completion_tokens", "max_tokens") if name == "openai" else ("max_tokens", "max_completion_tokens")
    )
    words = f"Unsupported parameter: '{limit}' is not supported with this model. Use '{other}' instead."
    how = {"provider_name": name, "extra": {"ARAGORA_VLLM_MODEL": "m"}}
    found = bodies(agent, [question, question], refuses(words), answers(api, '{"choice": "A"}'), **how)
    assert [limit in body for body in found] == [True, False, False]
    assert all(other in body for body in found[1:])


@only_openai
def test_an_answer_may_be_shorter_than_demanded(agent: Make, api: OpenAI, question: Question) -> None:
    words = "max_tokens is too large: 9392. This model supports at most 1024 completion tokens"
    found = bodies(agent, [question, question], refuses(words), answers(api, '{"choice": "A"}'))
    assert [body["max_completion_tokens"] for body in found] == [9392, 1024, 1024]


@only_openai
@pytest.mark.parametrize(
    "words", ["System role not supported", "Conversation roles must alternate user/assistant/user/…"]
)
def test_a_template_without_a_system_role_gets_one_message(
    agent: Make, api: OpenAI, question: Question, words: str
) -> None:
    _, again, later = bodies(agent, [question, question], refuses(words), answers(api, '{"choice": "A"}'))
    for body in (again, later):
        (message,) = body["messages"]
        assert message == {"role": "user", "content": f"{question.system}\n\n{question.prompt}"}


@only_openai
def test_a_refusal_that_teaches_nothing_is_final(agent: Make, question: Question) -> None:
    with provider(refuses("It is Tuesday.")) as server:
        with pytest.raises(AgentFailed) as caught:
            agent(server.url).ask(question, nothing, time.time() + LONG)
        assert len(server.calls) == 1
    assert caught.value.final


@only_openai
def test_questions_at_once_all_take_the_lesson(agent: Make, api: OpenAI, question: Question) -> None:
    """Two were put before either was refused: the second refusal is no news, and no failure either."""
    with provider(status(200, api.body("Yes."))) as server:
        asked = agent(server.url)

        def in_between(call: Any) -> None:
            asked._endpoint.facts(asked._account).streams = False
            refuses("must be verified to stream this model")(call)

        server.acts.insert(0, in_between)
        assert asked.ask(question, nothing, time.time() + LONG).text == "Yes."


# How much a model has room for.


def long_question(question: Question, characters: int = 9000) -> Question:
    context = ("The context goes on and on, in new words each time: " + "".join(map(str, range(characters))))[
        :characters
    ]
    opening = f"<context>{context}</context>\n"
    passages = (Passage(Kind.CONTEXT, context), *question.passages)
    return replace(question, opening=opening, passages=passages)


class Room:
    """A server that counts four characters as a token and refuses what does not fit, in words of its own."""

    def __init__(self, api: Api, window: int, words: str, code: int = 400, **fields: bool) -> None:
        self._api, self._window, self._words, self._code, self._fields = api, window, words, code, fields
        self.put: list[tuple[int, int]] = []

    def __call__(self, call: Any) -> None:
        body = call.server.calls[-1][2]
        prompt = sum(len(message["content"]) for message in body["messages"]) // 4
        limit = body.get("max_tokens") or body["max_completion_tokens"]
        self.put.append((prompt, limit))
        if prompt + limit <= self._window:
            answers(self._api, "Yes.")(call)
            return
        facts = {"prompt": prompt, "limit": limit, "total": prompt + limit, "window": self._window}
        more = {"n_prompt_tokens": prompt, "n_ctx": self._window} if self._fields.get("fields") else {}
        refuses(self._words.format(**facts), self._code, **more)(call)


WORDS = {
    "vllm": "'max_tokens' or 'max_completion_tokens' is too large: {limit}. This model's maximum context length is "
    "{window} tokens and your request has {prompt} input tokens",
    "openai": "This model's maximum context length is {window} tokens. However, you requested {total} tokens ({prompt} "
    "in the messages, {limit} in the completion). Please reduce the length of the messages or completion.",
    "llama.cpp": "request ({prompt} tokens) exceeds the available context size ({window} tokens), try increasing it",
    "llama-cpp-python": "Requested tokens ({total}) exceed context window of {window}",
    "anthropic": "prompt is too long: {prompt} tokens > {window} maximum",
}


@only_openai
@pytest.mark.parametrize("server", WORDS)
@pytest.mark.parametrize("window", [2048, 4096])
def test_after_a_refusal_it_is_asked_once_more_with_less(
    agent: Make, api: OpenAI, question: Question, server: str, window: int
) -> None:
    room = Room(api, window, WORDS[server])
    put = long_question(question)
    with provider(room) as running:
        asked = agent(running.url)
        reply = asked.ask(put, nothing, time.time() + LONG)
        asked.ask(put, nothing, time.time() + LONG)
    assert len(room.put) == 3, "the lesson holds for the next question"
    assert reply.text == "Yes."
    if window == 2048:
        assert reply.omitted[0].startswith("the context beyond")


@only_openai
def test_a_server_that_does_not_say_how_much_gets_less_and_less(agent: Make, api: OpenAI, question: Question) -> None:
    room = Room(api, 2048, "Please reduce the length of the messages.")
    with provider(room) as running:
        asked = agent(running.url)
        assert asked.ask(long_question(question), nothing, time.time() + LONG).omitted
        tries = len(room.put)
        asked.ask(long_question(question), nothing, time.time() + LONG)
    assert tries <= 5
    assert len(room.put) == tries + 1


@only_openai
def test_fields_tell_what_words_do_not(agent: Make, api: OpenAI, question: Question) -> None:
    room = Room(api, 2048, "exceed_context_size_error", 500, fields=True)
    with provider(room) as running:
        agent(running.url).ask(long_question(question), nothing, time.time() + LONG)
    assert len(room.put) == 2


@only_openai
def test_a_stream_that_breaks_off_is_asked_for_its_reason(
    agent: Make, api: OpenAI, question: Question, naps: Naps
) -> None:
    """llama-cpp-python says 200, then ends the stream; only a whole answer has a status for what went wrong."""
    room = Room(api, 2048, WORDS["llama-cpp-python"])

    def act(call: Any) -> None:
        body = call.server.calls[-1][2]
        prompt = sum(len(message["content"]) for message in body["messages"]) // 4
        if body.get("stream") and prompt > 1500:
            sends(b"")(call)
        elif not body.get("stream"):
            room(call)
        else:
            answers(api, "Yes.")(call)

    with provider(act) as running:
        reply = agent(running.url).ask(long_question(question), nothing, time.time() + LONG)
    assert reply.text == "Yes."
    assert reply.omitted


@only_openai
def test_the_answer_gives_way_before_the_prompt(agent: Make, api: OpenAI, question: Question) -> None:
    room = Room(api, 4096, WORDS["vllm"])
    with provider(room) as running:
        how = {"ARAGORA_VLLM_MODEL": "m", "ARAGORA_VLLM_CONTEXT": "4096", "ARAGORA_PROSE_TOKENS": "3000"}
        asked = agent(running.url, how, provider_name="vllm")
        reply = asked.ask(long_question(question), nothing, time.time() + LONG)
    assert reply.omitted == ()
    ((prompt, limit),) = room.put
    assert 1000 < limit < 2000
    assert prompt > 2000


@only_openai
def test_answers_that_are_to_be_short_fit_any_window(agent: Make, api: OpenAI, question: Question) -> None:
    how = {"ARAGORA_OPENAI_CONTEXT": "1024", "ARAGORA_PROSE_TOKENS": "16", "ARAGORA_THINKING_TOKENS": "0"}
    with provider(answers(api, "Yes.")) as running:
        reply = agent(running.url, how).ask(long_question(question), nothing, time.time() + LONG)
        ((_, _, body),) = running.calls
    assert (reply.text, body["max_completion_tokens"]) == ("Yes.", 16)
    assert reply.omitted


@only_openai
def test_a_question_that_cannot_fit_says_how_much_it_needs(agent: Make, api: OpenAI, question: Question) -> None:
    put = replace(question, prompt="word " * 2000)
    with provider(answers(api, "Yes.")) as running:
        asked = agent(running.url, {"ARAGORA_OPENAI_CONTEXT": "1024"})
        with pytest.raises(AgentFailed, match="the shortest prompt has about") as caught:
            asked.ask(put, nothing, time.time() + LONG)
        assert not running.calls
    assert (caught.value.kind, caught.value.final) == ("context", True)
    assert "room for 1024" in caught.value.message


PAGES = {
    "vllm": {"/v1/models": {"data": [{"id": "m", "max_model_len": 2048}]}},
    "openrouter": {"/v1/models": {"data": [{"id": "x"}, {"id": "m", "context_length": 2048}]}},
    "groq": {"/v1/models": {"data": [{"id": "m", "context_window": 2048}]}},
    "mistral": {"/v1/models": {"data": [{"id": "m", "max_context_length": 2048}]}},
    "llamacpp": {"/props": {"default_generation_settings": {"n_ctx": 2048}}},
    "ollama": {"/api/ps": {"models": [{"name": "m", "model": "m", "context_length": 2048}]}},
}


@only_openai
@pytest.mark.parametrize("name", PAGES)
def test_servers_are_asked_how_much_a_model_has_room_for(
    agent: Make, api: OpenAI, question: Question, name: str
) -> None:
    room = Room(api, 2048, "unexpected")
    with provider(room) as running:
        running.pages = PAGES[name]
        reply = agent(running.url, model="m", provider_name=name).ask(
            long_question(question), nothing, time.time() + LONG
        )
    assert len(room.put) == 1
    assert reply.omitted


@only_openai
def test_ollama_tells_what_a_model_asks_for_before_it_is_loaded(agent: Make, api: OpenAI, question: Question) -> None:
    shown = {"parameters": 'stop  "x"\nnum_ctx   2048', "model_info": {"llama.context_length": 131072}}

    def act(call: Any) -> None:
        if call.path == "/api/show":
            assert call.server.calls.pop()[2] == {"model": "m"}
            status(200, shown)(call)
        else:
            room(call)

    room = Room(api, 2048, "unexpected")
    with provider(act) as running:
        running.pages = {"/api/ps": {"models": []}}
        reply = agent(running.url, model="m", provider_name="ollama").ask(
            long_question(question), nothing, time.time() + LONG
        )
    assert len(room.put) == 1
    assert reply.omitted


@only_anthropic
def test_anthropic_is_asked_how_much_a_model_has_room_for(agent: Make, api: Anthropic, question: Question) -> None:
    with provider(answers(api, "Yes.")) as running:
        running.pages = {"/v1/models?limit=1000": {"data": [{"id": "m", "max_input_tokens": 2048}]}}
        reply = agent(running.url, model="m").ask(long_question(question), nothing, time.time() + LONG)
    assert reply.omitted


@only_openai
def test_a_scale_is_learnt_from_what_was_counted(agent: Make, api: OpenAI, question: Question) -> None:
    """A model whose tokens are letters: what fits by rule of thumb does not fit it."""
    put = long_question(question, 3000)
    usage = {"prompt_tokens": 3100, "completion_tokens": 1}
    counted = sends(api.text("Yes.") + sse({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": usage}))
    with provider(counted) as running:
        asked = agent(running.url, {"ARAGORA_OPENAI_CONTEXT": "4096"})
        assert asked.ask(put, nothing, time.time() + LONG).omitted == ()
        assert asked.ask(put, nothing, time.time() + LONG).omitted


@only_openai
def test_a_server_that_calls_everything_its_own_error_teaches(agent: Make, api: OpenAI, vote: Question) -> None:
    """llama-cpp-python answers 500 to a field that it does not take."""
    words = "1 validation error: {'loc': ('body', 'response_format', 'type'), 'msg': \"Input should be 'text'\"}"
    taught = status(500, {"error": {"message": words, "type": "internal_server_error", "code": None}})
    found = bodies(agent, [vote, vote], taught, answers(api, '{"choice": "A"}'))
    assert [body["response_format"]["type"] for body in found] == ["json_schema", "json_object", "json_object"]

"""What a refusal teaches about a model: each lesson is learnt once, and the question is put again by it."""

import re
from collections.abc import Mapping
from typing import Any

from aragora.agents.complaints import Complaint, Kind, kind
from aragora.agents.facts import Facts, Form, Order
from aragora.agents.json_values import count, dig
from aragora.agents.pieces import Answer, End
from aragora.debate import thinking
from aragora.debate.json_text import objects

_NEXT = {Form.SCHEMA: Form.OBJECT_BY_SCHEMA, Form.OBJECT_BY_SCHEMA: Form.OBJECT, Form.OBJECT: Form.PLAIN}
_OTHER_NAMES = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}

_LESS = 0.6  # of what was tried, where a server does not say how much it has room for
_DOUBT = 1.3  # by how much more is reckoned, where it does not say how much the prompt was

# What a refusal is about. The words are those of OpenAI, vLLM, llama.cpp, llama-cpp-python, Ollama, LiteLLM, Mistral.
_COUNTS = re.compile(r"stream_options|include_usage")
_STREAM = re.compile(r"verified to stream|stream(?:ing)?[^.]{0,60}(?:not (?:supported|available|allowed)|unsupported)")
_LIMIT = re.compile(r"max_tokens|max_completion_tokens")
_REACHED = re.compile(r"output limit was reached")
_MISNAMED = re.compile(r"unsupported|not supported|unrecogni[sz]ed|unknown|unexpected|extra|use .max_")
_LONGEST = re.compile(r"(?:at most|less than or equal to|maximum|<=)[^\d]{0,60}(\d+)")
_FORM = re.compile(
    r"response_format|json_schema|json_object|output_config|structured|guided|grammar|json[ _](?:mode|schema)"
)
_EFFORT = re.compile(r"\beffort\b|reasoning_effort")
_SYSTEM = re.compile(r"system (?:role|message)|roles? must alternate|developer instruction|system.{0,20}not supported")
_EXTRA = re.compile(
    r"extra (?:inputs?|fields?)|unknown (?:field|parameter|argument)|unrecogni[sz]ed|unexpected (?:keyword|field)"
)
_WINDOWS = (
    re.compile(r"(?:context (?:length|window|size)|max_model_len|n_ctx)[^\d]{0,24}?(\d{3,8})"),
    re.compile(r"(\d{3,8}) (?:tokens? )?(?:maximum|context)"),
    re.compile(r"limit[^\d]{0,12}(\d{3,8})"),
)
_PROMPTS = (
    re.compile(r"(\d{2,8}) (?:input tokens|in the messages|tokens from the input|prompt tokens)"),
    re.compile(r"(?:prompt|input|request)[^\d]{0,40}?\(?(\d{2,8}) (?:input )?tokens"),
)


def learn(known: Facts, complaint: Complaint, order: Order) -> bool:
    """Take the lesson of a refusal in; whether the question is worth putting again by it.

    Other questions may have learnt the same meanwhile: what counts is how this one was put.
    """
    text, put = complaint.text, order.facts
    if kind(complaint) is Kind.CONTEXT:
        return _learn_room(known, complaint, order)
    if order.streams and put.counts and _COUNTS.search(text):
        known.counts = False
        return True
    if order.streams and (_STREAM.search(text) or dig(complaint.body, "error", "param") == "stream"):
        known.streams = False
        return True
    if _LIMIT.search(text):
        return _learn_limit(known, text, order)
    told = put.effort and order.question.agent.effort is not None
    if told and _EFFORT.search(text):
        known.effort = False
        return True
    if put.system_role and _SYSTEM.search(text):
        known.system_role = False
        return True
    demands = order.question.schema is not None and put.form in _NEXT
    if demands and _FORM.search(text):
        known.form = _NEXT[put.form]
        return True
    if _EXTRA.search(text) and (demands or told or (order.streams and put.counts)):
        known.effort = known.effort and not told
        known.form = Form.PLAIN if demands else known.form
        known.counts = known.counts and not order.streams
        return True
    return False


def observe(known: Facts, answer: Answer, order: Order) -> bool:
    """Learn from an answer; whether the question is worth putting again because it came to nothing.

    A model that thinks needs room for that, and one whose server forces JSON on it may find no way into it. A server
    that takes a schema may pass it over: the next question shows an example again, and this answer counts as it is,
    for asking twice would spend more than was held for one question.
    """
    raw, said = answer.raw, answer.text.strip()
    thought = answer.thought or len(said) < len(raw.strip()) or bool(answer.usage and answer.usage.thought)
    known.begins_in_thought = known.begins_in_thought or thinking.unopened(raw)
    if said:
        known.thinks = known.thinks or thought
        if order.held and answer.end is End.DONE:
            known.holds = _keeps_to(order.question.schema, said)
        return False
    forced = order.question.schema is not None and order.facts.form in _NEXT
    if answer.end in (End.DONE, End.LENGTH, End.CIRCLES) and forced and not thought and not raw.strip():
        known.form = _NEXT[order.facts.form]
        return True
    known.thinks = known.thinks or thought or answer.end is End.LENGTH
    return answer.end is End.LENGTH and not order.facts.thinks


def _keeps_to(schema: Mapping[str, Any] | None, said: str) -> bool:
    """Whether some object in an answer has the members that `schema` demands."""
    wanted = frozenset((schema or {}).get("required", ()))
    return any(wanted <= found.keys() for found in objects(said, "", wanted))


def _learn_limit(known: Facts, text: str, order: Order) -> bool:
    """That the limit has another name there, may not be as high, or was too low for a model that thinks."""
    longest = _LONGEST.search(text)
    if longest is not None and 0 < int(longest[1]) < order.tokens:
        known.longest = int(longest[1])
        return True
    if _REACHED.search(text) and not order.facts.thinks:
        known.thinks = True
        return True
    if order.facts.limit in _OTHER_NAMES and _MISNAMED.search(text):
        known.limit = _OTHER_NAMES[order.facts.limit]
        return True
    return False


def _learn_room(known: Facts, complaint: Complaint, order: Order) -> bool:
    """How much prompt and answer may be together: said in fields, in words, or at least less than this."""
    question = order.question
    prompt = count(dig(complaint.body, "error", "n_prompt_tokens")) or _number(_PROMPTS, complaint.text)
    if prompt:
        known.measured(question, prompt)
    else:
        known.scale = max(known.scale, order.facts.scale * _DOUBT)
    tried = order.facts.count(question.system + question.opening + question.prompt) + order.tokens
    window = count(dig(complaint.body, "error", "n_ctx")) or _number(_WINDOWS, complaint.text)
    known.window = window or min(known.window or tried, round(_LESS * tried))
    return order.facts.window is None or known.window < order.facts.window


def _number(patterns: tuple[re.Pattern[str], ...], text: str) -> int:
    found = next((match for pattern in patterns if (match := pattern.search(text)) is not None), None)
    return int(found[1]) if found is not None else 0

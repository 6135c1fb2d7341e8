"""Which agents there are, and what they miss."""

import pytest

from aragora.agents import AgentFailed, available, build
from aragora.agents.facts import Order, facts
from aragora.agents.providers import PROVIDERS
from aragora.agents.register import Limits
from aragora.debate.questions import Question
from aragora.debate.spec import AgentSpec
from aragora.settings import AGENT_VARIABLES, load

VARIABLES = {row.name for row in AGENT_VARIABLES}


def test_the_settings_know_every_variable() -> None:
    for provider in PROVIDERS:
        own = {provider.variable(what) for what in ("CONCURRENCY", "CONTEXT", "STREAM", "TOKENS_PER_MINUTE")}
        assert {provider.key_variable, provider.url_variable, provider.model_variable, *own} <= VARIABLES
    keys = {provider.key_variable for provider in PROVIDERS}
    assert {row.name for row in AGENT_VARIABLES if row.secret} == keys


def test_without_any_variable_there_is_the_demo() -> None:
    infos = available({})
    assert [info.name for info in infos if info.available] == ["demo"]
    assert infos[-1].name == "demo"
    assert all(info.missing in VARIABLES for info in infos[:-1])


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_the_missing_variables_are_all_there_is_to_set(provider) -> None:
    environ: dict[str, str] = {}
    while True:
        (info,) = (info for info in available(environ) if info.name == provider.name)
        if info.available:
            break
        assert info.missing not in environ
        with pytest.raises(AgentFailed, match=info.missing):
            build(AgentSpec("x", provider.name), environ)
        environ[info.missing] = "http://127.0.0.1:9/v1" if info.missing.endswith("_URL") else "value"
    assert info.missing is None
    build(AgentSpec("x", provider.name), environ)


def test_the_variables_reach_the_agents_through_the_settings(tmp_path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-from-a-file\n")
    settings = load({"MISTRAL_API_KEY_FILE": str(file), "ARAGORA_MISTRAL_MODEL": "tiny", "PATH": "/bin"})
    assert settings.agents_environ == {"MISTRAL_API_KEY": "sk-from-a-file", "ARAGORA_MISTRAL_MODEL": "tiny"}
    assert "mistral" in [info.name for info in available(settings.agents_environ) if info.available]


@pytest.mark.parametrize("key", ["sk-\n123", "sk 123", "sk-“quoted”", "sk-\x7f1"])
def test_a_key_that_cannot_be_one_is_named_and_not_shown(key: str) -> None:
    with pytest.raises(AgentFailed) as caught:
        build(AgentSpec("x", "openai"), {"OPENAI_API_KEY": key})
    assert caught.value.kind == "configuration"
    assert "OPENAI_API_KEY" in caught.value.message
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "localhost:11434",
        "ftp://host/v1",
        "http://",
        "http://user:word@host/v1",
        "http://host/v1?key=word",
        "http://host/#word",
        "http://[::1/v1",
        "http://host:99999",
    ],
)
def test_an_address_that_cannot_be_one_is_named(address: str) -> None:
    environ = {"OLLAMA_BASE_URL": address, "ARAGORA_OLLAMA_MODEL": "tiny"}
    with pytest.raises(AgentFailed, match="OLLAMA_BASE_URL") as caught:
        build(AgentSpec("x", "ollama"), environ)
    assert "word" not in caught.value.message
    (info,) = (info for info in available(environ) if info.name == "ollama")
    assert not info.available
    assert info.missing == caught.value.message


@pytest.mark.parametrize("value", ["0", "soon", "nan", "1e9", "-3"])
@pytest.mark.parametrize("name", ["ARAGORA_AGENT_TIMEOUT", "ARAGORA_FIRST_BYTE_TIMEOUT", "ARAGORA_PROSE_TOKENS"])
def test_a_senseless_value_is_named(name: str, value: str) -> None:
    environ = {"OPENAI_API_KEY": "sk-1", name: value}
    with pytest.raises(AgentFailed, match=f"{name}: write a"):
        build(AgentSpec("x", "openai"), environ)
    (info,) = (info for info in available(environ) if info.name == "openai")
    assert name in info.missing


def test_servers_of_ones_own_are_asked_one_question_at_a_time() -> None:
    environ = {"OLLAMA_BASE_URL": "http://h", "ARAGORA_OLLAMA_MODEL": "m", "LLAMACPP_BASE_URL": "http://h"}
    for name in ("ollama", "llamacpp"):
        assert build(AgentSpec("x", name), environ)._account.limits == Limits(concurrency=1)
    many = build(AgentSpec("x", "ollama"), environ | {"ARAGORA_OLLAMA_CONCURRENCY": "4"})
    assert many._account.limits == Limits(concurrency=4)
    assert build(AgentSpec("x", "openai"), {"OPENAI_API_KEY": "sk-1"})._account.limits.none


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(AgentFailed, match="'oracle'"):
        build(AgentSpec("x", "oracle"), {})


def test_a_demo_that_cannot_be_slowed_down_so_is_not_available() -> None:
    (info,) = (info for info in available({"ARAGORA_DEMO_DELAY": "soon"}) if info.name == "demo")
    assert not info.available
    assert info.missing == "ARAGORA_DEMO_DELAY: write a number from 0 to 60"


@pytest.mark.parametrize(
    ("name", "variable", "address", "url"),
    [
        ("ollama", "OLLAMA_BASE_URL", "http://127.0.0.1:11434", "http://127.0.0.1:11434/v1/chat/completions"),
        ("ollama", "OLLAMA_BASE_URL", "http://127.0.0.1:11434/", "http://127.0.0.1:11434/v1/chat/completions"),
        ("ollama", "OLLAMA_BASE_URL", "http://models/openai/v1/", "http://models/openai/v1/chat/completions"),
        ("anthropic", "ANTHROPIC_BASE_URL", "https://models", "https://models/v1/messages"),
        ("anthropic", "ANTHROPIC_BASE_URL", "https://models/v1/", "https://models/v1/messages"),
    ],
)
def test_addresses_may_end_as_people_write_them(
    question: Question, name: str, variable: str, address: str, url: str
) -> None:
    environ = {variable: address, "ARAGORA_OLLAMA_MODEL": "tiny", "ANTHROPIC_API_KEY": "sk-1"}
    agent = build(AgentSpec("x", name), environ)
    order = Order(question, facts(agent._account), 100, streams=True)
    assert agent._dialect.request(agent._account, order).url == url

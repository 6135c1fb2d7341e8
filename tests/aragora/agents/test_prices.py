"""The price table: which row counts, what an answer costs, and what a wrong file is told."""

from pathlib import Path

import pytest

from aragora.agents.prices import DEFAULTS, FREE, Price, Prices
from aragora.agents.providers import PROVIDERS
from aragora.debate.usage import Usage
from aragora.errors import SettingsError


@pytest.fixture
def prices() -> Prices:
    return Prices.load()


def written(directory: Path, text: str) -> Path:
    path = directory / "prices.toml"
    path.write_text(text)
    return path


def test_an_answer_costs_what_its_tokens_cost() -> None:
    price = Price(input=2.0, output=10.0, cached=0.2, written=2.5)
    usage = Usage(input=1000, cached=600, written=100, output=50, thought=30)
    assert price.of(usage) == 300 * 2 + 120 + 250 + 500


def test_fractions_of_a_microdollar_are_rounded_up() -> None:
    price = Price(input=0.15, output=0.6, cached=0.075, written=0.15)
    assert price.of(Usage(input=1)) == 1
    assert price.of(Usage(input=20)) == 3
    assert price.of(Usage()) == 0


def test_the_most_it_may_cost_is_never_less_than_what_it_costs() -> None:
    price = Price(input=2.0, output=10.0, cached=0.2, written=2.5)
    for cached, stored in ((0, 0), (1000, 0), (0, 1000), (300, 700)):
        assert price.of(Usage(1000, 50, cached, stored)) <= price.most(1000, 50)


@pytest.mark.parametrize(
    ("provider", "model", "input_rate"),
    [
        ("openai", "gpt-5.6", 4.0),
        ("openai", "gpt-5.6-2026-07-01", 4.0),
        ("openai", "gpt-5.6-luna", 0.2),
        ("openai", "o1-pro", 150.0),
        ("openai", "o1-pro-2025-03-19", 150.0),
        ("openai", "gpt-9-pro", 150.0),
        ("anthropic", "claude-sonnet-4-6", 3.0),
        ("anthropic", "claude-haiku-4-5-20251001", 1.0),
        ("openrouter", "openai/gpt-5.6-luna", 0.2),
        ("groq", "openai/gpt-oss-20b", 0.075),
    ],
)
def test_a_model_is_found_by_its_name(prices: Prices, provider: str, model: str, input_rate: float) -> None:
    found = prices.of(provider, model)
    assert (found.input, found.assumed) == (input_rate, False)


@pytest.mark.parametrize("provider", ["anthropic", "openai", "openrouter", "mistral", "deepseek", "groq"])
def test_a_model_without_a_row_is_assumed_to_be_dear(prices: Prices, provider: str) -> None:
    assert prices.of(provider, "brand-new").assumed
    assert prices.of(provider, "brand-new").output > 0


@pytest.mark.parametrize("provider", ["ollama", "vllm", "llamacpp", "demo"])
def test_servers_of_ones_own_cost_nothing(prices: Prices, provider: str) -> None:
    assert prices.of(provider, "whatever") == FREE


def test_every_provider_and_its_default_model_has_a_price(prices: Prices) -> None:
    for provider in PROVIDERS:
        assert f"[{provider.name}]" in DEFAULTS.read_text()
        if provider.model and provider.base_url and provider.name not in ("openrouter", "groq"):
            assert not prices.of(provider.name, provider.model).assumed, provider


def test_rows_of_the_users_file_come_first(tmp_path: Path) -> None:
    table = """
        [openai]
        "gpt-5.6" = { input = 1, output = 2 }
        "mine-*" = { input = 3, output = 4, cached = 0.5 }
        [ollama]
        "*" = { input = 0.01, output = 0.01 }
    """
    prices = Prices.load(written(tmp_path, table))
    assert prices.of("openai", "gpt-5.6") == Price(1.0, 2.0, 1.0, 1.0)
    assert prices.of("openai", "mine-7b") == Price(3.0, 4.0, 0.5, 3.0)
    assert prices.of("openai", "o1-pro").input == 150.0
    assert prices.of("ollama", "llama").assumed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[openai", "is not TOML"),
        ("openai = 3", r'\[openai\] "": write'),
        ('[openai]\n"a" = 3', r'\[openai\] "a": write \{ input'),
        ('[openai]\n"a" = { input = 3 }', r'"a": write \{ input'),
        ('[openai]\n"a" = { input = 3, output = 1, price = 2 }', r'"a": write \{ input'),
        ('[openai]\n"a" = { input = -1, output = 1 }', "input: write dollars"),
        ('[openai]\n"a" = { input = true, output = 1 }', "input: write dollars"),
        ('[openai]\n"a" = { input = nan, output = 1 }', "input: write dollars"),
        ('[openai]\n"a" = { input = 1, output = "2" }', "output: write dollars"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Prices.load(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read .*nothing\.toml: No such file"):
        Prices.load(tmp_path / "nothing.toml")

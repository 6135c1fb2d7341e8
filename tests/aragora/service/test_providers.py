"""What there is to choose from, and whether it answers."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from aragora.agents import exchange
from aragora.agents.endpoint import Endpoints
from aragora.agents.metering import Meter
from aragora.agents.prices import Prices
from aragora.debate.spec import NO_BUDGET
from aragora.errors import Forbidden, NotFound, TooManyRequests, ValidationFailed
from aragora.service import EVERYBODY, Policy, Providers
from aragora.service.providers import AT_ONCE, KEPT, MOST
from aragora.storage import Limits, Scope
from tests.aragora.agents.provider import OpenAI, Provider, answers, provider, status
from tests.waiting import until

api = OpenAI()
LIST = {"data": [{"id": "small", "context_length": 4096}, {"id": "large"}, {"id": "small"}, {"no": "id"}, 7]}


class Hour:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Hour:
    return Hour()


@pytest.fixture
def connections() -> Iterator[requests.Session]:
    with exchange.session.__wrapped__() as session:
        yield session


@pytest.fixture
def made(clock: Hour, connections: requests.Session, tmp_path: Path) -> Callable[..., Providers]:
    def make(server: Provider, policy: Policy | None = None, **more: str) -> Providers:
        environ = {"OPENROUTER_API_KEY": "sk-secret-123456", "OPENROUTER_BASE_URL": server.url, **more}
        meter = Meter(Prices.load(), environ)
        policy = policy or Policy()
        return Providers(environ, Endpoints(tmp_path), meter, policy, connections=connections, clock=clock)

    return make


def limited(*scopes: Scope, **limits: int) -> Any:
    return replace(EVERYBODY, scopes=frozenset(scopes), limits=Limits(**limits))


def test_a_provider_says_what_it_offers(made: Callable[..., Providers]) -> None:
    with provider(status(500)) as server:
        server.pages = {"/v1/models": LIST}
        (offer,) = made(server).offers(EVERYBODY)
    assert (offer.type, offer.default, offer.problem) == ("openrouter", "openrouter/auto", None)
    assert offer.checked
    assert [(model.id, model.context) for model in offer.models] == [("small", None), ("large", None)]


def test_a_default_of_the_settings_was_checked_by_nobody(made: Callable[..., Providers]) -> None:
    with provider(status(500)) as server:
        (offer,) = made(server, ARAGORA_OPENROUTER_MODEL="mine").offers(EVERYBODY)
    assert (offer.default, offer.checked) == ("mine", None)


@pytest.mark.parametrize(
    ("page", "problem"), [(None, "answered 404"), ({"data": 7}, "no list of models"), ("text", "no list of models")]
)
def test_a_list_that_is_none_is_a_problem_of_its_own(made: Callable[..., Providers], page: Any, problem: str) -> None:
    with provider(status(500)) as server:
        server.pages = {} if page is None else {"/v1/models": page}
        (offer,) = made(server).offers(EVERYBODY)
    assert problem in offer.problem
    assert offer.models == ()


def test_a_list_is_kept_for_a_minute(made: Callable[..., Providers], clock: Hour) -> None:
    with provider(status(500)) as server:
        server.pages = {"/v1/models": LIST}
        providers = made(server)
        assert len(providers.offers(EVERYBODY)[0].models) == 2
        server.pages = {"/v1/models": {"data": []}}
        assert len(providers.offers(EVERYBODY)[0].models) == 2
        clock.now += KEPT
        assert len(providers.offers(EVERYBODY)[0].models) == 0


def test_only_models_that_may_be_asked_are_offered(made: Callable[..., Providers]) -> None:
    with provider(status(500)) as server:
        server.pages = {"/v1/models": LIST}
        providers = made(server, Policy(("openrouter/*",), 10, NO_BUDGET))
        (offer,) = providers.offers(replace(EVERYBODY, models=("openrouter/la*",)))
    assert [model.id for model in offer.models] == ["large"]


def test_one_provider_can_be_named_even_without_its_key(made: Callable[..., Providers]) -> None:
    with provider(status(500)) as server:
        (offer,) = made(server).offers(EVERYBODY, "mistral")
        assert "MISTRAL_API_KEY" in offer.problem
        with pytest.raises(NotFound, match="take one of anthropic"):
            made(server).offers(EVERYBODY, "oracle")


def test_a_model_says_one_word(made: Callable[..., Providers], clock: Hour) -> None:
    with provider(answers(api, "<think>hm</think>Ready.")) as server:
        providers = made(server)
        found = providers.ask(EVERYBODY, "openrouter", "small")
        assert (found.ok, found.answer, found.kind) == (True, "Ready.", None)
        providers.ask(EVERYBODY, "openrouter", "small")
        assert len(server.calls) == 1, "within a minute the answer is given again"
        clock.now += KEPT
        providers.ask(EVERYBODY, "openrouter", "small")
        assert [body["model"] for _, _, body in server.calls] == ["small", "small"]
        assert server.calls[0][2]["max_tokens"] < 4096


def test_a_model_that_does_not_answer_says_why(made: Callable[..., Providers]) -> None:
    refusal = status(401, {"error": {"message": "Incorrect API key provided: sk-secret-123456"}})
    with provider(refusal) as server:
        found = made(server).ask(EVERYBODY, "openrouter", None)
    assert (found.ok, found.kind, found.model) == (False, "auth", "openrouter/auto")
    assert "Incorrect API key provided: [key]" in found.message
    assert "check OPENROUTER_API_KEY" in found.message


def test_a_server_that_is_off_is_not_waited_for(made: Callable[..., Providers]) -> None:
    with provider(status(500)) as server:
        providers = made(server)
    found = providers.ask(EVERYBODY, "openrouter", None)
    assert found.kind == "connection"
    assert found.seconds < 5


def test_what_is_not_allowed_is_not_asked(made: Callable[..., Providers]) -> None:
    with provider(answers(api, "Ready.")) as server:
        providers = made(server, Policy(("openrouter/small",), 10, NO_BUDGET))
        with pytest.raises(ValidationFailed, match="not allowed"):
            providers.ask(EVERYBODY, "openrouter", "large")
        with pytest.raises(ValidationFailed, match="no provider"):
            providers.ask(EVERYBODY, "demo", None)
        with pytest.raises(Forbidden, match="without daily limits"):
            providers.ask(limited(Scope.READ, Scope.CREATE, tokens=100), "openrouter", "small")
        with pytest.raises(Forbidden, match="scope create"):
            providers.ask(limited(Scope.READ), "openrouter", "small")
        assert not server.calls
        assert providers.ask(limited(*Scope, tokens=100), "openrouter", "small").ok


def test_asking_is_bounded(made: Callable[..., Providers], clock: Hour) -> None:
    with provider(answers(api, "Ready.")) as server:
        providers = made(server)
        for number in range(MOST):
            providers.ask(EVERYBODY, "openrouter", f"model-{number}")
        with pytest.raises(TooManyRequests, match="in a minute"):
            providers.ask(EVERYBODY, "openrouter", "another")
        clock.now += KEPT
        assert providers.ask(EVERYBODY, "openrouter", "another").ok


def test_few_are_asked_at_once(made: Callable[..., Providers]) -> None:
    go = threading.Event()

    def act(call: Any) -> None:
        assert go.wait(20)
        answers(api, "Ready.")(call)

    with provider(act) as server:
        providers = made(server)
        threads = [
            threading.Thread(target=providers.ask, args=(EVERYBODY, "openrouter", f"model-{number}"))
            for number in range(AT_ONCE)
        ]
        for thread in threads:
            thread.start()
        until(lambda: len(server.calls) == AT_ONCE)
        with pytest.raises(TooManyRequests, match="at once"):
            providers.ask(EVERYBODY, "openrouter", "another")
        go.set()
        for thread in threads:
            thread.join()

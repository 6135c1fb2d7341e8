"""Messages about the end of a debate: signed, sent at least once, tried again, and never sent where nobody should."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aragora.errors import DebateEnded, NotFound, SettingsError, TooManyRequests, ValidationFailed
from aragora.outbound import Outbound, networks
from aragora.service import Debates, NewDebate, Notifications, Notifier, Principal, messages
from aragora.service.requests import NewNotification
from aragora.settings import Settings
from aragora.storage import ChangeFeed, DebateRecord, Scope, Store
from aragora.storage.notifications import Delivery, Notification
from tests.aragora.outbound.test_request import Page, Web, silent, web
from tests.aragora.storage.databases import environ, postgresql, postgresql_template, settings, sqlite_template
from tests.aragora.storage.debates import END, START
from tests.waiting import until

__all__ = ["environ", "postgresql", "postgresql_template", "settings", "sqlite_template"]

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
HOOK = {"url": "http://127.0.0.1:8001/", "secret": SECRET}
OUTBOUND = Outbound(networks(["127.0.0.1"]))


@pytest.fixture
def debates(settings: Settings) -> Iterator[Debates]:
    store = Store.open(settings)
    yield Debates(store, ChangeFeed(store, settings), {}, notifications=Notifications(store, OUTBOUND, ""))
    store.close()


class Receiver(Web):
    """Keeps what it is sent; answers with these statuses, the last again and again."""

    def __init__(self, *statuses: int) -> None:
        super().__init__(self._take)
        self._statuses = list(statuses)
        self.bodies: list[bytes] = []

    def _take(self, page: Page) -> None:
        self.bodies.append(page.body)
        page.send(b"ok", self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0])


def ask(debates: Debates, *notify: dict[str, Any]) -> DebateRecord:
    body = {"question": "Should we adopt event sourcing?", "agents": ["demo", "demo"], "notify": list(notify)}
    return debates.create(NewDebate.parse(body | {"title": "Events <!channel> & co", "metadata": {"ticket": 7}}))


def end(debates: Debates, record: DebateRecord) -> None:
    debates.store.append(record.id, None, [START, END], lease=None, at=time.time())


def notifier(debates: Debates, outbound: Outbound = OUTBOUND, **how: Any) -> Notifier:
    return Notifier(debates.store, outbound, "https://debates.example/", **how)


def sent(debates: Debates, record: DebateRecord, outbound: Outbound = OUTBOUND, **how: Any) -> Notification:
    """What became of the one message of a debate that ends."""
    end(debates, record)
    (taken,) = debates.store.notifications.take(9)
    notifier(debates, outbound, **how).send(taken)
    (found,) = debates.notified(record.id)
    return found


def test_signatures_are_those_of_standard_webhooks() -> None:
    """The example of its specification."""
    fields = messages.signed(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    )
    assert fields["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_nothing_is_sent_before_the_end(debates: Debates) -> None:
    record = ask(debates, HOOK)
    assert debates.store.notifications.take(9) == []
    (kept,) = debates.notified(record.id)
    assert (kept.state, kept.attempts, kept.next_at) == (Delivery.WAITING, 0, None)
    end(debates, record)
    (taken,) = debates.store.notifications.take(9)
    assert (taken.id, taken.attempts) == (kept.id, 1)
    assert debates.store.notifications.take(9) == [], "it is its sender's for a while"


def test_a_webhook_tells_how_the_debate_ended_and_is_signed(debates: Debates) -> None:
    with receiving(200) as server:
        found = sent(debates, record := ask(debates, {"url": server.url + "/hook", "secret": SECRET}))
        assert (found.state, found.attempts, found.next_at, found.problem) == (Delivery.DELIVERED, 1, None, None)
        ((path, fields),) = server.asked
        assert path == "/hook"
        assert fields["webhook-id"] == found.id
        content = f"{fields['webhook-id']}.{fields['webhook-timestamp']}.".encode() + server.bodies[0]
        expected = base64.b64encode(hmac.new(b"k" * 32, content, hashlib.sha256).digest()).decode()
        assert fields["webhook-signature"] == f"v1,{expected}"
        assert abs(int(fields["webhook-timestamp"]) - time.time()) < 60
        message = json.loads(server.bodies[0])
        assert message["type"] == "debate.ended"
        data = message["data"]
        assert (data["id"], data["status"], data["metadata"]) == (record.id, "completed", {"ticket": 7})
        assert data["url"] == f"https://debates.example/#/d/{record.id}"
        assert not {"context", "owner", "share"} & data.keys()


def test_slack_gets_a_text_that_calls_nobody(debates: Debates) -> None:
    with receiving(200) as server:
        found = sent(debates, record := ask(debates, {"kind": "slack", "url": server.url}))
        assert found.state is Delivery.DELIVERED
        assert "webhook-signature" not in server.asked[0][1]
        text = json.loads(server.bodies[0])["text"]
        assert text.startswith("*Events &lt;!channel&gt; &amp; co*\ncompleted: no consensus")
        assert text.endswith(f"<https://debates.example/#/d/{record.id}|Read the debate>")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_what_passes_is_tried_again_until_it_is_taken(debates: Debates, status: int) -> None:
    outcomes: list[str] = []
    with receiving(status, status, 204) as server:
        watched = notifier(debates, delays=(0.0, 0.0, 0.0), observe=lambda kind, outcome: outcomes.append(outcome))
        record = ask(debates, {"url": server.url, "secret": SECRET})
        end(debates, record)
        for _ in range(3):
            (taken,) = debates.store.notifications.take(9)
            watched.send(taken)
        assert debates.store.notifications.take(9) == []
        assert len({fields["webhook-id"] for _, fields in server.asked}) == 1
    assert outcomes == ["retried", "retried", "delivered"]


def test_tries_come_to_an_end(debates: Debates) -> None:
    with receiving(500) as server:
        watched = notifier(debates, delays=(0.0, 0.0))
        record = ask(debates, {"url": server.url, "secret": SECRET})
        end(debates, record)
        while taken := debates.store.notifications.take(9):
            watched.send(taken[0])
        assert len(server.asked) == 3
    (found,) = debates.notified(record.id)
    assert (found.state, found.attempts, found.problem) == (Delivery.FAILED, 3, "it answers 500")


@pytest.mark.parametrize("status", [301, 400, 401, 404, 410])
def test_what_cannot_succeed_is_not_tried_twice(debates: Debates, status: int) -> None:
    with receiving(status) as server:
        found = sent(debates, ask(debates, {"url": server.url, "secret": SECRET}))
    assert (found.state, found.problem) == (Delivery.FAILED, f"it answers {status}")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1", "2130706433"])
def test_no_message_goes_to_a_private_address(debates: Debates, host: str) -> None:
    with receiving(200) as server:
        found = sent(debates, ask(debates, {"url": f"http://{host}:{server.port}/", "secret": SECRET}), Outbound())
        assert server.asked == []
    assert (found.state, found.problem) == (Delivery.FAILED, "it leads to an address that is not public")


def test_a_receiver_that_is_silent_is_left(debates: Debates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aragora.service.notifier.SECONDS", 0.3)
    with web(silent) as server:
        found = sent(debates, ask(debates, {"url": server.url, "secret": SECRET}))
    assert found.state is Delivery.WAITING
    assert found.next_at is not None


def test_messages_go_out_once_over_several_processes(debates: Debates, settings: Settings) -> None:
    others = [Store.open(settings) for _ in range(2)]
    with receiving(200) as server:
        running = [Notifier(store, OUTBOUND, "https://debates.example") for store in (debates.store, *others)]
        for one in running:
            one.start()
        records = [ask(debates, {"url": server.url, "secret": SECRET}) for _ in range(5)]
        for record in records:
            end(debates, record)
        until(lambda: all(debates.notified(record.id)[0].state is Delivery.DELIVERED for record in records))
        for one in running:
            one.close()
        assert len(server.asked) == 5
    for store in others:
        store.close()


def test_a_message_whose_sender_died_is_sent_again(debates: Debates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aragora.storage.notifications.TAKEN", -1.0)
    record = ask(debates, HOOK)
    end(debates, record)
    (first,) = debates.store.notifications.take(9)
    (second,) = debates.store.notifications.take(9)
    assert (first.id, second.attempts) == (second.id, 2)
    debates.store.notifications.settle(first, Delivery.FAILED, "late", None)
    assert debates.notified(record.id)[0].state is Delivery.WAITING, "the first sender's word counts no more"


def test_one_more_is_told_while_the_debate_runs(debates: Debates) -> None:
    record = ask(debates)
    for _ in range(3):
        debates.notify(record.id, NewNotification.parse(HOOK))
    with pytest.raises(TooManyRequests):
        debates.notify(record.id, NewNotification.parse(HOOK))
    end(debates, record)
    with pytest.raises(DebateEnded):
        debates.notify(record.id, NewNotification.parse(HOOK))
    assert len(debates.store.notifications.take(9)) == 3
    debates.delete(record.id)
    assert debates.store.notifications.of(record.id) == []


def test_only_the_owner_sees_who_is_told(debates: Debates) -> None:
    record = ask(debates, HOOK)
    debates.store.tokens.add("guest", [Scope.CREATE])
    guest = debates.on_behalf_of(Principal.of(debates.store.tokens.all()[0]))
    uses: list[Callable[[], object]] = [
        lambda: guest.notified(record.id),
        lambda: guest.notify(record.id, NewNotification.parse(HOOK)),
    ]
    for use in uses:
        with pytest.raises(NotFound):
            use()


@pytest.mark.parametrize(
    ("notify", "words"),
    [
        ({"url": "file:///x", "secret": SECRET}, r"notify.0.url: write http:// or https://"),
        (
            {"url": "https://user:pw@host/", "secret": SECRET},
            r"notify.0.url: write http:// or https://, without a user",
        ),
        ({"url": "https://hooks.example/"}, r"notify.0.secret: is needed: webhooks are signed"),
        ({"url": "https://hooks.example/", "secret": "guess"}, r"notify.0.secret: write whsec_"),
        ({"url": "https://hooks.example/", "secret": "whsec_c2hvcnQ="}, r"notify.0.secret: write whsec_"),
        ({"url": "https://hooks.example/", "kind": "email"}, r"notify.0.kind"),
    ],
)
def test_what_cannot_be_told_is_refused_at_once(debates: Debates, notify: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationFailed, match=words):
        ask(debates, notify)


def test_the_server_s_secret_signs_for_those_without(settings: Settings) -> None:
    store = Store.open(settings)
    with pytest.raises(SettingsError, match="ARAGORA_WEBHOOK_SECRET"):
        Notifications(store, OUTBOUND, "short")
    found = Notifications(store, OUTBOUND, SECRET).recipients(
        [NewNotification.parse({"url": "https://hooks.example/"})]
    )
    assert found[0].secret == SECRET
    assert SECRET not in repr(found)
    store.close()


def receiving(*statuses: int) -> Any:
    return web(Receiver(*statuses))

"""Messages about the end of a debate, from servers as they are deployed."""

import os
import signal
from pathlib import Path

import pytest

from tests.aragora.outbound.test_request import web
from tests.aragora.server.servers import QUESTION, THOROUGH, running
from tests.aragora.service.test_notifications import SECRET, Receiver
from tests.waiting import until

ENVIRON = {"ARAGORA_PRIVATE_NETWORKS": "127.0.0.1", "ARAGORA_WEBHOOK_SECRET": SECRET}
BODY = {"question": QUESTION, "agents": ["demo", "demo"], "rounds": 1}


@pytest.mark.parametrize("kind", THOROUGH)
def test_who_asked_is_told_of_the_end(kind: str, tmp_path: Path) -> None:
    with web(Receiver(200)) as hook, running(kind, tmp_path, **ENVIRON) as server:
        notify = [{"url": hook.url}, {"kind": "slack", "url": f"{hook.url}/slack"}]
        made = server.request("POST", "/api/debates", json=BODY | {"notify": notify}).json()["debate_id"]
        path = f"/api/debates/{made}/notifications"
        until(lambda: {row["state"] for row in server.get(path).json()["notifications"]} == {"delivered"})
        assert sorted(path for path, _ in hook.asked) == ["/", "/slack"]
        shown = server.get(path).json()["notifications"]
        assert {row["host"] for row in shown} == {"127.0.0.1"}
        assert SECRET not in server.get(path).text
        assert SECRET not in server.get(f"/api/debates/{made}").text
        late = server.request("POST", path, json={"url": hook.url})
        assert (late.status_code, late.json()["error"]["code"]) == (409, "debate_ended")
        assert SECRET not in server.log.read_text()


def test_a_message_outlives_the_workers_that_should_have_sent_it(tmp_path: Path) -> None:
    """The first try finds nobody; before the second all workers are killed."""
    with web(Receiver(503, 200)) as hook, running("gunicorn", tmp_path, **ENVIRON) as server:
        body = BODY | {"notify": [{"url": hook.url}]}
        made = server.request("POST", "/api/debates", json=body).json()["debate_id"]
        path = f"/api/debates/{made}/notifications"
        until(lambda: server.get(path).json()["notifications"][0]["problem"], "the first try is noted")
        for worker in server.workers():
            os.kill(worker, signal.SIGKILL)
        server.await_ready()
        until(lambda: len(hook.asked) == 2)
        assert len({fields["webhook-id"] for _, fields in hook.asked}) == 1
        until(lambda: server.get(path).json()["notifications"][0]["state"] == "delivered")

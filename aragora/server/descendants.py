"""`/api/debates/{debate_id}/follow-up`, `/fork` and `/ask-again`: debates that come of others."""

from collections.abc import Callable
from typing import Any

import falcon

from aragora.server import body, process
from aragora.server.resources import answer_begun, idempotency_key
from aragora.service import Debates
from aragora.service.lineage import AskAgain, FollowUp, Fork, ask_again, follow_up, fork
from aragora.service.requests import Request
from aragora.storage import DebateRecord


class Descendant:
    """One way in which a debate begins with what another one came to."""

    def __init__(self, model: type[Request], begin: Callable[[Debates, str, Any, str | None], DebateRecord]) -> None:
        self._model = model
        self._begin = begin

    def on_post(self, req: falcon.Request, resp: falcon.Response, debate_id: str) -> None:
        """Begin it: 202, or 200 with the finished one when `?wait=` was long enough."""

        def begin(req: falcon.Request, debates: Debates) -> DebateRecord:
            asked = self._model.parse(body.read(req, process.current().settings.max_body))
            return self._begin(debates, debate_id, asked, idempotency_key(req))

        answer_begun(req, resp, begin)


FOLLOW_UP = Descendant(FollowUp, follow_up)
FORK = Descendant(Fork, fork)
ASK_AGAIN = Descendant(AskAgain, ask_again)

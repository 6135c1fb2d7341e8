"""`/api/debates/{debate_id}/notifications`: the recipients notified when a debate ends."""

import falcon

from aragora.server import body, models, process
from aragora.server.resources import Resource, answer, debates_of
from aragora.service import views
from aragora.service.requests import NewNotification


class Notifications(Resource):
    """`/api/debates/{debate_id}/notifications`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, debate_id: str) -> None:
        """The recipients, and the state of each delivery."""
        found = [views.notification(kept) for kept in debates_of(req).notified(debate_id)]
        answer(resp, models.NotificationList, {"debate_id": debate_id, "notifications": found, "count": len(found)})

    def on_post(self, req: falcon.Request, resp: falcon.Response, debate_id: str) -> None:
        """Tell one more, when the debate ends."""
        asked = NewNotification.parse(body.read(req, process.current().settings.max_body))
        answer(resp, models.NotificationAnswer, views.notification(debates_of(req).notify(debate_id, asked)))
        resp.status = falcon.HTTP_201

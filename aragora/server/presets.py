"""`/api/presets`: councils that are kept under a name."""

from typing import Any

import falcon

from aragora.server import body, models, process
from aragora.server.resources import Resource, answer, principal_of
from aragora.service import views
from aragora.service.presets import NewPreset
from aragora.storage.presets import Preset


class PresetCollection(Resource):
    """`/api/presets`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """What the caller may take over."""
        found = process.current().debates.presets.all(principal_of(req))
        answer(resp, models.PresetList, {"presets": [_shown(req, one) for one in found], "count": len(found)})


class PresetItem(Resource):
    """`/api/presets/{name}`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """One of them."""
        answer(resp, models.PresetAnswer, _shown(req, process.current().debates.presets.get(principal_of(req), name)))

    def on_put(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Keep a council under this name, in place of the caller's own."""
        here = process.current()
        new = NewPreset.parse(body.read(req, here.settings.max_body))
        answer(resp, models.PresetAnswer, _shown(req, here.debates.presets.save(principal_of(req), name, new)))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Forget the caller's own."""
        process.current().debates.presets.remove(principal_of(req), name)
        resp.status = falcon.HTTP_204


def _shown(req: falcon.Request, preset: Preset) -> dict[str, Any]:
    return views.preset(preset, own=process.current().debates.presets.is_own(principal_of(req), preset))

"""`/api/sources`: files and pages as text, for the context of a debate."""

import falcon
from pydantic import Field

from aragora.debate.limits import LONGEST_ADDRESS
from aragora.server import body, models, process, queries
from aragora.server.resources import answer, principal_of
from aragora.service.requests import Request

PATH = "/sources"


class NewSource(Request):
    """A page or file that is to be fetched."""

    url: str = Field(min_length=1, max_length=LONGEST_ADDRESS, description="`http://` or `https://`, public")


class Sources:
    """`/api/sources`."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Give the text of a file that is sent, or of what stands at a URL."""
        here = process.current()
        name = queries.parse(queries.SourceQuery, req).name
        if (req.content_type or "").partition(";")[0].strip().lower() == falcon.MEDIA_JSON:
            asked = NewSource.parse(body.read(req, here.settings.max_body))
            found = here.sources.fetch(principal_of(req), asked.url)
        else:
            data = body.read_raw(req, here.sources.limit)
            found = here.sources.read(principal_of(req), name, req.content_type or "", data)
        answer(resp, models.SourceAnswer, found)

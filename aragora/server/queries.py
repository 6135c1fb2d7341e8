"""Query parameters: one model per resource, checked and documented like bodies."""

from typing import Annotated, TypeVar

import falcon
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from aragora.debate import limits
from aragora.debate.downloads import Table
from aragora.debate.status import Status
from aragora.errors import Problem, ValidationFailed
from aragora.service.requests import problems


def _printable(text: str) -> str:
    if "\x00" in text or "\ufffd" in text:
        raise ValueError("is not UTF-8 text")
    return text


Text = Annotated[str, StringConstraints(max_length=limits.LONGEST_SEARCH), AfterValidator(_printable)]


class Query(BaseModel):
    """Unknown parameters are ignored: gateways and trackers add some."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class CreateQuery(Query):
    """`POST /api/debates`."""

    wait: float = Field(
        0, ge=0, le=limits.LONGEST_WAIT_FOR_END, description="Wait up to so many seconds for the debate to end."
    )


class ListQuery(Query):
    """`GET /api/debates`."""

    limit: int = Field(limits.DEBATES_PAGE_DEFAULT, ge=1, le=limits.DEBATES_PAGE)
    cursor: str | None = Field(
        None, max_length=200, pattern="^[A-Za-z0-9_=-]*$", description="`next_cursor` of the page before."
    )
    status: Status | None = None
    q: Text | None = Field(None, description="Words, or parts of them, of question, title or answer.")
    parent: Text | None = Field(None, description="Debates that came of the one with this id.")


class MessagesQuery(Query):
    """`GET /api/debates/{id}/messages`."""

    limit: int = Field(limits.MESSAGES_PAGE_DEFAULT, ge=1, le=limits.MESSAGES_PAGE)
    offset: int = Field(0, ge=0, le=limits.MOST_OFFSET)


class EventsQuery(Query):
    """`GET /api/debates/{id}/events`."""

    since: int = Field(0, ge=0, le=2**53, description="Events after this `seq`.")
    limit: int = Field(limits.EVENTS_PAGE, ge=1, le=limits.EVENTS_PAGE)
    wait: float = Field(0, ge=0, le=limits.LONGEST_WAIT, description="Wait up to so many seconds for the first one.")


class SpendingQuery(Query):
    """`GET /api/usage`."""

    days: int = Field(limits.DAYS_DEFAULT, ge=1, le=limits.MOST_DAYS, description="So many days, up to today (UTC).")


class ModelsQuery(Query):
    """`GET /api/agents/models`."""

    type: str | None = Field(None, max_length=limits.LONGEST_NAME, description="Of this provider only.")


class SourceQuery(Query):
    """`POST /api/sources`."""

    name: Text = Field("", description="Of the file.")


class ExportQuery(Query):
    """`GET /api/debates/{id}/export/{format}`."""

    table: Table = Field(Table.ARGUMENT, description="All of it, or one kind of row.")


Model = TypeVar("Model", bound=Query)


def parse(model: type[Model], req: falcon.Request) -> Model:
    """The parameters of `req`; raises `ValidationFailed` naming each wrong one."""
    given: dict[str, str] = {}
    twice = []
    for name, value in req.params.items():
        if name not in model.model_fields:
            continue
        if isinstance(value, list):
            twice.append(Problem(name, "is given more than once"))
        else:
            given[name] = value
    if twice:
        raise ValidationFailed.of(*twice)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise ValidationFailed.of(*problems(error)) from None

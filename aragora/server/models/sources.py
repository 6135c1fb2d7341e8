"""Files and pages as text."""

from pydantic import BaseModel, Field


class SourceAnswer(BaseModel):
    """The text of a document, as the `context` of a debate takes it."""

    name: str
    type: str = Field(description="Its media type.")
    text: str
    characters: int = Field(description="Those of the whole; `text` has up to 100,000.")
    cut: bool = Field(description="Whether `text` is not the whole.")

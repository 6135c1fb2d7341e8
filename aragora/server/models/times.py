"""Times as they are answered."""

from typing import Annotated

from pydantic import Field

Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-01-31T09:30:00.123Z"])]
"""RFC 3339, in UTC."""

Day = Annotated[str, Field(json_schema_extra={"format": "date"}, examples=["2026-01-31"])]
"""RFC 3339, in UTC."""

"""The forms in which a debate can be downloaded."""

from enum import StrEnum


class Format(StrEnum):
    """Named as in the address of the download and as the file's extension."""

    JSON = "json"
    CSV = "csv"
    HTML = "html"
    TXT = "txt"
    MD = "md"


class Table(StrEnum):
    """What a CSV file holds: one kind of row."""

    SUMMARY = "summary"
    MESSAGES = "messages"
    CRITIQUES = "critiques"
    VOTES = "votes"
    USAGE = "usage"

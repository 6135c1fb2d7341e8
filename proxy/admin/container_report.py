"""What the process that follows containers tells, for status and metrics."""

from typing import Any

from proxy.admin.command_body import Refused
from proxy.observe.reports import Reports


def note_containers(given: dict[str, Any], reports: Reports) -> dict[str, Any]:
    """Keep a report in place of the last one. Raises Refused."""
    if not all(isinstance(fault, str) for fault in given["faults"]):
        raise Refused(400, "faults: expected a list of texts")
    try:
        reports.note_containers(given)
    except ValueError as problem:
        raise Refused(400, f"containers: {problem}; report fewer faults") from None
    return {"done": "noted", "behind": []}

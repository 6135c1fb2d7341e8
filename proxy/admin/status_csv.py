"""/status.csv: a line for each peer of each route, for spreadsheets and scripts that read no JSON."""

import csv
import io
from typing import Any

COLUMNS = (
    *("route", "peer", "state", "since", "fault", "outages", "downtime", "requests", "1xx", "2xx", "3xx", "4xx", "5xx"),
    *("0xx", "seconds", "received", "sent", "retries", "busy", "limit", "idle", "queued"),
)


def status_csv(page: dict[str, Any]) -> bytes:
    """The routes of the status document; a route without peers has one line. `queued` is of the route."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore")
    writer.writeheader()
    for route in page["routes"]:
        for peer in route["peers"] or [{"traffic": route["traffic"]}]:
            traffic = peer["traffic"]
            writer.writerow(
                {**traffic, **traffic["statuses"], **peer, "route": route["name"], "queued": route["queued"]}
            )
    return text.getvalue().encode()

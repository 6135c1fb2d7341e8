"""A reading of /status.json as text: `status` shows one, `top` a series."""

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from proxy.commands.statistics import Reading, percentiles, rate, seconds, size

_COLOURS = {"up": "green", "draining": "yellow", "ejected": "red", "down": "red"}
_MOST_ROWS = 8


def view(before: Reading | None, now: Reading) -> RenderableType:
    """The whole view, with rates since `before`, or since the start without it."""
    return Group(*_parts(before, now))


def _parts(before: Reading | None, now: Reading) -> Iterator[RenderableType]:
    yield _heading(now)
    yield _traffic(before, now)
    if now["maintenance"]["all"] or now["maintenance"]["routes"]:
        where = "all routes" if now["maintenance"]["all"] else ", ".join(now["maintenance"]["routes"])
        yield Text(f"maintenance: {where}", style="bold yellow")
    if now["routes"]:
        yield _routes(now)
    for part in (
        _leaving(now),
        _failures(before, now),
        _requests("slowest", now),
        _requests("failing", now),
        _tunnels(now),
        _certificates(now),
    ):
        if part is not None:
            yield part


def _heading(now: Reading) -> Text:
    draining = sum(worker["draining"] for worker in now["workers"])
    behind = [str(worker["pid"]) for worker in now["workers"] if not worker["current"] and not worker["draining"]]
    text = Text(f"aragora-proxy {now['version']}", style="bold")
    text.append(f"  up {seconds(now['uptime_seconds'])}  {len(now['workers']) - draining} workers", style="not bold")
    if draining:
        text.append(f", {draining} draining", style="yellow")
    if behind:
        text.append(f", {', '.join(behind)} not on the newest overrides", style="red")
    if now["master"]["replaces"]:
        text.append(f", master {now['master']['replaces']} is being replaced", style="yellow")
    return text


def _traffic(before: Reading | None, now: Reading) -> Table:
    table = Table.grid(padding=(0, 3))
    start: Reading = {"now": now["now"] - now["uptime_seconds"]}
    since = before or start
    half, most, nearly = percentiles(before, now, (0.5, 0.95, 0.99))
    failing = rate(since, now, "statuses", "5xx") + rate(since, now, "statuses", "0xx")
    open_now = now["connections"]
    cells = (
        ("requests", f"{rate(since, now, 'requests'):.1f}/s"),
        ("failing", f"{failing:.1f}/s"),
        ("p50", seconds(half)),
        ("p95", seconds(most)),
        ("p99", seconds(nearly)),
        ("in", f"{size(rate(since, now, 'totals', 'received'))}/s"),
        ("out", f"{size(rate(since, now, 'totals', 'sent'))}/s"),
        ("connections", f"{open_now['active']} active, {open_now['idle']} idle, {open_now['tunnel']} WebSockets"),
        ("waiting", f"{now['requests_retry_waiting'] + now['requests_queued']}"),
    )
    for _ in cells:
        table.add_column()
    table.add_row(*(Text(name, style="dim") for name, _ in cells))
    table.add_row(*(Text(value, style="bold") for _, value in cells))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0), header_style="dim"
    )
    for column in columns:
        number = column.startswith(">")
        table.add_column(column.lstrip(">"), justify="right" if number else "left", overflow="fold")
    return table


def _routes(now: Reading) -> Table:
    table = _table("routes", "route", "peer", "state", ">weight", ">busy", ">idle", ">connects", ">reuses", ">failures")
    for route in now["routes"]:
        name = route["name"] + "".join(f" ({what})" for what in ("maintenance", "paused") if route[what])
        if route["answer"]:
            table.add_row(Text(name), Text(route["answer"], style="dim"))
        for peer in route["peers"]:
            state = Text(peer["state"], style=_COLOURS.get(peer["state"], "dim"))
            table.add_row(
                Text(name),
                Text(peer["peer"]),
                state,
                *_counts(peer, "weight", "busy", "idle", "connects", "reuses", "failures"),
            )
            name = ""
    return table


def _counts(row: dict[str, Any], *names: str) -> list[str]:
    return [f"{row[name]}" for name in names]


def _leaving(now: Reading) -> Table | None:
    if not now["leaving"]:
        return None
    table = _table("removed peers", "peer", ">connections still busy")
    for peer in now["leaving"]:
        table.add_row(Text(peer["peer"]), str(peer["busy"]))
    return table


def _failures(before: Reading | None, now: Reading) -> Table | None:
    if not now["failures"]:
        return None
    table = _table("failures by reason", "reason", "side", ">count", ">since", "meaning")
    earlier = {row["reason"]: row["count"] for row in before["failures"]} if before else {}
    for row in now["failures"][:_MOST_ROWS]:
        new = row["count"] - earlier.get(row["reason"], 0) if before else 0
        table.add_row(
            Text(row["reason"], style="yellow" if row["limit"] else ""),
            row["side"],
            str(row["count"]),
            Text(f"+{new}" if new else "", style="red"),
            Text(row["message"], style="dim"),
        )
    return table


def _requests(kind: str, now: Reading) -> Table | None:
    if not now[kind]:
        return None
    table = _table(
        f"{kind} recent requests", ">ago", ">took", ">status", "request", "client", "upstream", "reason", "state"
    )
    for row in now[kind][:_MOST_ROWS]:
        table.add_row(
            seconds(row["ago"]),
            seconds(row["seconds"]),
            str(row["status"]),
            Text(f"{row['method']} {row['target']}"),
            _client(row),
            Text(row["upstream"]),
            Text(row["reason"], style="red"),
            row["state"],
        )
    return table


def _client(row: dict[str, Any]) -> Text:
    """The client's address, which is shown only with the right to send commands."""
    return Text("not shown", style="dim") if row["client"] is None else Text(row["client"])


def _tunnels(now: Reading) -> Table | None:
    if not now["tunnels"]:
        return None
    table = _table(
        f"WebSockets ({now['connections']['tunnel']} open)",
        ">for",
        "path",
        "client",
        "upstream",
        ">to client",
        ">from client",
        "state",
    )
    for row in now["tunnels"][:_MOST_ROWS]:
        table.add_row(
            seconds(now["now"] - row["since"]),
            Text(row["target"]),
            _client(row),
            Text(row["upstream"]),
            size(row["to_client"]),
            size(row["to_upstream"]),
            row["state"],
        )
    return table


def _certificates(now: Reading) -> Table | None:
    if not now["certificates"]:
        return None
    table = _table("certificates", "name", ">days left", "files")
    faults = {row["name"]: row["fault"] for row in now["certificate_faults"]}
    for row in now["certificates"]:
        days = Text(str(row["days"]), style="red" if row["days"] < 14 else "")
        table.add_row(Text(row["name"]), days, Text(faults.get(row["name"], ""), style="red"))
    return table

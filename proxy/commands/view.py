"""A reading of /status.json as text: `status` shows one, `top` a series."""

from collections.abc import Iterator
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from proxy.commands.columns import Column, Section, heights
from proxy.commands.statistics import Reading, percentiles, rate, seconds, size

_COLOURS: Final = {"up": "green", "draining": "yellow", "ejected": "red", "down": "red"}
_MOST_ROWS: Final = 8

_ROUTES: Final = (
    Column("route", least=16),
    Column("peer", least=21),
    Column("state"),
    Column("weight", right=True, rank=3),
    Column("busy", right=True),
    Column("idle", right=True, rank=2),
    Column("connects", right=True, rank=4),
    Column("reuses", right=True, rank=5),
    Column("failures", right=True, rank=1),
)
_LEAVING: Final = (Column("peer", least=21), Column("connections still busy", right=True))
_FAILURES: Final = (
    Column("reason"),
    Column("side", rank=2),
    Column("count", right=True),
    Column("since", right=True, rank=3),
    Column("meaning", rank=1, least=24),
)
_REQUESTS: Final = (
    Column("ago", right=True),
    Column("took", right=True),
    Column("status", right=True),
    Column("request", least=16),
    Column("client", rank=3, least=9),
    Column("upstream", rank=2, least=19),
    Column("reason", rank=1),
    Column("state", rank=4),
)
_TUNNELS: Final = (
    Column("for", right=True),
    Column("path", least=16),
    Column("client", rank=2, least=9),
    Column("upstream", rank=1, least=19),
    Column("to client", right=True),
    Column("from client", right=True),
    Column("state", rank=3),
)
_CERTIFICATES: Final = (Column("name", least=21), Column("days left", right=True), Column("files", rank=1, least=24))


def view(before: Reading | None, now: Reading, width: int | None = None, height: int | None = None) -> RenderableType:
    """The whole view, with rates since `before`, or since the start without it.

    It takes at most `width` characters and `height` lines; without them nothing is left out for lack of room.
    """
    heading = [_heading(now), *_lines(_traffic(before, now), width)]
    if now["maintenance"]["all"] or now["maintenance"]["routes"]:
        where = "all routes" if now["maintenance"]["all"] else ", ".join(now["maintenance"]["routes"])
        heading.append(Text(f"maintenance: {where}", style="bold yellow"))
    shared = now["shared_limits"]
    if shared["state"] == "lost":
        lost = f"shared limits: {shared['store']} lost for {seconds(now['now'] - shared['lost_since'])}"
        heading.append(Text(f"{lost}: {shared['fault']}".removesuffix(": "), style="red"))
    for line in heading:
        line.no_wrap, line.overflow = True, "ellipsis"
    sections = [section for section in _sections(before, now) if section.rows]
    rows = heights(sections, None if height is None else height - len(heading))
    tables = [section.table(count, width) for section, count in zip(sections, rows, strict=True) if count]
    return Group(*heading, *tables)


def _sections(before: Reading | None, now: Reading) -> Iterator[Section]:
    """What matters most first: a low terminal may have no room for all."""
    yield Section("routes", _ROUTES, list(_routes(now)))
    leaving = [(Text(peer["peer"]), Text(str(peer["busy"]))) for peer in now["leaving"]]
    yield Section("removed peers", _LEAVING, leaving)
    yield Section("failures by reason", _FAILURES, list(_failures(before, now)), _MOST_ROWS)
    yield Section("failing recent requests", _REQUESTS, list(map(_request, now["failing"])), _MOST_ROWS)
    yield Section("slowest recent requests", _REQUESTS, list(map(_request, now["slowest"])), _MOST_ROWS)
    title = f"WebSockets, {now['connections']['tunnel']} open"
    yield Section(title, _TUNNELS, [_tunnel(now, row) for row in now["tunnels"]], _MOST_ROWS)
    yield Section("certificates", _CERTIFICATES, list(_certificates(now)))


def _heading(now: Reading) -> Text:
    draining = sum(worker["draining"] for worker in now["workers"])
    behind = [str(worker["pid"]) for worker in now["workers"] if not worker["current"] and not worker["draining"]]
    text = Text(f"aragora-proxy {now['version']}", style="bold")
    serving = len(now["workers"]) - draining
    workers = "1 worker" if serving == 1 else f"{serving} workers"
    text.append(f"  up {seconds(now['uptime_seconds'])}  {workers}", style="not bold")
    if now["shared_limits"]["state"] == "linked":
        text.append("  limits shared", style="not bold")
    if draining:
        text.append(f", {draining} draining", style="yellow")
    if behind:
        text.append(f", {', '.join(behind)} not on the newest overrides", style="red")
    if now["master"]["replaces"]:
        text.append(f", master {now['master']['replaces']} is being replaced", style="yellow")
    return text


def _traffic(before: Reading | None, now: Reading) -> dict[str, str]:
    start: Reading = {"now": now["now"] - now["uptime_seconds"]}
    since = before or start
    half, most, nearly = percentiles(before, now, (0.5, 0.95, 0.99))
    failing = rate(since, now, "statuses", "5xx") + rate(since, now, "statuses", "0xx")
    open_now = now["connections"]
    return {
        "requests": f"{rate(since, now, 'requests'):.1f}/s",
        "failing": f"{failing:.1f}/s",
        "p50": seconds(half),
        "p95": seconds(most),
        "p99": seconds(nearly),
        "waiting": f"{now['requests_retry_waiting'] + now['requests_queued']}",
        "connections": f"{open_now['active']} active, {open_now['idle']} idle, {open_now['tunnel']} WebSockets",
        "in": f"{size(rate(since, now, 'totals', 'received'))}/s",
        "out": f"{size(rate(since, now, 'totals', 'sent'))}/s",
    }


def _lines(figures: dict[str, str], width: int | None) -> list[Text]:
    """Figures with their names, as many a line as fit."""
    lines = [Text()]
    for name, value in figures.items():
        figure = Text.assemble((f"{name} ", "dim"), (value, "bold"))
        if lines[-1] and width is not None and len(lines[-1]) + len(figure) + 2 > width:
            lines.append(Text())
        lines[-1].append("  " if lines[-1] else "").append_text(figure)
    return lines


def _routes(now: Reading) -> Iterator[list[Text]]:
    for route in now["routes"]:
        name = route["name"] + "".join(f" ({what})" for what in ("maintenance", "paused") if route[what])
        if route["answer"]:
            yield [Text(name), Text(route["answer"], style="dim"), *[Text()] * (len(_ROUTES) - 2)]
        for peer in route["peers"]:
            counts = ("weight", "busy", "idle", "connects", "reuses", "failures")
            state = Text(peer["state"], style=_COLOURS.get(peer["state"], "dim"))
            yield [Text(name), Text(peer["peer"]), state, *(Text(str(peer[count])) for count in counts)]
            name = ""


def _failures(before: Reading | None, now: Reading) -> Iterator[list[Text]]:
    earlier = {row["reason"]: row["count"] for row in before["failures"]} if before else {}
    for row in now["failures"]:
        new = row["count"] - earlier.get(row["reason"], 0) if before else 0
        yield [
            Text(row["reason"], style="yellow" if row["limit"] else ""),
            Text(row["side"]),
            Text(str(row["count"])),
            Text(f"+{new}" if new else "", style="red"),
            Text(row["message"], style="dim"),
        ]


def _request(row: dict[str, Any]) -> list[Text]:
    return [
        Text(seconds(row["ago"])),
        Text(seconds(row["seconds"])),
        Text(str(row["status"])),
        Text(f"{row['method']} {row['target']}"),
        _client(row),
        Text(row["upstream"]),
        Text(row["reason"], style="red"),
        Text(row["state"]),
    ]


def _client(row: dict[str, Any]) -> Text:
    """The client's address, which is shown only with the right to send commands."""
    return Text("not shown", style="dim") if row["client"] is None else Text(row["client"])


def _tunnel(now: Reading, row: dict[str, Any]) -> list[Text]:
    return [
        Text(seconds(now["now"] - row["since"])),
        Text(row["target"]),
        _client(row),
        Text(row["upstream"]),
        Text(size(row["to_client"])),
        Text(size(row["to_upstream"])),
        Text(row["state"]),
    ]


def _certificates(now: Reading) -> Iterator[list[Text]]:
    """The next to expire first."""
    faults = {row["name"]: row["fault"] for row in now["certificate_faults"]}
    for row in sorted(now["certificates"], key=lambda row: row["days"]):
        days = Text(str(row["days"]), style="red" if row["days"] < 14 else "")
        yield [Text(row["name"]), days, Text(faults.get(row["name"], ""), style="red")]

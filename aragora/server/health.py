"""Whether the process lives, and whether it should be sent requests.

Liveness never asks anybody: a database that is away must not make a supervisor kill every worker. Readiness asks for
everything a request would need, and names each answer.
"""

import time

import falcon

from aragora.errors import AragoraError, NotFound
from aragora.server import build, forwarding, models, process
from aragora.server.context import RequestContext
from aragora.server.process import Process
from aragora.server.resources import Resource, answer
from aragora.storage import Scope

_imported = time.monotonic()


class Alive(Resource):
    """`/healthz`."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """200 while the process serves."""
        answer(resp, models.Alive, {"status": "ok"})


class Health(Resource):
    """`/health`."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Liveness with version, build and uptime."""
        content = {
            "status": "ok",
            "version": build.version(),
            "build": build.digest(),
            "uptime_seconds": round(time.monotonic() - _imported, 3),
        }
        answer(resp, models.Health, content)


class Ready(Resource):
    """`/ready`."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """200 when a request would succeed, else 503; each check by name."""
        found = checks()
        ready = all(check.ok for check in found.values())
        resp.status = falcon.HTTP_200 if ready else falcon.HTTP_503
        content = {"status": "ready" if ready else "unavailable", "checks": found}
        answer(resp, models.Readiness, content)


class Scrape(Resource):
    """`/metrics`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """What Prometheus scrapes, directly: a request that comes through a proxy is from outside and gets 404.

        An administrator's token opens it from anywhere.
        """
        if forwarding.is_forwarded(req.env):
            principal = RequestContext.of(req.env).principal
            if principal is None or not (principal.name and principal.may(Scope.ADMIN)):
                raise NotFound("there is nothing at this address")
        resp.content_type = "text/plain; version=0.0.4; charset=utf-8"
        resp.data = process.current().metrics.render()


def checks() -> dict[str, models.Check]:
    """Every condition of readiness; a failure's details stay in the log."""
    try:
        here = process.current()
    except AragoraError as error:
        process.log.warning("not ready: %s", error.message)
        return {"store": models.Check(ok=False, detail="does not answer")}
    found = {"store": _store(here), "migrations": _migrations(here)}
    if here.settings.redis_url:
        status = here.feed.status()
        lost = status.mode != "redis"
        detail = "lost; changes are found by polling" if lost else "answers"
        found["redis"] = models.Check(ok=not lost, detail=detail)
    found["draining"] = models.Check(ok=not here.draining, detail="draining" if here.draining else "serving")
    return found


def _store(here: Process) -> models.Check:
    try:
        here.store.ping()
    except AragoraError as error:
        process.log.warning("not ready: %s", error.message)
        return models.Check(ok=False, detail="does not answer")
    return models.Check(ok=True, detail="answers")


def _migrations(here: Process) -> models.Check:
    try:
        current = here.store.migrations_current()
    except AragoraError:
        return models.Check(ok=False, detail="unknown: the store does not answer")
    return models.Check(ok=current, detail="current" if current else "pending: run `aragora migrate`")

"""How a resource waits for a debate: in its own thread, or, where the server is asynchronous, by leaving that to it."""

import falcon

from aragora.server import process
from aragora.server.context import RequestContext
from aragora.server.stream import EventStream, Outcome, ServerSent, Wait


def wait(req: falcon.Request, wanted: Wait) -> Outcome | None:
    """How `wanted` ended; None where the server waits. What is answered then goes nowhere: the request is asked again.

    Raises `AragoraError`.
    """
    context = RequestContext.of(req.env)
    context.unhurried = True
    if context.outcome is not None or not context.asynchronous:
        return context.outcome or wanted.block(process.current().watchers)
    context.deferred = wanted
    return None


def send(req: falcon.Request, resp: falcon.Response, sent: ServerSent) -> None:
    """Answer with a stream; raises `AragoraError` where it cannot begin."""
    context = RequestContext.of(req.env)
    context.unhurried = True
    resp.content_type = "text/event-stream"
    resp.set_header("Cache-Control", "no-store")
    # Gateways that buffer answers pass this one on as it comes.
    resp.set_header("X-Accel-Buffering", "no")
    if req.method == "HEAD" or context.asynchronous:
        # Not the empty body, which has a length: a stream has none to tell.
        resp.stream = iter(())
        context.deferred = sent if req.method != "HEAD" else None
        return
    resp.stream = EventStream(process.current().watchers, sent)

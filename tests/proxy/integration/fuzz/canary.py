"""A client that behaves, among those that do not: whatever it gets must be its own."""

import http.client

from tests.proxy.integration.fuzz.ledger import SECRET, Ledger, Message, Verdict

_PATIENCE = 20.0


def ask_as_canary(
    port: int, ledger: Ledger, identity: str, connection: http.client.HTTPConnection | None = None
) -> None:
    """One request with a secret of its own; on a kept connection, if one is given."""
    body = b"body of " + identity.encode()
    message = Message(identity, "POST", f"/plain/canary/{identity}", body, Verdict.READ)
    ledger.expect(message)
    asking = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    try:
        asking.request("POST", message.target, body, {"Cookie": (SECRET + identity.encode()).decode()})
        answer = asking.getresponse()
        got = answer.read()
        if (answer.status, got) != (200, b"seen " + identity.encode()):
            ledger.fault(f"the canary {identity} got {answer.status} {got[:80]!r}")
    except (OSError, http.client.HTTPException) as error:
        ledger.fault(f"the canary {identity} got no answer: {error!r}")
    finally:
        if connection is None:
            asking.close()
    if ledger.times_read(identity) != 1:
        ledger.fault(f"the canary {identity} was read {ledger.times_read(identity)} times")
    ledger.forget([identity])

"""Access to the admin address.

Commands and private details (clients' addresses, query strings) need proof: a connection to the gateway's own unix
socket, which file permissions protect, or the token. A loopback address proves nothing: any account of the machine can
connect to it, and an application can be made to.

Everything else is for this machine. There the risk is a browser that displays an attacker's page:

- The page must not read responses under a name that was pointed at this address (DNS rebinding): Host has to be an IP
  address, localhost, or a name without a dot, none of which an attacker can own in the public DNS.
- It must not send commands, not even from a browser that knows the token: they are JSON, which a browser sends to
  another origin only after a preflight, which fails here; and Origin and Sec-Fetch-Site, if sent, must name the status
  page itself.

With the operator's token (`admin_token_file`) everything but health and the page's files requires it, under any Host.
Otherwise the gateway generates a token at each start, which only its own socket reveals.
"""

import hmac
import re

from proxy.admin.response import AdminRequest, AdminResponse, refusal

_TRUSTED_HOST = re.compile(rb"(?:localhost|\d{1,3}(?:\.\d{1,3}){3}|\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]+)(?::\d{1,5})?")


def check_host(asked: AdminRequest) -> AdminResponse | None:
    """Refuse host names that an attacker may own."""
    if asked.host is not None and not _TRUSTED_HOST.fullmatch(asked.host):
        return refusal(403, "Host not allowed: use an IP address or localhost, or set admin_token_file")
    return None


def has_token(asked: AdminRequest, token: bytes) -> bool:
    """Whether the token was presented."""
    scheme, _, given = asked.field(b"authorization").partition(b" ")
    return bool(token) and scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), token)


def no_token(reason: str) -> AdminResponse:
    """The response to a request without the token."""
    return refusal(401, f"{reason}: Authorization: Bearer TOKEN", b"WWW-Authenticate: Bearer\r\n")


def check_origin(asked: AdminRequest) -> AdminResponse | None:
    """Refuse commands that a page of another site may have sent."""
    kind = asked.field(b"content-type").partition(b";")[0].strip().lower()
    if kind != b"application/json":
        return refusal(415, "commands are JSON: send Content-Type: application/json")
    site = asked.field(b"sec-fetch-site")
    if site and site not in (b"same-origin", b"none"):
        return refusal(403, "commands from pages of other sites are not allowed")
    origin = asked.field(b"origin")
    if origin and origin.partition(b"://")[2] != (asked.host or b""):
        return refusal(403, "commands from other origins are not allowed")
    return None

"""Who may ask the admin address for what.

Commands, and what is private (clients' addresses, query strings), are for those who have proved that they may command:
by a connection to the gateway's own unix socket, which its permissions allow, or by the token. Any account of the
machine can connect to a loopback address, and an application can be made to.

The rest is for this machine, and the danger is a browser on it that shows a stranger's page:

- The page must not read answers through a name that was pointed at this address (DNS rebinding): the Host field has
  to be an IP address, localhost, or a name without a dot, none of which a stranger can own in the public DNS.
- It must not send commands, not even from a browser that knows the token: they take JSON, which a browser sends to
  another origin only after a preflight that is refused here, and whatever names its origin has to come from the status
  page itself (Origin, Sec-Fetch-Site).

With a token of the operator's (`admin_token_file`) everything but health and the page's own files asks for it, under
any Host. Without one the gateway makes a token at its start, which is told over its own socket alone.
"""

import hmac
import re

from proxy.admin.response import AdminRequest, AdminResponse, refusal

_TRUSTED_HOST = re.compile(rb"(?:localhost|\d{1,3}(?:\.\d{1,3}){3}|\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]+)(?::\d{1,5})?")


def check_host(asked: AdminRequest) -> AdminResponse | None:
    """Refuse names that a stranger may own."""
    if asked.host is not None and not _TRUSTED_HOST.fullmatch(asked.host):
        return refusal(403, "this Host is not served here: use an IP address or localhost, or set admin_token_file")
    return None


def has_token(asked: AdminRequest, token: bytes) -> bool:
    """Whether the token was presented."""
    scheme, _, given = asked.field(b"authorization").partition(b" ")
    return bool(token) and scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), token)


def no_token(reason: str) -> AdminResponse:
    """Refuse who did not present the token."""
    return refusal(401, f"{reason}: Authorization: Bearer TOKEN", b"WWW-Authenticate: Bearer\r\n")


def check_origin(asked: AdminRequest) -> AdminResponse | None:
    """Refuse commands that a page from elsewhere may have sent."""
    kind = asked.field(b"content-type").partition(b";")[0].strip().lower()
    if kind != b"application/json":
        return refusal(415, "commands are JSON: send Content-Type: application/json")
    site = asked.field(b"sec-fetch-site")
    if site and site not in (b"same-origin", b"none"):
        return refusal(403, "commands from other sites' pages are refused")
    origin = asked.field(b"origin")
    if origin and origin.partition(b"://")[2] != (asked.host or b""):
        return refusal(403, "commands from other origins are refused")
    return None

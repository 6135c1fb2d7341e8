"""Who may ask the admin address for what.

Without a token the address is for this machine, and the danger is a browser on it that shows a stranger's page:

- The page must not read answers through a name that was pointed at this address (DNS rebinding): the Host field has
  to be an IP address, localhost, or a name without a dot, none of which a stranger can own in the public DNS.
- It must not send commands: they take JSON, which a browser sends to another origin only after a preflight that is
  refused here, and whatever names its origin has to come from the status page itself (Origin, Sec-Fetch-Site).

With a token (`admin_token_file`) everything but health and the page's own files asks for it, under any Host.
"""

import hmac
import re

from proxy.admin.answer import Answer, Asked, refusal

_TRUSTED_HOST = re.compile(rb"(?:localhost|\d{1,3}(?:\.\d{1,3}){3}|\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]+)(?::\d{1,5})?")


def check_host(asked: Asked) -> Answer | None:
    """Refuse names that a stranger may own."""
    if asked.host is not None and not _TRUSTED_HOST.fullmatch(asked.host):
        return refusal(403, "this Host is not served here: use an IP address or localhost, or set admin_token_file")
    return None


def check_token(asked: Asked, token: bytes) -> Answer | None:
    """Refuse who does not present the token."""
    scheme, _, given = asked.field(b"authorization").partition(b" ")
    if token and scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), token):
        return None
    return refusal(401, "this address asks for a token: Authorization: Bearer TOKEN", b"WWW-Authenticate: Bearer\r\n")


def check_origin(asked: Asked) -> Answer | None:
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

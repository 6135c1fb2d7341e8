"""Authentication of connections instead of requests: NTLM and Negotiate (RFC 4559), contrary to RFC 9110 section 11.

Once authenticated, every request on the connection counts as that user's, no matter which client sent it.
"""

import re

_CONNECTION_BOUND = re.compile(rb"(?:^|,)[ \t]*(?:nego|ntlm)", re.IGNORECASE)  # Negotiate, Nego2, NTLM


def binds_connection(value: bytes) -> bool:
    """Whether an Authorization, WWW-Authenticate or Proxy-Authenticate field names such a scheme."""
    return _CONNECTION_BOUND.search(value) is not None

"""Authentication of a connection instead of a request: NTLM and Negotiate (RFC 4559), against RFC 9110 section 11.

What was proved once then holds for every request on that connection, whoever sends it.
"""

import re

_CONNECTION_BOUND = re.compile(rb"(?:^|,)[ \t]*(?:nego|ntlm)", re.IGNORECASE)  # Negotiate, Nego2, NTLM


def binds_connection(value: bytes) -> bool:
    """Whether an Authorization, WWW-Authenticate or Proxy-Authenticate field has to do with such a scheme."""
    return _CONNECTION_BOUND.search(value) is not None

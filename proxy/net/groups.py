"""Key exchange over elliptic curves alone, whether or not Python's `ssl` can say so.

OpenSSL accepts finite-field groups (ffdhe2048 to ffdhe8192, RFC 7919) of every TLS 1.3 client. One exchange with the
largest takes a server about 130 ms against 0.1 ms for X25519, and its client can replay a recorded hello for nothing:
thirty a second stop a worker. Browsers do not offer them.

`ssl` names groups only since Python 3.15. Before that OpenSSL is called directly, through the library that `ssl` itself
is linked to; the interpreters that this concerns all have the same layout of a context.
"""

import ctypes
import functools
import ssl
import sys

GROUPS = ("X25519MLKEM768", "X25519", "P-256", "P-384", "P-521")
"""Best first. The last is there for clients' certificates on that curve, which TLS 1.2 takes only if it is named."""

_LISTS = tuple(":".join(GROUPS[left_out:]) for left_out in range(3))
"""OpenSSL refuses a list with an unknown name: the first needs OpenSSL 3.5, and FIPS modules may have only the last."""

_EVERYBODYS = "prime256v1"  # mandatory to implement (RFC 8446 section 9.1)
_SET_GROUPS_LIST = 92  # SSL_CTRL_SET_GROUPS_LIST


def restrict_groups(context: ssl.SSLContext) -> None:
    """Let a context agree on nothing but `GROUPS`, as far as OpenSSL knows them.

    Where they cannot be named it is P-256 alone: clients that expect X25519 then need one more round trip.
    """
    if not any(_set(context, names) for names in _LISTS):
        context.set_ecdh_curve(_EVERYBODYS)


def _set(context: ssl.SSLContext, names: str) -> bool:
    if sys.version_info >= (3, 15):
        try:
            context.set_groups(names)
        except ssl.SSLError:
            return False
        return True
    openssl = _openssl()
    if openssl is None:
        return False
    # The first member of a context's object is OpenSSL's own context.
    native = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    done = openssl.SSL_CTX_ctrl(native, ctypes.c_int(_SET_GROUPS_LIST), ctypes.c_long(0), names.encode())
    openssl.ERR_clear_error()  # or the next call of `ssl` reports it as its own
    return bool(done == 1)


@functools.cache
def _openssl() -> ctypes.CDLL | None:
    """The library behind `ssl`, and no other that may be loaded beside it; None if it cannot be called."""
    import _ssl

    if sys.implementation.name != "cpython":
        return None
    try:
        library = ctypes.CDLL(getattr(_ssl, "__file__", None))
        library.OpenSSL_version_num.restype = ctypes.c_ulong
        library.SSL_CTX_ctrl.restype = ctypes.c_long
        same = library.OpenSSL_version_num() == ssl.OPENSSL_VERSION_NUMBER
        return library if same and library.ERR_clear_error else None
    except (OSError, AttributeError):
        return None

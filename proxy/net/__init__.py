"""Bytes to sockets and back: the only code that touches one."""

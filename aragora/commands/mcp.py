"""`mcp`: the council as tools for assistants, by the Model Context Protocol (https://modelcontextprotocol.io).

A program of its own between an assistant and a server of ours: it speaks MCP on standard input and output, or over HTTP
on loopback, and asks the server that ARAGORA_URL names.
"""

import argparse
import ipaddress

from aragora.commands.client import Client
from aragora.commands.exit_codes import FINE, Parser, UsageError
from aragora.errors import SettingsError
from aragora.settings import Settings


def add_mcp(mcp: Parser) -> None:
    """The arguments of `mcp`."""
    mcp.add_argument("--url", help="server (default: ARAGORA_URL, else http://127.0.0.1:8000)")
    mcp.add_argument(
        "--http", metavar="HOST:PORT", help="serve streamable HTTP at /mcp there, on loopback; default: standard input"
    )
    mcp.set_defaults(run=run)


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Serve until the assistant leaves, or until Ctrl-C."""
    address = None if given.http is None else _address(given.http)
    try:
        from aragora.commands.council import Council, server
    except ImportError as error:
        raise SettingsError(f"aragora mcp needs the library mcp ({error}): install aragora-gateway[mcp]") from None
    Client(settings, given.url).close()  # a bad address is reported now, not at the first question
    serving = server(Council(lambda: Client(settings, given.url)))
    if address is None:
        serving.run("stdio")
    else:
        serving.run("streamable-http", host=address[0], port=address[1])
    return FINE


def _address(text: str) -> tuple[str, int]:
    """HOST:PORT on loopback: every client that reaches it asks with our token."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback or not port.isdecimal() or int(port) > 65535:
        raise UsageError(
            f"--http: {text[:80]!r} does not fit: write 127.0.0.1:PORT; every client that reaches it uses your token"
        )
    return host, int(port)

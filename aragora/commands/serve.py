"""`serve`: the development server."""

import argparse
import dataclasses
import logging

from aragora.commands.exit_codes import FINE, Parser
from aragora.settings import Settings


def add_serve(serve: Parser) -> None:
    """The arguments of `serve`."""
    serve.add_argument("--bind", metavar="HOST:PORT", help="default: ARAGORA_BIND, else 127.0.0.1:8080")
    serve.add_argument("--no-reload", action="store_true", help="keep the code that was loaded first")
    serve.set_defaults(run=run)


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Serve until Ctrl-C or TERM."""
    # Imported here: no other command needs a server's modules.
    from aragora.server import dev

    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if given.bind:
        settings = dataclasses.replace(settings, bind=given.bind)
    dev.serve(settings, reload=not given.no_reload)
    return FINE

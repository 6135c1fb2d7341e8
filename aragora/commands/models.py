"""`models`: what the providers offer."""

import argparse
import json

from aragora.commands.client import Client
from aragora.commands.debates import add_server
from aragora.commands.exit_codes import FAILED, FINE, Parser
from aragora.settings import Settings
from aragora.text import printable


def add_models(models: Parser) -> None:
    """The arguments of `models`."""
    add_server(models)
    models.add_argument("type", nargs="?", help="of this provider only, as `ollama`")
    models.set_defaults(run=run)


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Print each model as `type/model`, with the tokens it has room for; 1 when a provider does not tell."""
    found = Client(settings, given.url).models(given.type)
    if given.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        for offer in found["providers"]:
            for model in offer["models"]:
                room = f"  {model['context']} tokens" if model["context"] else ""
                mark = "  (default)" if model["id"] == offer["default"] else ""
                print(printable(f"{offer['type']}/{model['id']}{room}{mark}"))
            if offer["problem"]:
                print(printable(f"{offer['type']}: {offer['problem']}"))
    return FAILED if any(offer["problem"] for offer in found["providers"]) else FINE

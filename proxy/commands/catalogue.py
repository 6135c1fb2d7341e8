"""The commands by name, and what each does in a line.

Their code is imported when one is called: a server needs none of it.
"""

from typing import Final

IMPORT_NGINX: Final = "import-nginx"

SERVICES: Final = {
    "deploy": "make a service or replace its target once the new one is ready, and wait for the old one to drain",
    "rollout": "have a part of a service's clients served by a new target, once it is ready",
    "remove": "remove a service, and wait for its connections to end",
    "list": "list the services",
}
"""Those for services."""

RUNNING: Final = {
    "status": "show the gateway's state once",
    "top": "show it live until Ctrl-C",
    **SERVICES,
    "switch": "move routes to a new instance once it is ready, and wait for the old one's connections to end",
    "drain": "send nothing new to a peer",
    "undrain": "use a drained peer again",
    "pause": "hold the requests of a route until it goes on",
    "resume": "let the requests of a paused route go on",
    "maintenance": "start or end maintenance mode, for all routes or one",
    "reload": "read the settings again; lists mistakes if there are any",
    "token": "print the token for the status page's buttons",
}
"""Those for a running gateway."""

"""The commands by name, and what each does in a line.

Their code is imported when one is called: a server needs none of it.
"""

from typing import Final

CHECK: Final = "check"
IMPORT_NGINX: Final = "import-nginx"
INSTALL_SERVICE: Final = "install-service"
COMPLETION: Final = "completion"
MAN: Final = "man"

LOCAL: Final = {
    CHECK: "list the mistakes and risks in a file, and show what would run",
    IMPORT_NGINX: "translate nginx's configuration; remarks on lines that differ are comments",
    INSTALL_SERVICE: "write units of systemd for the gateway of a settings file, and start them",
    COMPLETION: "print what completes commands, settings and their values in a shell",
    MAN: "print a manual page, or write all of them into a directory",
}
"""Those that need no running gateway."""

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
    "containers": "make services of running containers by their labels, until it is ended",
    "purge": "remove stored responses: of an address, of all below it, with a tag, or all",
    "reload": "read the settings again; lists mistakes if there are any",
    "token": "print the token for the status page's buttons",
}
"""Those for a running gateway."""

INTRODUCTION: Final = """\
A reverse proxy for one machine: HTTP/1.1, HTTP/2, WebSocket and TLS in front of WSGI and ASGI applications.

An ADDRESS is HOST:PORT, [::1]:PORT, :PORT (this machine only) or unix:PATH. A SIZE is in bytes or ends in k, m or g;
a TIME is in seconds or ends in ms, s, m, h or d. Each flag may also be given as a variable of the environment:
ARAGORA_PROXY_BIND for --bind, with commas between several values. Flags override variables, which override the file.
"""
"""What comes first in the help and in the manual."""

"""Where the gateway listens and what it forwards to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from proxy.settings.table.row import Setting, fixed, routed
from proxy.settings.values import Address, Peer, kinds, web
from proxy.settings.values.web import Trusted

FRONT = Address("127.0.0.1", 8000)
ADMIN = Address("127.0.0.1", 9180)
NOBODY = Trusted()


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Listeners, upstreams, the admin address, and proxies in front."""

    __slots__ = ()
    GROUP: ClassVar = "Addresses"

    upstream: Annotated[
        tuple[Peer, ...],
        routed(
            kinds.PEERS,
            "address of the application: HOST:PORT or unix:PATH, over TLS https://HOST:PORT; for HTTP/2 and gRPC "
            "h2c://HOST:PORT, over TLS h2://HOST:PORT; repeat for several peers",
        ),
    ] = ()
    bind: Annotated[
        tuple[Address, ...],
        fixed(kinds.LISTENERS, "listening address, with TLS once a certificate is configured; repeat for several"),
    ] = (FRONT,)
    bind_plain: Annotated[
        tuple[Address, ...], fixed(kinds.LISTENERS, "additional listener without TLS; repeat for several")
    ] = ()
    admin: Annotated[
        Address | None,
        fixed(
            kinds.ADMIN,
            "metrics, health and the status page; commands and private details need the token; 'off': no such listener",
        ),
    ] = ADMIN
    admin_token_file: Annotated[
        Path | None,
        Setting(kinds.PATH, "file with the token that the admin address requires; needed if that address is public"),
    ] = None
    admin_socket: Annotated[
        str,
        fixed(
            kinds.ADMIN_SOCKET,
            "unix socket for commands, usable by the account that starts the gateway; 'auto': one in its runtime "
            "directory, where the command line looks for it",
        ),
    ] = "auto"
    admin_group: Annotated[str, Setting(kinds.TEXT, "group whose members may also send commands on that socket")] = ""
    socket_mode: Annotated[int, Setting(kinds.MODE, "permissions of unix sockets that the gateway creates")] = 0o660
    proxy_protocol: Annotated[
        bool, Setting(kinds.SWITCH, "expect a PROXY protocol header on connections from trusted_proxies")
    ] = False
    trusted_proxies: Annotated[
        Trusted,
        Setting(web.TRUSTED, "proxies in front whose forwarding fields are trusted; 'unix': peers on unix sockets"),
    ] = NOBODY

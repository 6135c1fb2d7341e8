"""An authority whose certificates live for minutes: pebble, which validates at the gateway's own ports."""

import json
import ssl
import urllib.request
from pathlib import Path

from benchmark.peers import Pair
from benchmark.process import Server, free_port, listens, start
from endurance.site import PATIENCE

LIFE_SECONDS = 180
"""The gateway renews after half of it, at the next of its looks, which are half a minute apart."""


class Authority:
    """Started by `open`; `directory` is what the gateway is told."""

    def __init__(self, folder: Path, pair: Pair, plain: int, secure: int) -> None:
        """`plain` and `secure`: the ports at which it validates."""
        self._folder, self._pair = folder, pair
        self._ports = {"httpPort": plain, "tlsPort": secure}
        self._listening, self._management = free_port(), free_port()
        self.directory = f"https://127.0.0.1:{self._listening}/dir"
        self._server: Server | None = None

    def open(self) -> None:
        """Run it. BenchError if it does not start."""
        config = self._folder / "pebble.json"
        config.write_text(
            json.dumps(
                {
                    "pebble": {
                        "listenAddress": f"127.0.0.1:{self._listening}",
                        "managementListenAddress": f"127.0.0.1:{self._management}",
                        "certificate": str(self._pair.cert),
                        "privateKey": str(self._pair.key),
                        "ocspResponderURL": "",
                        "externalAccountBindingRequired": False,
                        "certificateValidityPeriod": LIFE_SECONDS,
                        **self._ports,
                    }
                }
            )
        )
        command = ["pebble", "-config", str(config)]
        environ = {"PEBBLE_VA_NOSLEEP": "1"}  # it still refuses one nonce in twenty
        self._server = start("pebble", self._listening, command, folder=self._folder, core=None, environ=environ)

    def has_root(self) -> bool:
        """Whether it tells its root already: it does so at another port, which may come later."""
        return listens(self._management)

    def root(self) -> Path:
        """A file with the certificate that all of its own lead to, another at each start. OSError if it is not told."""
        context, url = ssl.create_default_context(cafile=self._pair.cert), f"https://127.0.0.1:{self._management}"
        with urllib.request.urlopen(f"{url}/roots/0", context=context, timeout=PATIENCE) as answer:
            file = self._folder / "root.pem"
            file.write_bytes(answer.read())
        return file

    def close(self) -> None:
        """End it."""
        if self._server is not None:
            self._server.stop()

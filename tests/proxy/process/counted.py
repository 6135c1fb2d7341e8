"""The gateway as it is, without cyclic garbage collection: run as `python -m tests.proxy.process.counted`.

Each worker says on the unix socket that $CENSUS names, to every caller, how many objects of which of the gateway's own
classes there are, as JSON.
"""

import gc
import json
import os
import socket
import sys
import threading
from collections import Counter

from proxy.cli import main


def census() -> dict[str, int]:
    names = (f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())
    return Counter(name for name in names if name.startswith("proxy."))


def respond(listener: socket.socket) -> None:
    while True:
        with listener.accept()[0] as caller:
            caller.sendall(json.dumps(census()).encode())


def forked() -> None:
    gc.disable()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.environ["CENSUS"])
    listener.listen()
    threading.Thread(target=respond, args=(listener,), daemon=True).start()


if __name__ == "__main__":
    os.register_at_fork(after_in_child=forked)
    sys.exit(main())

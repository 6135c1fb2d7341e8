"""Where the processes of one machine find each other."""

import json
import logging
import os
import secrets
import socket
import sys
import threading
from pathlib import Path

from aragora.storage.siblings.connection import HELLO, STALL, Audience, Malformed, Sibling, lines
from aragora.storage.words import Words

log = logging.getLogger(__name__)

DIRECTORY = "live"
SCAN = 2.0  # seconds between looks for processes that are not connected
MOST_SIBLINGS = 256
LONGEST_PATH = 100  # bytes of a socket's name that every system takes


class Siblings:
    """Every other process of this machine on the same data directory. Made after the fork."""

    def __init__(self, data_dir: Path, audience: Audience) -> None:
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self.failure = ""
        self._directory = data_dir / DIRECTORY
        self._audience = audience
        self._lock = threading.Lock()
        self._connected: dict[str, tuple[Sibling, str]] = {}  # and which of the two processes had connected
        self._closed = threading.Event()
        self._listener: socket.socket | None = None
        self._place: int | None = None

    def __len__(self) -> int:
        return len(self._connected)

    def __contains__(self, name: object) -> bool:
        return name in self._connected

    def start(self) -> None:
        """Listen, and look for the others; without a socket here, events are found by polling, and words are not."""
        try:
            self._listener = self._listen()
        except OSError as error:
            self.failure = f"{self._directory}: {error.strerror or error}"
            log.warning("what agents say is live in the process that carries on the debate only: %s", self.failure)
            return
        for target in (self._accept, self._search):
            threading.Thread(target=target, name=f"aragora-siblings{target.__name__}", daemon=True).start()

    def close(self) -> None:
        """End every connection, and be found no longer."""
        self._closed.set()
        if self._listener is None:
            return
        (self._directory / f"{self.name}.sock").unlink(missing_ok=True)
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # macOS knows no shutdown of a socket that listens
        self._listener.close()
        for sibling in self._all():
            sibling.close()

    def watch(self, debate_id: str, words: Words) -> None:
        """A debate is watched or carried on here from now on."""
        for sibling in self._all():
            sibling.announce(debate_id, True)
            sibling.listen(debate_id, words)

    def unwatch(self, debate_id: str) -> None:
        """A debate is neither watched nor carried on here any longer."""
        for sibling in self._all():
            sibling.announce(debate_id, False)
            sibling.finish(debate_id)

    def tell(self, debate_id: str, seq: int | None) -> None:
        """A debate ends at `seq` now; None: it was deleted."""
        for sibling in self._all():
            sibling.tell(debate_id, seq)

    def _all(self) -> list[Sibling]:
        return [sibling for sibling, _ in tuple(self._connected.values())]

    def _listen(self) -> socket.socket:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.chmod(0o700)  # fails where the directory is another account's
        listener = socket.socket(socket.AF_UNIX)
        try:
            # Found by the others only once it listens: a socket that refuses is one whose process has ended.
            made = self._directory / f"{self.name}.new"
            listener.bind(self._path(made.name))
            made.chmod(0o600)
            listener.listen(MOST_SIBLINGS)
            made.rename(self._directory / f"{self.name}.sock")
        except OSError:
            listener.close()
            raise
        return listener

    def _path(self, name: str) -> str:
        """The name of a socket, short enough for the system to take."""
        path = str(self._directory / name)
        if len(os.fsencode(path)) <= LONGEST_PATH or sys.platform != "linux":
            return path
        if self._place is None:
            self._place = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._place}/{name}"

    def _accept(self) -> None:
        assert self._listener is not None
        while not self._closed.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError as error:
                if not self._closed.is_set():
                    log.warning("cannot accept another process: %s", error)
                self._closed.wait(SCAN)
                continue
            self._begin(sock, "")

    def _search(self) -> None:
        while not self._closed.is_set():
            for path in self._directory.glob("*.sock"):
                if path.stem != self.name and path.stem not in self._connected and len(self) < MOST_SIBLINGS:
                    self._connect(path)
            self._closed.wait(SCAN)

    def _connect(self, path: Path) -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(HELLO)
        try:
            sock.connect(self._path(path.name))
        except (ConnectionRefusedError, FileNotFoundError):
            sock.close()
            path.unlink(missing_ok=True)  # its process has ended
        except OSError as error:
            sock.close()
            log.debug("cannot connect to process %s: %s", path.stem, error)
        else:
            self._begin(sock, self.name)

    def _begin(self, sock: socket.socket, initiator: str) -> None:
        serve = threading.Thread(target=self._serve, args=(sock, initiator), name="aragora-sibling", daemon=True)
        serve.start()

    def _serve(self, sock: socket.socket, initiator: str) -> None:
        """Serve one connection to its end."""
        sibling: Sibling | None = None
        try:
            with sock:
                sock.settimeout(HELLO)
                sock.sendall(json.dumps({"process": self.name}).encode() + b"\n")
                said = lines(sock)
                name = next(said, {}).get("process")
                if not isinstance(name, str) or name == self.name:
                    raise Malformed("no process says hello")
                sock.settimeout(STALL)
                sibling = Sibling(sock, name, self._audience)
                if self._enter(sibling, initiator or name):
                    sibling.serve(said)
        except Malformed as error:
            log.warning("the connection to another process ends: %s", error)
        except OSError as error:
            log.debug("the connection to another process ends: %s", error)
        finally:
            if sibling is not None:
                self._leave(sibling)

    def _enter(self, sibling: Sibling, initiator: str) -> bool:
        """Whether this connection stays. Of two that cross, both sides keep the one that the smaller name began."""
        with self._lock:
            if self._closed.is_set() or len(self._connected) >= MOST_SIBLINGS:
                return False
            other, its_initiator = self._connected.get(sibling.name, (None, ""))
            if other is not None and its_initiator != initiator and its_initiator == min(self.name, sibling.name):
                return False
            self._connected[sibling.name] = (sibling, initiator)
        if other is not None:
            other.close()
        return True

    def _leave(self, sibling: Sibling) -> None:
        sibling.close()
        with self._lock:
            found, _ = self._connected.get(sibling.name, (None, ""))
            if found is not sibling:
                return
            del self._connected[sibling.name]
        self._audience.lost(sibling.name)

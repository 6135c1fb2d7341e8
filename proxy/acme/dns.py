"""Records for DNS-01 challenges (RFC 8555 section 8.4), set by a program or by dynamic updates (RFC 2136).

Both add one value to `_acme-challenge.NAME` and remove that one again: a name and its wildcard may be validated at the
same time. Everything here blocks.
"""

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Any, Protocol

from proxy.acme.account import NotObtained
from proxy.log import log
from proxy.settings import Settings, TsigKey

_PATIENCE = 120.0  # seconds for one call of the program
_UPDATE = 30.0  # seconds for one change, with the search for its zone: a question for each label of the name
_LIFETIME = 60  # seconds that a resolver may remember a record
_LONGEST_OUTPUT = 500  # bytes of the program's output in a message


class Records(Protocol):
    """Where TXT records of the domains are set."""

    def add(self, name: str, value: str) -> None:
        """Add a record. Raises `NotObtained`."""

    def remove(self, name: str, value: str) -> None:
        """Remove it. Raises `NotObtained`."""


@dataclass(frozen=True, slots=True)
class DnsChallenges:
    """How DNS-01 challenges are met: where the records are set, and seconds until all name servers have them."""

    records: Records
    wait: float

    @contextmanager
    def record(self, name: str, value: str) -> Iterator[None]:
        """Keep a record for as long as the block takes. Raises `NotObtained` if it cannot be set; one that cannot be
        removed is logged."""
        self.records.add(name, value)
        try:
            sleep(self.wait)
            yield
        finally:
            try:
                self.records.remove(name, value)
            except NotObtained as problem:
                log.warning("TXT record of %s not removed: %s", name, problem)


def dns_challenges(settings: Settings) -> DnsChallenges | None:
    """How these settings meet DNS-01 challenges; None if they do not."""
    if settings.acme_dns_hook is not None:
        return DnsChallenges(Program(settings.acme_dns_hook), settings.acme_dns_wait)
    if settings.acme_dns_server:
        host, port = settings.acme_dns_server.host, settings.acme_dns_server.port
        return DnsChallenges(Updates(host, port, settings.acme_dns_key), settings.acme_dns_wait)
    return None


@dataclass(frozen=True, slots=True)
class Program:
    """A program that is called with `present NAME VALUE`, later with `cleanup NAME VALUE`, and exits with 0."""

    path: Path

    def add(self, name: str, value: str) -> None:
        self._call("present", name, value)

    def remove(self, name: str, value: str) -> None:
        self._call("cleanup", name, value)

    def _call(self, *arguments: str) -> None:
        with tempfile.TemporaryFile() as output:
            try:
                code = self._exit_code(arguments, output)
            except (OSError, subprocess.TimeoutExpired) as problem:
                raise NotObtained(f"dns-01: {self.path} {arguments[0]}: {problem}") from None
            if code:
                output.seek(0)
                said = output.read(_LONGEST_OUTPUT).decode(errors="replace").strip()
                raise NotObtained(f"dns-01: {self.path} {arguments[0]}: exit code {code}: {said}")

    def _exit_code(self, arguments: tuple[str, ...], output: IO[bytes]) -> int:
        """Run it. At the deadline it is killed with all it has started that is in its process group."""
        with subprocess.Popen(  # noqa: S603 - the operator's own program
            [self.path, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
        ) as process:
            try:
                return process.wait(_PATIENCE)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)  # not waited for yet, so the number is still its own
                raise


@dataclass(frozen=True, slots=True)
class Updates:
    """The primary name server of the zones, which takes dynamic updates, signed if there is a key (RFC 8945)."""

    host: str
    port: int
    key: TsigKey | None

    def add(self, name: str, value: str) -> None:
        self._update(name, value, add=True)

    def remove(self, name: str, value: str) -> None:
        self._update(name, value, add=False)

    def _update(self, name: str, value: str, *, add: bool) -> None:
        """One change (RFC 2136 sections 2.5.1 and 2.5.4)."""
        import dns.exception  # an extra
        import dns.name
        import dns.rcode
        import dns.tsigkeyring
        import dns.update

        owner = dns.name.from_text(name)
        end = monotonic() + _UPDATE
        try:
            zone = self._zone(owner, end)
            update = dns.update.UpdateMessage(zone)
            if self.key is not None:
                keyring = dns.tsigkeyring.from_text({self.key.name: self.key.secret})
                update.use_tsig(keyring, algorithm=dns.name.from_text(self.key.algorithm))
            if add:
                update.add(owner, _LIFETIME, "TXT", value)
            else:
                update.delete(owner, "TXT", value)
            code = self._exchange(update, end).rcode()
        except (dns.exception.DNSException, OSError, EOFError, ValueError) as problem:
            raise NotObtained(f"dns-01: {self.host}: {type(problem).__name__}: {problem}") from None
        if code != dns.rcode.NOERROR:
            raise NotObtained(f"dns-01: {self.host} refuses to update {zone}: {dns.rcode.to_text(code)}")

    def _zone(self, name: Any, end: float) -> Any:
        """The zone of a name: the nearest of its parents that has a start of authority. Raises ValueError."""
        import dns.message
        import dns.name
        import dns.rdatatype

        owner = name
        while name != dns.name.root:
            answer = self._exchange(dns.message.make_query(name, "SOA"), end).answer
            if any(found.rdtype == dns.rdatatype.SOA and found.name == name for found in answer):
                return name
            name = name.parent()
        raise ValueError(f"it has no zone for {owner}")

    def _exchange(self, message: Any, end: float) -> Any:
        """Its answer, before `end` (monotonic seconds)."""
        import dns.query

        left = end - monotonic()
        if left <= 0:
            raise TimeoutError(f"no zone found and updated within {_UPDATE:g} s")
        address = str(socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0][4][0])
        return dns.query.tcp(message, address, timeout=left, port=self.port)

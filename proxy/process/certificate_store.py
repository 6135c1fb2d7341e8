"""The certificates of the running settings, on their way from files to workers.

The master reads the files: workers may lack the rights. In the state directory, which belongs to the workers, it acts
with their rights, so nothing they put there can misdirect it. What it has checked is in shared memory, where each
worker finds it at its start and checks once a second whether it has changed.

Each file is handled on its own. One that was good and becomes unusable is served as it was last read, which is reported
as a fault and does not affect others. One that was never good is a mistake in the settings, which are refused.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from proxy.acme.state import State
from proxy.net.certificate_set import CertificateSet, KeyPair
from proxy.net.private_file import write_private
from proxy.net.tls_contexts import TlsContexts
from proxy.process.config_segment import ConfigSegment
from proxy.process.privileges import acting_as, owner
from proxy.settings import Certificate, Settings, SettingsError

POLL = 3.0
"""Seconds between two checks of the files."""

_CAPACITY = 8 << 20
"""Bytes for a certificate set: 256 certificates with long chains, as many as a file may name, take three million."""

_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_REMADE_BEFORE_END = 7 * 86400

Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(slots=True)
class _Reading:
    """The result of reading the files once."""

    good: dict[Certificate | Path, Any] = field(default_factory=dict)
    """The last usable content of each file or pair of files."""
    mistakes: list[str] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)


class CertificateStore:
    """The certificate set, with one writer (the master) and many readers (its workers), which share `tls_contexts`."""

    def __init__(self) -> None:
        self.tls_contexts = TlsContexts()
        self._memory = ConfigSegment(CertificateSet, _CAPACITY)
        self._last = _Reading()
        self._own: dict[tuple[str, ...], KeyPair] = {}  # self-signed ones, for names without any other yet
        self._stamp: Stamp = ()
        self._looked = 0.0

    def read_only(self) -> None:
        """In a worker, before it drops its privileges."""
        self._memory.read_only()

    @property
    def turn(self) -> int:
        """A number that changes with the certificate set."""
        return self._memory.turn

    @property
    def files(self) -> set[Path]:
        """Files whose content is served, even if it is an earlier one."""
        found: set[Path] = set()
        for one in self._last.good:
            found |= {one.cert, one.key} if isinstance(one, Certificate) else {one}
        return found

    def get(self) -> CertificateSet:
        """The certificate set to serve."""
        return self._memory.get() or CertificateSet()

    def fill(self, settings: Settings) -> CertificateSet:
        """Read all files of the settings and publish the result. Raises `SettingsError`, with nothing changed."""
        stamp = _stamp(settings)
        certificate_set, reading = self._read(settings, keep=True)
        try:
            self._memory.put(certificate_set)
        except ValueError as problem:
            raise SettingsError([f"too many or too large certificates: {problem}"]) from None
        self._last, self._stamp = reading, stamp
        self.tls_contexts.set_client_auth(certificate_set)  # for workers that start later
        return certificate_set

    def refill(self, settings: Settings) -> CertificateSet | None:
        """In the master, at any frequency: read and publish the files again if they have changed. Returns what was
        published, or None. Raises `SettingsError`, once for each change."""
        now = time.monotonic()
        if not settings.secure or now - self._looked < POLL:
            return None
        self._looked = now
        stamp = _stamp(settings)
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        return self.fill(settings)

    def read(self, settings: Settings) -> CertificateSet:
        """The certificate set of these settings, unpublished. Raises `SettingsError`, a line for each unusable file."""
        return self._read(settings, keep=False)[0]

    def _read(self, settings: Settings, *, keep: bool) -> tuple[CertificateSet, _Reading]:
        """Read the set, and what to remember for the next time; `keep` stores generated certificates."""
        reading = _Reading()
        if not settings.secure:
            return CertificateSet(), reading
        pairs = [
            *self._given(settings, reading),
            *(self._obtained(settings, domain, reading) for domain in settings.domain if settings.acme),
            *self._self_signed(settings, reading, keep=keep),
        ]
        if not pairs and not reading.mistakes:
            pairs.append(self._made(_LOCAL_NAMES))  # until a service is deployed that has names
        client_ca = self._authorities(settings, reading)
        if reading.mistakes:
            raise SettingsError(reading.mistakes)
        certificate_set = CertificateSet(
            tuple(pairs),
            oldest=settings.tls_min,
            http2=settings.http2,
            client_ca=client_ca,
            client_required=settings.tls_client_auth == "required",
            faults=tuple(reading.faults),
        )
        return certificate_set, reading

    def _given(self, settings: Settings, reading: _Reading) -> Iterator[KeyPair]:
        """The operator's own certificates."""
        for one in settings.certificates:
            # Imported late: a gateway without TLS saves this library's memory.
            from proxy.net import certificates

            try:
                pair = certificates.read_pair(one.cert, one.key)
            except certificates.CertificateError as problem:
                before = self._last.good.get(one)
                if before is None:
                    reading.mistakes.append(str(problem))
                    continue
                reading.faults.append((before.name, f"{problem}; still serving the previous certificate"))
                pair = before
            reading.good[one] = pair
            yield pair

    def _obtained(self, settings: Settings, domain: str, reading: _Reading) -> KeyPair:
        """The certificate obtained for a domain, of those from several authorities the newest; until there is one, a
        self-signed one."""
        from proxy.net import certificates

        states = _states(settings)
        before = self._last.good.get(states[0].certificate(domain))
        found, problems = [], []
        for state in states:
            try:
                with acting_as(*owner(settings)):
                    found.append(state.read(domain))
            except certificates.CertificateError as problem:
                if before is not None or os.path.lexists(state.certificate(domain)):
                    problems.append(f"{problem}; obtaining a new certificate")
        if problems and not found:
            reading.faults.append((domain, problems[0]))
        pair = max(found, key=lambda one: one.begins, default=before)
        if pair is None:
            return self._made((domain,))
        reading.good[states[0].certificate(domain)] = pair
        return pair

    def _self_signed(self, settings: Settings, reading: _Reading, *, keep: bool) -> Iterator[KeyPair]:
        """For development: kept in the state directory if there is one, so that browsers have to trust it only once."""
        if settings.tls != "self-signed":
            return
        from proxy.net import certificates

        names = tuple(dict.fromkeys((*_LOCAL_NAMES, *settings.domain, *_hosts(settings))))
        if settings.state_dir is None:
            yield self._made(names)
            return
        file = self_signed_file(settings.state_dir)
        now = time.time()
        try:
            with acting_as(*owner(settings)):
                pair = replace(certificates.read_joined(file), stands_in=True)
            good = set(pair.names) >= set(names) and pair.begins <= now < pair.expires - _REMADE_BEFORE_END
        except certificates.CertificateError:
            good = False
        if not good:
            pair = self._made(names)
            try:
                if keep:
                    with acting_as(*owner(settings)):
                        write_private(file, pair.key + pair.chain)
            except OSError as problem:
                said = f"--state-dir {settings.state_dir}: cannot be written: {problem.strerror}"
                if not self._last.good:
                    reading.mistakes.append(said)
                reading.faults.append((pair.name, f"{said}; browsers will have to trust a new certificate"))
        reading.good[file] = pair
        yield pair

    def _authorities(self, settings: Settings, reading: _Reading) -> str:
        """The CA certificates for client certificates, as PEM."""
        path = settings.tls_client_ca
        if path is None:
            return ""
        from proxy.net import certificates

        try:
            found = certificates.read_authorities(path)
        except certificates.CertificateError as problem:
            found = self._last.good.get(path, "")
            if not found:
                reading.mistakes.append(f"--tls-client-ca {problem}")
            reading.faults.append(("tls_client_ca", f"{problem}; still using the previous CA certificates"))
        reading.good[path] = found
        return found

    def _made(self, names: tuple[str, ...]) -> KeyPair:
        from proxy.net import certificates

        now = time.time()
        pair = self._own.get(names)
        if pair is None or not pair.begins <= now < pair.expires - _REMADE_BEFORE_END:
            pair = self._own[names] = replace(certificates.self_signed(names), stands_in=True)
        return pair


def self_signed_file(state_dir: Path) -> Path:
    """Key and certificate of `--tls self-signed`, which clients can be configured to trust."""
    return state_dir / "self-signed.pem"


def certificate_notes(certificate_set: CertificateSet, settings: Settings) -> list[str]:
    """What these certificates do not cover, for `check`."""
    if not certificate_set.pairs:
        return []
    from proxy.net import inspection

    own = [pair for pair in certificate_set.pairs if not pair.stands_in]
    hosts = [(route.name, host) for route in settings.routes for host in route.hosts]
    return [
        *(note for pair in own for note in inspection.chain_notes(pair)),
        *inspection.shadow_notes(certificate_set.pairs, time.time()),
        *inspection.host_notes(hosts, certificate_set.pairs),
        *(
            inspection.authority_notes(certificate_set.client_ca, str(settings.tls_client_ca))
            if certificate_set.client_ca
            else ()
        ),
    ]


def warnings(certificate_set: CertificateSet, settings: Settings) -> list[str]:
    """Warnings about faults and approaching expiry."""
    if not certificate_set.pairs:
        return []
    from proxy.net import certificates

    now = time.time()
    renewed = set(settings.domain) if settings.acme else set()
    found = [certificates.expiry_warning(pair, now, renewed=pair.name in renewed) for pair in certificate_set.pairs]
    return [
        *(f"certificate {name}: {what}" for name, what in certificate_set.faults),
        *(warning for warning in found if warning),
    ]


def _states(settings: Settings) -> list[State]:
    """Where the certificates of each authority are; none without ACME."""
    directory = settings.state_dir
    if not settings.acme or directory is None:
        return []
    return [State(directory, server.directory) for server in settings.acme_servers]


def _hosts(settings: Settings) -> Iterator[str]:
    for route in settings.routes:
        yield from route.hosts


def _stamp(settings: Settings) -> Stamp:
    """A fingerprint of the files' state, taken without reading them."""
    files = [path for one in settings.certificates for path in (one.cert, one.key)]
    if settings.tls_client_ca is not None:
        files.append(settings.tls_client_ca)
    files += [state.certificate(domain) for state in _states(settings) for domain in settings.domain]
    found = []
    for path in files:
        try:
            facts = path.stat()
        except OSError:
            found.append((str(path), 0, 0, 0))
        else:
            found.append((str(path), facts.st_ctime_ns, facts.st_ino, facts.st_size))
    return tuple(found)

"""The certificates of the running settings, on their way from files to workers.

The master reads the files: it has the rights, workers may not. What it has checked lies in shared memory, where each
worker finds it at its start and, once a second, whether it has changed. A file that cannot be used changes nothing.
"""

import time
from collections.abc import Iterator
from pathlib import Path

from proxy.acme.state import State
from proxy.handover import Handover
from proxy.net.door import FrontDoor, KeyPair, Keyring
from proxy.settings import Settings, SettingsError

POLL = 3.0
"""Seconds between two looks at the files."""

_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_REMADE_BEFORE_END = 7 * 86400

Stamp = tuple[tuple[str, int, int, int], ...]


class Vault:
    """Keyrings with one writer, the master, and any number of readers, its workers; `door` is what they share."""

    def __init__(self) -> None:
        self.door = FrontDoor()
        self._memory = Handover(Keyring)
        self._own: dict[tuple[str, ...], KeyPair] = {}  # self-signed ones, for names that have nothing better yet
        self._stamp: Stamp = ()
        self._looked = 0.0

    def read_only(self) -> None:
        """In a worker, before it runs as another account."""
        self._memory.read_only()

    @property
    def turn(self) -> int:
        """A number that changes with the keyring."""
        return self._memory.turn

    def get(self) -> Keyring:
        """The keyring to serve with."""
        return self._memory.get() or Keyring()

    def fill(self, settings: Settings) -> Keyring:
        """Read everything that the settings name and publish it. Raises `SettingsError`; then nothing has changed."""
        stamp = _stamp(settings)
        keyring = self.read(settings, keep=True)
        self._stamp = stamp
        self.door.demand(keyring)  # for workers that start later
        self._memory.put(keyring)
        return keyring

    def refill(self, settings: Settings) -> Keyring | None:
        """In the master, as often as it likes: publish what the files hold now if they have changed since the last
        look. Returns what was published. Raises `SettingsError`, once for each change."""
        now = time.monotonic()
        if not settings.secure or now - self._looked < POLL:
            return None
        self._looked = now
        stamp = _stamp(settings)
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        return self.fill(settings)

    def read(self, settings: Settings, *, keep: bool = False) -> Keyring:
        """The keyring of these settings; `keep` writes down what is made for it.

        Raises `SettingsError` with a line for each file that cannot be used.
        """
        if not settings.secure:
            return Keyring()
        # A gateway without TLS does without the memory that this library takes.
        from proxy.net import certificates

        mistakes: list[str] = []
        pairs: list[KeyPair] = []
        for one in settings.certificates:
            try:
                pairs.append(certificates.read_pair(one.cert, one.key))
            except certificates.CertificateError as problem:
                mistakes.append(str(problem))
        pairs += [self._obtained(settings, domain) for domain in settings.domain if settings.acme]
        if settings.tls == "self-signed":
            names = tuple(dict.fromkeys((*_LOCAL_NAMES, *settings.domain, *_hosts(settings))))
            try:
                pairs.append(self._self_signed(settings, names, keep=keep))
            except OSError as problem:
                mistakes.append(f"--state-dir {settings.state_dir}: cannot be written: {problem.strerror}")
        client_ca = ""
        if settings.tls_client_ca is not None:
            try:
                client_ca = certificates.read_authorities(settings.tls_client_ca)
            except certificates.CertificateError as problem:
                mistakes.append(f"--tls-client-ca {problem}")
        if mistakes:
            raise SettingsError(mistakes)
        return Keyring(
            tuple(pairs),
            oldest=settings.tls_min,
            http2=settings.http2,
            client_ca=client_ca,
            client_required=settings.tls_client_auth == "required",
        )

    def _obtained(self, settings: Settings, domain: str) -> KeyPair:
        """The certificate that was obtained for a domain; until then one that nobody vouches for."""
        assert settings.state_dir is not None
        pair = State(settings.state_dir, settings.acme_directory).pair(domain)
        return pair or self._made((domain,))

    def _self_signed(self, settings: Settings, names: tuple[str, ...], *, keep: bool) -> KeyPair:
        """For development: kept in the state directory if there is one, so that a browser has to be told only once."""
        from proxy.net import certificates

        if settings.state_dir is None:
            return self._made(names)
        file = self_signed_file(settings.state_dir)
        try:
            pair = certificates.read_joined(file)
            if set(pair.names) >= set(names) and pair.expires - time.time() > _REMADE_BEFORE_END:
                return pair
        except certificates.CertificateError:
            pass
        pair = self._made(names)
        if keep:
            certificates.write_private(file, pair.key + pair.chain)
        return pair

    def _made(self, names: tuple[str, ...]) -> KeyPair:
        from proxy.net import certificates

        pair = self._own.get(names)
        if pair is None or pair.expires - time.time() < _REMADE_BEFORE_END:
            pair = self._own[names] = certificates.self_signed(names)
        return pair


def self_signed_file(state_dir: Path) -> Path:
    """Key and certificate of `--tls self-signed`, for clients to be told to trust."""
    return state_dir / "self-signed.pem"


def warnings(keyring: Keyring, settings: Settings) -> list[str]:
    """What works as it stands but will not for long."""
    if not keyring.pairs:
        return []
    from proxy.net import certificates

    now = time.time()
    renewed = set(settings.domain) if settings.acme else set()
    found = [certificates.worries(pair, now, renewed=pair.name in renewed) for pair in keyring.pairs]
    return [worry for worry in found if worry]


def _hosts(settings: Settings) -> Iterator[str]:
    for route in settings.routes:
        yield from route.hosts


def _stamp(settings: Settings) -> Stamp:
    """What tells one state of the files from another, without reading them."""
    files = [path for one in settings.certificates for path in (one.cert, one.key)]
    if settings.tls_client_ca is not None:
        files.append(settings.tls_client_ca)
    if settings.acme and settings.state_dir is not None:
        state = State(settings.state_dir, settings.acme_directory)
        files += [state.certificate(domain) for domain in settings.domain]
    found = []
    for path in files:
        try:
            facts = path.stat()
        except OSError:
            found.append((str(path), 0, 0, 0))
        else:
            found.append((str(path), facts.st_mtime_ns, facts.st_ino, facts.st_size))
    return tuple(found)

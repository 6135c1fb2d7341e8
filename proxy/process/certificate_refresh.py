"""The worker's side of certificates: taking those that the master has read, and obtaining new ones."""

from typing import Any

from proxy.acme.renewal import Renewals
from proxy.net.certificate_set import Faults, expiries
from proxy.observe.metrics import Counters
from proxy.observe.numbers import Gauge
from proxy.process.certificate_store import CertificateStore
from proxy.settings import Settings


class CertificateRefresh:
    """Keeps the TLS contexts of one worker at what the master has read, and its renewals at what the settings want."""

    def __init__(self, store: CertificateStore, counters: Counters, version: str, log: Any) -> None:
        self.faults: Faults = ()
        """What is wrong with certificates now."""
        self._store = store
        self._counters = counters
        self._agent = f"aragora-proxy/{version}"
        self._log = log
        self._turn = 0
        self._renewals: Renewals | None = None

    def install(self) -> None:
        """Serve the certificates that the master has checked, if they or what their dates say is new."""
        turn, tls_contexts = self._store.turn, self._store.tls_contexts
        if turn == self._turn and not tls_contexts.stale:
            return
        self._turn = turn
        certificates = self._store.get()
        try:
            refused = tls_contexts.install(certificates)
        except OSError as error:
            self._log.warning("certificate reload failed: %s; keeping the current certificates", error)
            return
        left_out = tuple((pair.name, f"not served: OpenSSL refuses it: {fault}") for pair, fault in refused)
        for name, fault in left_out:
            self._log.warning("certificate %s: %s", name, fault)
        self.faults = certificates.faults + left_out
        self._counters.see_certificates(expiries(tls_contexts.served))
        self._counters.gauge(Gauge.CERTIFICATE_FAULTS, len(self.faults))

    def renew(self, settings: Settings) -> None:
        """Obtain and renew the certificates that these settings want from an authority."""
        if self._renewals is not None:
            if self._renewals.serve(settings):
                return
            self._renewals.stop()
        self._renewals = Renewals(settings, self._agent, self._log) if settings.acme else None

    def stop(self) -> None:
        """Start no more renewals."""
        if self._renewals is not None:
            self._renewals.stop()

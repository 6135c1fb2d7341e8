"""The worker's side of certificates: taking those that the master has read, and obtaining new ones."""

from collections.abc import Callable
from time import monotonic
from typing import Any

from proxy.acme.issuer import Issuer
from proxy.acme.names import Domains
from proxy.acme.on_demand import Admission, OnDemand, Outcome
from proxy.acme.permission import Permission
from proxy.acme.renewal import Renewals
from proxy.acme.shared_store import SharedStore
from proxy.limits import WorkerLimits
from proxy.net.certificate_set import Faults, lifetimes
from proxy.observe.metrics import Counters
from proxy.observe.numbers import Gauge, Total
from proxy.process.certificate_store import CertificateStore
from proxy.settings import Settings
from proxy.settings.values.web import Rate


class CertificateRefresh:
    """Keeps the TLS contexts of one worker at what the master has read, and its renewals at what the settings want."""

    def __init__(
        self, store: CertificateStore, counters: Counters, limits: WorkerLimits, version: str, log: Any
    ) -> None:
        self.on_demand: OnDemand | None = None
        """Orders for names that clients ask for, if the settings allow them."""
        self._faults: Faults = ()
        self._shared: SharedStore | None = None
        self._store = store
        self._counters = counters
        self._agent = f"aragora-proxy/{version}"
        self._log = log
        self._turn = 0
        self._limits = limits
        self._renewals: list[Renewals] = []

    def install(self) -> None:
        """Serve the certificates that the master has checked, if they or what their dates say is new."""
        self._install()
        self._counters.gauge(Gauge.CERTIFICATE_FAULTS, len(self.faults))
        if self.on_demand is not None:
            self._counters.gauge(Gauge.ON_DEMAND_NAMES, self.on_demand.names.count)

    def _install(self) -> None:
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
        self._faults = certificates.faults + left_out
        self._counters.see_certificates(lifetimes(tls_contexts.served))

    @property
    def faults(self) -> Faults:
        """What is wrong with certificates now."""
        shared = self._shared
        if shared is None or not shared.fault:
            return self._faults
        lost = f"{shared.directory}: cannot be used: {shared.fault}; serving what is here, nothing is renewed"
        return (*self._faults, ("shared_certificates", lost))

    def renew(self, settings: Settings) -> None:
        """Obtain and renew the certificates that these settings want from an authority."""
        if self._renewals and self._renewals[0].serve(settings):
            return
        self.stop()
        self._renewals = []
        if not settings.acme:
            return
        shared = settings.shared_certificates
        self._shared = store = SharedStore(shared, "certificates") if shared is not None else None
        issuers = [Issuer(server, settings, self._agent, self._log, store) for server in settings.acme_servers]
        self._renewals = [Renewals(settings, Domains(settings.domain), issuers, self._log)]
        if settings.on_demand_ask:
            on_demand = self._ordering(settings, issuers)
            self._renewals.append(Renewals(settings, on_demand.names, issuers, self._log))

    def _ordering(self, settings: Settings, issuers: list[Issuer]) -> OnDemand:
        """What orders on demand, made once: connections have it. Its own settings need new workers."""
        if self.on_demand is None:
            admission = _admission(settings, self._limits, self._counters)
            permission = Permission(settings.on_demand_ask, self._agent)
            contexts = self._store.tls_contexts
            self.on_demand = OnDemand(settings, issuers, permission, contexts, admission, self._log)
        else:
            self.on_demand.adopt(settings, issuers)
        return self.on_demand

    def stop(self) -> None:
        """Start no more renewals."""
        for renewals in self._renewals:
            renewals.stop()


def _admission(settings: Settings, limits: WorkerLimits, counters: Counters) -> Admission:
    """The rates of new names, over all workers, and the counters."""
    all_keys, client_keys = limits.keys("on_demand_rate"), limits.keys("on_demand_client_rate")
    order, client = _gate(settings.on_demand_rate, limits), _gate(settings.on_demand_client_rate, limits)

    def count(outcome: Outcome) -> None:
        counters.on_demand(Total[f"ON_DEMAND_{outcome.name}"])

    def ordered(obtained: bool) -> None:
        counters.on_demand(Total.ON_DEMAND_ORDERED if obtained else Total.ON_DEMAND_NOT_ORDERED)

    return Admission(
        client=lambda address: client(client_keys.of_client(address)),
        order=lambda: order(all_keys.of_value(b"all")),
        count=count,
        ordered=ordered,
    )


def _gate(rate: Rate | None, limits: WorkerLimits) -> Callable[[int], bool]:
    """Whether what a key stands for may happen once more."""
    if rate is None:
        return lambda _key: True
    buckets = limits.buckets
    take = buckets.meter(rate.count / rate.seconds, rate.count)
    return lambda key: take(buckets.bucket(key), monotonic()) >= 0.0

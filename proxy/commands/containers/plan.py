"""Which services should there be, given the containers that run and what the gateway serves? Pure, and level-triggered:
what was missed before does not matter."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace

from proxy.admin.services import Service
from proxy.commands.containers.labels import Instance


@dataclass
class Plan:
    """What to do: services to deploy, each with the containers that it is made of, and names of services to remove."""

    deploy: list[tuple[Service, list[Instance]]] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def plan(instances: Iterable[Instance], ready: Set[str], serving: Mapping[str, Service]) -> Plan:
    """`ready`: ids of the containers that have responded to a probe; `serving`: the gateway's services by name."""
    made = Plan()
    groups: dict[str, list[Instance]] = {}
    for instance in sorted(instances, key=lambda one: (one.created, one.id)):
        groups.setdefault(instance.service.name, []).append(instance)
    claims = {
        request: service.name for service in serving.values() if not service.labelled for request in service.requests
    }

    def age(name: str) -> tuple[bool, float]:
        known = serving.get(name)
        return known is None or not known.labelled, groups[name][0].created

    for name in sorted(groups, key=age):
        known = serving.get(name)
        if known is not None and not known.labelled:
            made.faults.append(
                f"container {groups[name][-1].container}: service {name} was deployed by command, which comes first: "
                "remove it, or set another name with the label aragora.service"
            )
            continue
        chosen = _chosen(groups[name], ready, known)
        wanted = (chosen or groups[name])[-1].service
        if other := next((claims[request] for request in wanted.requests if request in claims), ""):
            where = f"{', '.join(wanted.host) or 'any host'} {wanted.path}"
            made.faults.append(
                f"container {groups[name][-1].container}: labels aragora.host, aragora.path: {where} is served by "
                f"service {other}, which is older: choose another, or stop it"
            )
            if known is not None:
                made.remove.append(name)
            continue
        claims |= dict.fromkeys(wanted.requests, name)
        if chosen:
            service = replace(wanted, target=tuple(sorted({one.address for one in chosen})))
            if known is None or service != replace(known, rollout=None):
                made.deploy.append((service, chosen))
    made.remove += [name for name, service in serving.items() if service.labelled and name not in groups]
    return made


def _chosen(group: list[Instance], ready: Set[str], known: Service | None) -> list[Instance]:
    """The containers of one service that are to serve: those of one generation that are ready.

    That is the newest one, once all of it is ready or some of it serve already; until then an older one goes on.
    """
    generations: dict[object, list[Instance]] = {}
    for instance in (one for one in group if not one.stopping):
        generations.setdefault(instance.generation, []).append(instance)
    newest = sorted(generations.values(), key=lambda one: one[-1].created, reverse=True)
    usable = [(whole, [one for one in whole if one.id in ready]) for whole in newest]
    usable = [(whole, able) for whole, able in usable if able]
    in_use = set(known.target) if known is not None else set()
    for whole, able in usable:
        serves = any(one.address in in_use for one in able) and _same(able[0].service, known)
        if serves or len(able) == len(whole):
            return able
    return usable[0][1] if usable else []


def _same(service: Service, known: Service | None) -> bool:
    """Whether a service is the known one, apart from its addresses."""
    return known is not None and replace(service, target=()) == replace(known, target=(), rollout=None)

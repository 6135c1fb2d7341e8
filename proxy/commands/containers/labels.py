"""A container and its labels, read as an instance of a service."""

import ipaddress
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from proxy.admin.services import Service
from proxy.settings.values import kinds

PREFIX = "aragora."
KEYS = ("service", "host", "path", "port", "health_path", "tls", "version", "network", "published")
LONGEST = 1000
"""Characters of a label's value."""
_COMPOSE = ("com.docker.compose.project", "com.docker.compose.service")
_FRACTION = re.compile(r"(\.\d{1,6})\d*")
_UNFIT = re.compile(r"[^0-9A-Za-z._-]")


class LabelError(ValueError):
    """A container that cannot be an instance: one line with its name, the label, its value and the fix."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A running container. Its `service` has this one address."""

    id: str
    container: str
    """The name."""
    created: float
    """Unix seconds."""
    version: str
    """Those of one version and equal labels are peers."""
    service: Service
    stop_signal: int = signal.SIGTERM
    stopping: bool = False
    """Whether it is being stopped."""

    @property
    def address(self) -> str:
        return self.service.target[0]

    @property
    def generation(self) -> tuple[str, Service]:
        """What it has in common with its peers alone."""
        return self.version, replace(self.service, target=())


def is_labelled(labels: Mapping[str, str] | None) -> bool:
    """Whether a container wants to be found."""
    return any(name.startswith(PREFIX) for name in labels or ())


def read(document: Mapping[str, Any]) -> Instance:
    """The instance that a container is, of what the daemon knows of it. Raises LabelError."""
    name, config = document["Name"].lstrip("/")[:100], document["Config"]
    labels = {key.removeprefix(PREFIX): value for key, value in config["Labels"].items() if key.startswith(PREFIX)}

    def fault(key: str, problem: object) -> LabelError:
        shown = kinds.toml(labels[key][:80]) if key in labels else "missing"
        return LabelError(f"container {name}: label {PREFIX}{key} {shown}: {problem}")

    for key, value in labels.items():
        if key not in KEYS:
            raise fault(key, f"unknown; labels are {', '.join(PREFIX + known for known in KEYS)}")
        if len(value) > LONGEST:
            raise fault(key, f"{len(value)} characters; {LONGEST} are allowed")
    for key in ("tls", "published"):
        if labels.get(key, "false") not in ("true", "false"):
            raise fault(key, "expected true or false")
    port = _port(labels, document, fault)
    raw = {
        "name": labels.get("service") or _own_name(config["Labels"], name),
        "target": [_address(labels, document, port, fault)],
        "host": [host.strip() for host in labels["host"].split(",")] if "host" in labels else [],
        "path": labels.get("path", "/"),
        "health_path": labels.get("health_path", ""),
        "tls": labels.get("tls") == "true",
        "labelled": True,
    }
    try:
        service = Service.read(raw)
    except ValueError as problem:
        key, _, text = str(problem).partition(": " if str(problem).startswith("tls") else " ")
        key = "service" if key == "name" else key
        raise fault(key if key in KEYS else "port", text.partition(": ")[2] or text) from None
    return Instance(
        document["Id"],
        name,
        _seconds(document["Created"]),
        labels.get("version") or document["Image"],
        service,
        _signal(config.get("StopSignal")),
    )


def _own_name(labels: Mapping[str, str], container: str) -> str:
    """The name of a service that no label gives: all containers of a compose service are one."""
    parts = [labels[key] for key in _COMPOSE if labels.get(key)]
    return _UNFIT.sub("-", "-".join(parts) if len(parts) == len(_COMPOSE) else container)[:63]


def _port(labels: Mapping[str, str], document: Mapping[str, Any], fault: Any) -> int:
    if "port" in labels:
        if not re.fullmatch(r"[0-9]{1,5}", labels["port"]) or not 0 < int(labels["port"]) < 65536:
            raise fault("port", "expected a number from 1 to 65535: the one that the application listens on")
        return int(labels["port"])
    exposed = [text.partition("/")[0] for text in document["Config"].get("ExposedPorts") or () if text.endswith("/tcp")]
    if len(exposed) != 1:
        has = f"the image exposes {', '.join(exposed)}" if exposed else "the image exposes no port"
        raise fault("port", f"{has}; add the one that the application listens on")
    return int(exposed[0])


def _address(labels: Mapping[str, str], document: Mapping[str, Any], port: int, fault: Any) -> str:
    """Where the gateway reaches it: in a network that both are in, or at a port of this machine."""
    if document["HostConfig"].get("NetworkMode") == "host":
        return f"127.0.0.1:{port}"
    known = document["NetworkSettings"].get("Networks") or {}
    networks = {name: one.get("IPAddress") or one.get("GlobalIPv6Address") for name, one in known.items()}
    networks = {name: address for name, address in networks.items() if address}
    if "network" in labels and labels["network"] not in networks:
        raise fault("network", f"the container is in {', '.join(networks) or 'no network that has addresses'}")
    if labels.get("published") == "true" or not networks:
        return _published(document, port, fault)
    if len(networks) > 1 and "network" not in labels:
        raise fault("network", f"the container is in {', '.join(networks)}; say in which the gateway is, too")
    host = networks.get(labels.get("network", "")) or next(iter(networks.values()))
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _published(document: Mapping[str, Any], port: int, fault: Any) -> str:
    bindings = (document["NetworkSettings"].get("Ports") or {}).get(f"{port}/tcp") or ()
    for binding in bindings:
        host = binding.get("HostIp") or "0.0.0.0"
        if ipaddress.ip_address(host).is_unspecified:
            host = "127.0.0.1"
        return f"[{host}]:{binding['HostPort']}" if ":" in host else f"{host}:{binding['HostPort']}"
    raise fault("port", f"port {port} has no address: put container and gateway into one network, or publish the port")


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(_FRACTION.sub(r"\1", moment)).timestamp()


def _signal(text: str | None) -> int:
    """A signal by its number or its name."""
    try:
        return int(text) if text and text.isdigit() else signal.Signals[text or "SIGTERM"].value
    except KeyError:
        return signal.SIGTERM

"""What labels say, and which containers are to serve."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.services import Service
from proxy.commands.containers.labels import Instance, LabelError, read
from proxy.commands.containers.plan import plan


def document(labels: Mapping[str, str], **more: Any) -> dict[str, Any]:
    """A container as the daemon describes it, in one network."""
    config = {"Labels": labels, "ExposedPorts": {"8080/tcp": {}}, **more.pop("config", {})}
    return {
        "Id": "abc",
        "Name": "/app-1",
        "Created": "2026-11-30T21:59:07.737739632Z",
        "Image": "sha256:one",
        "HostConfig": {"NetworkMode": "bridge"},
        "NetworkSettings": {"Networks": {"edge": {"IPAddress": "10.0.0.5"}}, "Ports": {}},
        **more,
        "Config": config,
    }


TWO = {"Networks": {"edge": {"IPAddress": "10.0.0.5"}, "data": {"IPAddress": "10.1.0.5"}}, "Ports": {}}
PUBLISHED = {"Networks": {}, "Ports": {"8080/tcp": [{"HostIp": "0.0.0.0", "HostPort": "32768"}]}}
SIX = {"Networks": {"edge": {"GlobalIPv6Address": "fd00::5"}}}


@pytest.mark.parametrize(
    ("labels", "more", "address"),
    [
        ({}, {}, "10.0.0.5:8080"),
        ({"aragora.port": "81"}, {}, "10.0.0.5:81"),
        ({"aragora.network": "data"}, {"NetworkSettings": TWO}, "10.1.0.5:8080"),
        ({}, {"NetworkSettings": SIX}, "[fd00::5]:8080"),
        ({}, {"NetworkSettings": PUBLISHED}, "127.0.0.1:32768"),
        ({"aragora.published": "true"}, {"NetworkSettings": {**TWO, **PUBLISHED}}, "127.0.0.1:32768"),
        ({}, {"HostConfig": {"NetworkMode": "host"}}, "127.0.0.1:8080"),
    ],
)
def test_address_is_where_the_gateway_reaches_a_container(
    labels: dict[str, str], more: dict[str, Any], address: str
) -> None:
    assert read(document(labels, **more)).address == address


@pytest.mark.parametrize(
    ("labels", "more", "fault"),
    [
        ({"aragora.port": "70000"}, {}, 'label aragora.port "70000": expected a number from 1 to 65535'),
        ({"aragora.tls": "yes"}, {}, 'label aragora.tls "yes": expected true or false'),
        ({"aragora.tls": "true"}, {}, 'label aragora.tls "true": needs the names'),
        ({"aragora.host": "a/b"}, {}, 'label aragora.host "a/b": '),
        ({"aragora.health_path": "up"}, {}, 'label aragora.health_path "up": '),
        ({"aragora.service": "default"}, {}, 'label aragora.service "default": reserved'),
        ({"aragora.path": "/" + "x" * 2000}, {}, "2001 characters; 1000 are allowed"),
        ({}, {"NetworkSettings": TWO}, "label aragora.network missing: the container is in edge, data; say"),
        ({"aragora.network": "other"}, {"NetworkSettings": TWO}, "the container is in edge, data"),
        ({}, {"NetworkSettings": {"Networks": None}}, "port 8080 has no address"),
        ({}, {"config": {"ExposedPorts": {"1/tcp": {}, "2/tcp": {}}}}, "the image exposes 1, 2; add"),
    ],
)
def test_wrong_label_is_named_with_its_fix(labels: dict[str, str], more: dict[str, Any], fault: str) -> None:
    with pytest.raises(LabelError) as raised:
        read(document(labels, **more))
    assert str(raised.value).startswith("container app-1: ")
    assert fault in str(raised.value)


@given(st.dictionaries(st.sampled_from(["host", "path", "port", "service", "health_path", "tls"]), st.text()))
def test_any_text_makes_an_instance_or_a_line(labels: dict[str, str]) -> None:
    try:
        read(document({f"aragora.{name}": text for name, text in labels.items()}))
    except LabelError as fault:
        assert "container app-1: label aragora." in str(fault)


def test_containers_of_one_composed_service_are_peers() -> None:
    composed = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web", "aragora.port": "80"}
    assert read(document(composed)).service.name == "shop-web"
    assert read(document({"aragora.port": "80"})).service.name == "app-1"


def instance(key: str, age: int, *, version: str = "1", name: str = "app", host: str = "") -> Instance:
    service = Service(name, (f"10.0.0.{age}:80",), (host,) if host else (), labelled=True)
    return Instance(key, key, float(age), version, service)


def targets(instances: list[Instance], ready: set[str], serving: Service | None = None) -> dict[str, tuple[str, ...]]:
    made = plan(instances, ready, {serving.name: serving} if serving else {})
    return {service.name: service.target for service, _ in made.deploy}


OLD, NEW, PEER = instance("a", 1), instance("b", 2, version="2"), instance("c", 3, version="2")
SERVING = OLD.service


def test_a_newer_version_waits_until_all_of_it_is_ready() -> None:
    assert targets([OLD], {"a"}) == {"app": ("10.0.0.1:80",)}
    assert targets([OLD, NEW, PEER], {"a", "b"}, SERVING) == {}
    assert targets([OLD, NEW, PEER], {"a", "b", "c"}, SERVING) == {"app": ("10.0.0.2:80", "10.0.0.3:80")}
    assert targets([NEW, PEER], {"b"}) == {"app": ("10.0.0.2:80",)}


def test_a_peer_of_what_serves_need_not_be_waited_for() -> None:
    assert targets([NEW, PEER], {"b"}, NEW.service) == {}
    assert targets([OLD, NEW, PEER], {"a", "b"}, NEW.service) == {}


def test_what_is_being_stopped_serves_only_if_nothing_else_does() -> None:
    stopping = replace(NEW, stopping=True)
    assert targets([OLD, stopping], {"a", "b"}, NEW.service) == {"app": ("10.0.0.1:80",)}
    assert targets([stopping], {"b"}, NEW.service) == {}
    assert plan([stopping], {"b"}, {"app": NEW.service}).remove == []
    assert plan([], set(), {"app": NEW.service}).remove == ["app"]


def test_the_older_service_keeps_what_two_claim() -> None:
    older, newer = instance("a", 1, name="zebra", host="x.example"), instance("b", 2, name="ant", host="x.example")
    made = plan([newer, older], {"a", "b"}, {})
    assert [service.name for service, _ in made.deploy] == ["zebra"]
    (fault,) = made.faults
    assert fault.startswith("container b: labels aragora.host, aragora.path: x.example / is served by service zebra, ")
    # One that serves already stays, although its container was replaced by a younger one.
    replaced = instance("c", 3, name="zebra", host="x.example", version="2")
    made = plan([newer, replaced], {"b", "c"}, {"zebra": older.service})
    assert [service.name for service, _ in made.deploy] == ["zebra"]

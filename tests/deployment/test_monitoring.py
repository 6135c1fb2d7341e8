"""Prometheus' own tools accept the rules, each alert fires and stays quiet when it should, and the real Prometheus
finds data behind every expression of the rules and of the dashboards while both real processes are under load."""

import json
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket
import yaml

from tests.aragora.agents.provider import OpenAI, Provider, answers, provider
from tests.conftest import program
from tests.deployment.pages import blocks, certify
from tests.deployment.processes import CHECKOUT, Running, application, get, ports
from tests.waiting import until

CONF = CHECKOUT / "conf" / "prometheus"
DASHBOARDS = sorted((CHECKOUT / "conf" / "grafana").glob("*.json"))
QUESTION = {"question": "Should we adopt event sourcing?", "agents": ["demo", "demo", "openai", "mistral"], "rounds": 1}


def rules() -> list[dict[str, Any]]:
    files = sorted((CONF / "rules").glob("*.yml"))
    return [rule for file in files for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def promtool(*arguments: str) -> None:
    done = subprocess.run([program("promtool") or "", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.component("prometheus")
def test_prometheus_accepts_configuration_and_rules() -> None:
    promtool("check", "config", str(CONF / "prometheus.yml"))


@pytest.mark.component("prometheus")
def test_the_page_installs_what_prometheus_accepts(tmp_path: Path) -> None:
    (block,) = blocks(CHECKOUT / "docs" / "deployment" / "MONITORING.md", "sh")
    ours = [line for line in block.text.splitlines() if line.startswith(("cp ", "promtool "))]
    script = "\n".join(["set -e", *ours]).replace("/etc/prometheus", str(tmp_path))
    done = subprocess.run(["bash", "-c", script], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 rule files found" in done.stdout


@pytest.mark.component("prometheus")
def test_each_alert_fires_and_stays_quiet_when_it_should() -> None:
    promtool("test", "rules", str(CONF / "tests.yml"))
    tests = yaml.safe_load((CONF / "tests.yml").read_text())["tests"]
    shown = [case for test in tests for case in test["alert_rule_test"]]
    for name in alerts():
        expected = [bool(case["exp_alerts"]) for case in shown if case["alertname"] == name]
        assert sorted(expected) == [False, True], name


def test_each_alert_names_its_page_and_each_page_an_alert() -> None:
    runbooks = CHECKOUT / "docs" / "deployment" / "runbooks"
    named = set()
    for name, rule in alerts().items():
        page = CHECKOUT / rule["annotations"]["runbook"]
        assert page.is_file(), f"{name} names {page}"
        assert page.read_text().startswith(f"# {name}\n"), f"{page} is not about {name}"
        named.add(page)
    assert named == set(runbooks.glob("*.md")) - {runbooks / "README.md"}


def filled(expression: str) -> str:
    """A dashboard's expression as Grafana sends it, with everything chosen."""
    return re.sub(r"\$\w+", ".*", expression.replace("$__rate_interval", "5m"))


def dashboard_expressions() -> Iterator[str]:
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            yield from (filled(target["expr"]) for target in panel.get("targets", ()))


def test_dashboards_are_whole() -> None:
    assert [path.stem for path in DASHBOARDS] == ["debates", "gateway"]
    for path in DASHBOARDS:
        content = json.loads(path.read_text())
        panels = content["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        places = [panel["gridPos"] for panel in panels]
        cells = [
            (x, y)
            for at in places
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        ]
        assert len(set(cells)) == len(cells), "panels lie on one another"
        assert max(x for x, _ in cells) < 24
        assert all(panel["description"] for panel in panels if panel["type"] != "row")
        assert content["annotations"]["list"]


def test_dashboards_use_their_variables_and_their_own_pace() -> None:
    for path in DASHBOARDS:
        content = json.loads(path.read_text())
        variables = {variable["name"] for variable in content["templating"]["list"]}
        text = json.dumps([content["panels"], content["annotations"]])
        assert set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval"} == variables
        assert "[5m]" not in text


def test_each_alert_is_linked_from_a_panel_with_its_threshold() -> None:
    panels = [panel for path in DASHBOARDS for panel in json.loads(path.read_text())["panels"]]
    steps = {
        link["title"].removeprefix("Runbook: "): (panel["title"], panel["fieldConfig"]["defaults"].get("thresholds"))
        for panel in panels
        for link in panel.get("links", ())
    }
    assert set(steps) == set(alerts())
    for panel in panels:
        for link in panel.get("links", ()):
            name = link["title"].removeprefix("Runbook: ")
            assert link["url"].endswith(alerts()[name]["annotations"]["runbook"])
            limit = re.search(r"[<>] ([\d.]+)( \* 86400)?$", alerts()[name]["expr"].strip())
            thresholds = panel["fieldConfig"]["defaults"].get("thresholds")
            if limit and thresholds and float(limit[1]) > 0:
                value = float(limit[1]) * (86400 if limit[2] else 1)
                assert value in [step["value"] for step in thresholds["steps"]], panel["title"]


class Prometheus:
    """A real one, with our configuration at these addresses and at a quicker pace."""

    def __init__(self, port: int) -> None:
        self.port = port

    def query(self, expression: str) -> list[dict[str, Any]]:
        answer = get(self.port, "/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", f"{expression}: {answer}"
        return list(answer["data"]["result"])


@contextmanager
def prometheus(directory: Path, admin: int, http: int) -> Iterator[Prometheus]:
    text = (CONF / "prometheus.yml").read_text()
    ours = {"127.0.0.1:9180": f"127.0.0.1:{admin}", "127.0.0.1:8080": f"127.0.0.1:{http}", ": 15s": ": 1s"}
    for old, new in ours.items():
        assert old in text
        text = text.replace(old, new)
    file = directory / "prometheus.yml"
    file.write_text(text.replace("rules/*.yml", f"{CONF}/rules/*.yml"))
    (port,) = ports(1)
    command = (program("prometheus") or "", f"--config.file={file}", f"--storage.tsdb.path={directory / 'tsdb'}")
    address = f"--web.listen-address=127.0.0.1:{port}"
    with Running(*command, address, log=directory / "prometheus.log") as running:
        running.ready(port, "/-/ready")
        yield Prometheus(port)


@contextmanager
def tls_gateway(directory: Path, upstream: int) -> Iterator[tuple[int, int, Path]]:
    """The gateway that ends TLS itself: its port, its admin's, and the certificate to trust."""
    front, admin = ports(2)
    certify("api.example.org", directory)
    certificate = directory / "certs" / "api.example.org.crt"
    key = directory / "private" / "api.example.org.key"
    command = (sys.executable, "-m", "proxy", "--upstream", f"127.0.0.1:{upstream}", "--workers", "2")
    addresses = ("--bind", f"127.0.0.1:{front}", "--admin", f"127.0.0.1:{admin}")
    tls = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with Running(*command, *addresses, *tls, log=directory / "gateway.log") as running:
        running.ready(admin)
        yield front, admin, certificate


class Load:
    """Requests of every kind that the metrics tell apart, until the `with` is left; a few dozen a second."""

    def __init__(self, front: int, authority: Path) -> None:
        self.front = front
        self.authority = str(authority)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.failures: list[BaseException] = []

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with requests.Session() as session:
                session.trust_env = False
                session.verify = self.authority
                while not self._ended.wait(0.1):
                    self._round(session)
        except BaseException as error:  # the test's own thread tells
            self.failures.append(error)

    def _round(self, session: requests.Session) -> None:
        base = f"https://127.0.0.1:{self.front}"
        asked = session.post(f"{base}/api/debates", json=QUESTION, timeout=30)
        assert asked.status_code == 202, asked.text
        session.get(f"{base}/api/debates?limit=5", headers={"X_Unusual": "1"}, timeout=30)
        session.get(f"{base}/api/debates/none", timeout=30)
        options = {"timeout": 20, "http_no_proxy": ["127.0.0.1"], "sslopt": {"ca_certs": self.authority}}
        channel = websocket.create_connection(f"wss://127.0.0.1:{self.front}/ws", **options)
        channel.send(json.dumps({"type": "subscribe", "debate_id": asked.json()["debate_id"]}))
        channel.recv()
        channel.send(json.dumps({"type": "subscribe", "debate_id": "none"}))
        channel.send("\x00" * 70_000)  # more than a message may hold: closed with 1009
        channel.shutdown()
        context = ssl.create_default_context(cafile=self.authority)
        plain = socket.create_connection(("127.0.0.1", self.front), timeout=20)
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 400 ")


OF_OPTIONS = {
    "aragora_proxy_container_daemon_connected",
    "aragora_proxy_container_faults",
    "aragora_proxy_containers",
    "aragora_proxy_shared_limits_leased",
    "aragora_proxy_shared_limits_up",
}
"""Metrics of a gateway that follows containers or shares its limits, which this one does not."""


def named_in_the_documentation() -> set[str]:
    """Every metric that a page for operators names."""
    pages = [*(CHECKOUT / "docs/deployment").rglob("*.md"), CHECKOUT / "docs/howto/run-the-gateway.md"]
    return {name for page in pages for name in re.findall(r"\baragora(?:_[a-z0-9]+|:[a-z0-9_]+)+", page.read_text())}


def relaxed(expression: str) -> str:
    """An alert's expression as one that has a value while the alert is quiet."""
    return re.sub(r"(?<![=!<>~])(==|>|<)(?=\s)", r"\1 bool", expression)


@pytest.fixture
def models() -> Iterator[Provider]:
    with provider(answers(OpenAI(), "Measure first.")) as found:
        yield found


@pytest.mark.component("prometheus", "openssl")
@pytest.mark.long
@pytest.mark.timeout(240)
def test_every_expression_has_data_under_load(tmp_path: Path, models: Provider) -> None:
    (nobody,) = ports(1)
    environ = {
        "OPENAI_API_KEY": "key-of-nobody",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{nobody}",  # an agent that fails
        "MISTRAL_API_KEY": "key-of-nobody",
        "MISTRAL_BASE_URL": models.url,  # one that answers, and costs
        "ARAGORA_DEMO_DELAY": "0.05",
        "ARAGORA_AUDIT_LOG": str(tmp_path / "audit.log"),
    }
    with (
        application(tmp_path, **environ) as (_application, http, _ws),
        tls_gateway(tmp_path, http) as (front, admin, certificate),
        prometheus(tmp_path, admin, http) as server,
        Load(front, certificate) as load,
    ):
        wanted = {rule["expr"] if "record" in rule else relaxed(rule["expr"]) for rule in rules()}
        wanted |= {rule["record"] for rule in rules() if "record" in rule} | set(dashboard_expressions())
        missing = sorted(wanted)

        def none_missing() -> bool:
            assert not load.failures, load.failures
            missing[:] = [expression for expression in missing if not server.query(expression)]
            return not missing

        until(none_missing, lambda: "no data for\n" + "\n".join(missing), 120)
        known = set(get(server.port, "/api/v1/label/__name__/values").json()["data"])
        known |= {name.removesuffix("_bucket") for name in known}
        assert named_in_the_documentation() - known == OF_OPTIONS
        up = server.query("up")
        assert [sample["value"][1] for sample in up] == ["1", "1"]
        groups = get(server.port, "/api/v1/rules").json()["data"]["groups"]
        assert len(groups) == 2
        assert all(rule["health"] == "ok" for group in groups for rule in group["rules"])

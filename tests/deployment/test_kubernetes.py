"""`conf/kubernetes/`: rendered by kustomize, valid, and in agreement with what application and gateway really do."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from aragora.server import wsgi
from aragora.settings import AGENT_VARIABLES, SETTINGS, Settings, load, unknown
from proxy.settings import load as load_gateway
from tests.conftest import program
from tests.deployment.compositions import certificate
from tests.deployment.manifests import (
    KUBERNETES,
    OVERLAYS,
    Manifest,
    container,
    gateway_file,
    kubectl,
    named,
    pods,
    rendered,
)
from tests.deployment.processes import CHECKOUT, application, get

OLDEST = "1.30"
# Kinds that are not Kubernetes' own, by the fields in use.
SCHEMAS = {
    kind: jsonschema.Draft202012Validator(json.loads((Path(__file__).parent / "schemas" / file).read_text()))
    for kind, file in {"HTTPRoute": "http-route.json", "ServiceMonitor": "service-monitor.json"}.items()
}
SECRETS = "/run/secrets/aragora/"
every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def validate(manifest: Manifest, version: str = OLDEST) -> None:
    """Raise ValidationError unless a cluster of that version would take it."""
    if manifest["kind"] in SCHEMAS:
        SCHEMAS[manifest["kind"]].validate(manifest)
    else:
        kubernetes_validate.validate(manifest, version, strict=True)


@every_overlay
@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
def test_every_manifest_is_valid(overlay: str, version: str) -> None:
    for manifest in rendered(overlay):
        validate(manifest, version)


def test_a_misspelt_field_is_not_valid() -> None:
    for kind in ("HTTPRoute", "ServiceMonitor", "Service", "HorizontalPodAutoscaler", "NetworkPolicy"):
        manifest = named("production", kind)
        misspelt = manifest | {"spec": manifest["spec"] | {"endpoint": 1}}
        with pytest.raises(jsonschema.ValidationError):
            validate(misspelt)


def test_every_component_is_in_an_overlay() -> None:
    used = {
        Path(part).name
        for overlay in OVERLAYS
        for part in yaml.safe_load((KUBERNETES / "overlays" / overlay / "kustomization.yaml").read_text())["components"]
    }
    assert used == {path.name for path in (KUBERNETES / "components").iterdir()}


@every_overlay
def test_every_pod_is_hardened_and_bounded(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        spec, only = pod["spec"], container(pod)
        whole, own = spec["securityContext"], only["securityContext"]
        assert (whole["runAsNonRoot"], whole["runAsUser"]) == (True, 10001), name
        assert whole["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert own["readOnlyRootFilesystem"] is True, name
        assert own["allowPrivilegeEscalation"] is False, name
        assert own["capabilities"] == {"drop": ["ALL"]}, name
        assert spec["automountServiceAccountToken"] is False, name
        # else the cluster sets ARAGORA_PORT and the like, after the services
        assert spec["enableServiceLinks"] is False, name
        assert only["resources"].keys() == {"requests", "limits"}, name


@every_overlay
def test_services_policies_and_budgets_find_their_pods(overlay: str) -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(overlay).items()}
    for manifest in rendered(overlay):
        spec = manifest.get("spec", {})
        chosen = {
            "Service": lambda spec: spec["selector"],
            "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
            "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
        }.get(manifest["kind"])
        if chosen is not None:
            wanted = chosen(spec).items()
            found = [name for name, own in labels.items() if wanted <= own.items()]
            assert found == [manifest["metadata"]["labels"]["app.kubernetes.io/name"]], manifest["metadata"]["name"]
    assert {"aragora"} <= labels.keys()


@every_overlay
def test_ports_lead_to_the_application(overlay: str) -> None:
    only = container(pods(overlay)["aragora"])
    defaults = {"http": load({}).bind, "websocket": load({}).ws_bind}
    assert {port["name"]: port["containerPort"] for port in only["ports"]} == {
        name: int(address.rpartition(":")[2]) for name, address in defaults.items()
    }
    service = {port["name"]: port["port"] for port in named(overlay, "Service")["spec"]["ports"]}
    assert service == {"http": 8080, "websocket": 8766}
    for manifest in rendered(overlay):
        for backend in _found(manifest, "backendRefs"):
            assert all((one["name"], one["port"] in service.values()) == ("aragora", True) for one in backend)
        for backend in _found(manifest, "backend"):
            assert backend["service"]["name"] == "aragora"
            assert backend["service"]["port"]["name"] in service


def _found(tree: Any, key: str) -> list[Any]:
    """Every value of that key, however deep."""
    if isinstance(tree, list):
        return [value for branch in tree for value in _found(branch, key)]
    if isinstance(tree, dict):
        below = [value for branch in tree.values() for value in _found(branch, key)]
        return below + ([tree[key]] if key in tree else [])
    return []


def _settings(overlay: str, directory: Path) -> tuple[Settings, dict[str, str]]:
    """The settings that the application of an overlay starts with, and its variables; secrets are made up."""
    only = container(pods(overlay)["aragora"])
    (reference,) = [source["configMapRef"]["name"] for source in only["envFrom"] if "configMapRef" in source]
    (config,) = [one for one in rendered(overlay) if one["metadata"]["name"] == reference]
    environ: dict[str, str] = config["data"]
    contents = {
        "api-token": "t" * 43,
        "database-url": "postgresql://aragora@postgres.example/aragora",
        "redis-url": "rediss://redis.example:6379/0",
    }
    for name, content in contents.items():
        (directory / name).write_text(content)
    here = {name: value.replace(SECRETS, f"{directory}/") for name, value in environ.items()}
    return load(here), environ


@every_overlay
def test_variables_are_settings_and_secrets_are_referred_to(overlay: str, tmp_path: Path) -> None:
    settings, environ = _settings(overlay, tmp_path)
    assert settings.production
    assert not list(unknown(environ))
    assert not {row.name for row in SETTINGS if row.secret} & environ.keys()
    assert not [manifest for manifest in rendered(overlay) if manifest["kind"] == "Secret"]
    files = [value for name, value in environ.items() if name.endswith("_FILE")]
    for pod in (pod for name, pod in pods(overlay).items() if name != "aragora-gateway"):
        mounts = {mount["mountPath"]: mount["name"] for mount in container(pod)["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        assert volumes[mounts[SECRETS.rstrip("/")]]["secret"]["secretName"] == "aragora"
        assert all(file.startswith(SECRETS) for file in files)
    assert bool(settings.database_url) is bool(settings.redis_url) is (not settings.migrate)


@pytest.mark.component("openssl")
@every_overlay
def test_every_pod_is_given_longer_than_its_drain(overlay: str, tmp_path: Path) -> None:
    drains = {"aragora": float(_settings(overlay, tmp_path)[0].graceful_timeout)}
    if "aragora-gateway" in pods(overlay):
        drains["aragora-gateway"] = load_gateway({}, gateway_file(tmp_path)).graceful + 1
    for name, drain in drains.items():
        pod = pods(overlay)[name]
        waited = container(pod).get("lifecycle", {"preStop": {"sleep": {"seconds": 0}}})["preStop"]["sleep"]["seconds"]
        assert pod["spec"]["terminationGracePeriodSeconds"] >= waited + drain + 5, name


@every_overlay
def test_probes_are_those_of_the_deployment_guide(overlay: str) -> None:
    only = container(pods(overlay)["aragora"])
    told = {
        "livenessProbe": ("/healthz", 30, 10, 5, 3),
        "readinessProbe": ("/ready", 10, 5, 3, 3),
    }
    for kind, numbers in told.items():
        probe = only[kind]
        times = ("initialDelaySeconds", "periodSeconds", "timeoutSeconds", "failureThreshold")
        assert (probe["httpGet"]["path"], *(probe[time] for time in times)) == numbers
        assert probe["httpGet"]["path"] in wsgi.routes()


def test_the_real_application_answers_probes_and_prometheus(tmp_path: Path) -> None:
    only = container(pods("production")["aragora"])
    monitor = named("production", "ServiceMonitor")["spec"]["endpoints"][0]
    with application(tmp_path) as (_running, http, _ws):
        for probe in (only["livenessProbe"], only["readinessProbe"]):
            assert get(http, probe["httpGet"]["path"]).status_code == 200
        scraped = get(http, monitor["path"])
        assert scraped.status_code == 200
        assert get(http, monitor["path"], headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 404
    given = set(re.findall(r"^(aragora_\w+?)(?:\{| )", scraped.text, re.MULTILINE))
    queries = "".join(rule["seriesQuery"] + rule["metricsQuery"] for rule in _adapter_rules())
    assert set(re.findall(r"aragora_\w+(?=\{)", queries)) <= given


def _adapter_rules() -> list[dict[str, Any]]:
    values = yaml.safe_load((KUBERNETES / "prometheus-adapter.yaml").read_text())
    return list(values["rules"]["custom"])


def test_monitor_and_autoscaler_name_what_is_there() -> None:
    monitor = named("production", "ServiceMonitor")["spec"]
    service = named("production", "Service")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    autoscaler = named("production", "HorizontalPodAutoscaler")["spec"]
    wanted = {metric["pods"]["metric"]["name"] for metric in autoscaler["metrics"]}
    assert wanted == {rule["name"]["as"] for rule in _adapter_rules()}
    scaled = autoscaler["scaleTargetRef"]
    target = named("production", "Deployment")
    assert (scaled["kind"], scaled["name"]) == ("Deployment", target["metadata"]["name"])
    assert "replicas" not in target["spec"]


@pytest.mark.component("prometheus")
def test_the_adapter_s_queries_give_the_share_that_is_used(tmp_path: Path) -> None:
    """800 of 1000 connections and 48 of 60 seconds of two workers each: 0.8, where the autoscaler begins."""
    labels = 'namespace="a",pod="p"'
    records = []
    for rule in _adapter_rules():
        query = rule["metricsQuery"].replace("<<.LabelMatchers>>", labels).replace("<<.GroupBy>>", "pod")
        records.append({"record": rule["name"]["as"], "expr": query})
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "adapter", "rules": records}]}))
    series = {
        f"aragora_worker_cpu_seconds_total{{{labels}}}": "0+96x10",
        f"aragora_workers{{{labels}}}": "2x10",
        f"aragora_worker_active_connections{{{labels}}}": "800x10",
        f"aragora_worker_connections{{{labels}}}": "1000x10",
    }
    expected = [
        {"expr": record["record"], "eval_time": "10m",
         "exp_samples": [{"labels": f'{record["record"]}{{pod="p"}}', "value": 0.8}]}
        for record in records
    ]  # fmt: skip
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": expected,
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    command = [program("promtool") or "promtool", "test", "rules", str(tmp_path / "test.yml")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.component("openssl")
def test_the_gateway_has_what_its_file_names(tmp_path: Path) -> None:
    file = gateway_file(tmp_path)
    checked = subprocess.run(
        [sys.executable, "-m", "proxy", "check", str(file)], cwd=CHECKOUT, capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    settings = load_gateway({}, file)
    assert [str(address) for address in settings.upstream] == ["aragora:8080"]
    assert settings.upstream_keepalive <= load({}).keepalive
    template = pods("own-gateway")["aragora-gateway"]
    only = container(template)
    assert settings.admin
    listening = {address.port for address in (*settings.bind, *settings.bind_plain, settings.admin)}
    ports = {port["name"]: port["containerPort"] for port in only["ports"]}
    assert set(ports.values()) == listening
    assert ports["admin"] == settings.admin.port
    assert {only[kind]["httpGet"]["port"] for kind in ("livenessProbe", "readinessProbe")} == {"admin"}
    volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in only["volumeMounts"]}
    generated = named("own-gateway", "ConfigMap", "aragora-gateway")
    assert mounts[str(Path(only["command"][-1]).parent)]["configMap"]["name"] == generated["metadata"]["name"]
    given = {place: volume["secret"]["secretName"] for place, volume in mounts.items() if "secret" in volume}
    assert given == {f"/run/secrets/{name}": name for name in ("aragora-gateway", "aragora-tls")}
    assert named("ingress", "Ingress")["spec"]["tls"][0]["secretName"] == "aragora-tls"
    secret, key = given["/run/secrets/aragora-gateway"], settings.admin_token_file
    asked = named("own-gateway", "ServiceMonitor", "aragora-gateway")["spec"]["endpoints"][0]
    assert key
    assert asked["authorization"]["credentials"] == {"name": secret, "key": key.name}
    served = named("own-gateway", "Service", "aragora-gateway-admin")["spec"]["ports"]
    assert [port["name"] for port in served] == [asked["port"]]


def test_small_has_one_user_of_its_file() -> None:
    deployment = named("small", "Deployment")["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    (data,) = [one for one in deployment["template"]["spec"]["volumes"] if one["name"] == "data"]
    claim = named("small", "PersistentVolumeClaim")
    assert data == {"name": "data", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}
    assert not [one for one in rendered("small") if one["kind"] in {"HorizontalPodAutoscaler", "Job"}]


@pytest.mark.component("openssl")
def test_the_page_makes_the_secrets_that_are_referred_to(tmp_path: Path) -> None:
    """Its commands, run by the real kubectl without a cluster."""
    page = (CHECKOUT / "docs/deployment/kubernetes.md").read_text()
    block = re.search(r"```sh\n(kubectl create namespace.*?)```", page, re.DOTALL)
    assert block
    # "\\" at its end continues a line; every command ends by saying that no cluster is to be asked
    chain, key = certificate(tmp_path)
    chain.rename(tmp_path / "fullchain.pem")
    key.rename(tmp_path / "privkey.pem")
    script = re.sub(r"(?<!\\)\n", " --dry-run=client -o yaml; echo ---\n", block[1])
    directory = Path(kubectl()).parent
    ended = subprocess.run(
        ["sh", "-eu", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | {"PATH": f"{directory}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    made: list[Manifest] = [one for one in yaml.safe_load_all(ended.stdout) if one]
    secrets = {one["metadata"]["name"]: set(one["data"]) for one in made if one["kind"] == "Secret"}
    environ = named("production", "ConfigMap")["data"]
    files = {value.removeprefix(SECRETS) for value in environ.values() if value.startswith(SECRETS)}
    assert secrets["aragora"] == files
    assert secrets["aragora-gateway"] == {"admin-token"}
    assert secrets["aragora-tls"] == {"tls.crt", "tls.key"}
    assert secrets["aragora-models"] <= {row.name for row in AGENT_VARIABLES}
    sources = container(pods("production")["aragora"])["envFrom"]
    assert [source["secretRef"]["name"] for source in sources if "secretRef" in source] == ["aragora-models"]


def test_bodies_on_disk_do_not_have_the_gateway_evicted(tmp_path: Path) -> None:
    pod = pods("own-gateway")["aragora-gateway"]["spec"]
    (limit,) = [volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"] if volume["name"] == "tmp"]
    settings = load_gateway({}, gateway_file(tmp_path))
    assert settings.spool_total + (settings.workers << 20) < int(limit.removesuffix("Gi")) << 30

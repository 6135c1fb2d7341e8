"""conf/nginx/aragora.conf under the real nginx, before the real gunicorn."""

import json
import subprocess
from collections import Counter as Waiting
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket

from tests.deployment.front import Counter, Frontend, nginx
from tests.deployment.processes import GUNICORN, Running, application, load, ports
from tests.waiting import until

pytestmark = [pytest.mark.component("nginx"), pytest.mark.component("openssl"), pytest.mark.component("curl")]

QUESTION = {"question": "Should we adopt event sourcing?", "agents": ["demo"] * 3, "rounds": 1}
FORGED = {
    "X-Forwarded-Proto": "gopher",
    "X-Forwarded-Protocol": "ssl",
    "X-Forwarded-Ssl": "on",
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Host": "evil.example",
    "X-Real-IP": "203.0.113.9",
    "X-Request-ID": "forged",
    "Forwarded": "for=203.0.113.9;proto=gopher",
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """The application's two ports."""
    # No worker is replaced, and with it its connections, while a test counts them.
    own = {"ARAGORA_DEMO_DELAY": "0.1", "ARAGORA_MAX_REQUESTS": "0"}
    with application(tmp_path_factory.mktemp("application"), **own) as (_running, http, ws):
        yield http, ws


@pytest.fixture
def front(app: tuple[int, int], tmp_path: Path) -> Iterator[Frontend]:
    with nginx(tmp_path, *app) as running:
        yield running


@pytest.fixture
def teller(tmp_path: Path) -> Iterator[Frontend]:
    """nginx before a gunicorn that answers what it was told."""
    (http,) = ports(1)
    command = (GUNICORN, "tests.deployment.told:application", "--bind", f"127.0.0.1:{http}", "--no-control-socket")
    with Running(*command, "--keep-alive", "5", "--worker-class", "gevent", log=tmp_path / "teller.log") as running:
        running.ready(http)
        with nginx(tmp_path, http, http) as front:
            yield front


def get(front: Frontend, path: str, **options: Any) -> requests.Response:
    """One request over TLS; the certificate is verified."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(front.certificate)
        method = options.pop("method", "GET")
        return session.request(method, f"https://127.0.0.1:{front.tls}{path}", timeout=60, **options)


def connected(front: Frontend) -> websocket.WebSocket:
    """An open WebSocket."""
    return websocket.create_connection(
        f"wss://127.0.0.1:{front.tls}/ws",
        timeout=30,
        http_no_proxy=["*"],
        sslopt={"ca_certs": str(front.certificate)},
        suppress_origin=True,
    )


def test_a_debate_over_http_and_websocket(front: Frontend) -> None:
    created = get(front, "/api/debates", method="POST", json=QUESTION)
    assert created.status_code == 202
    channel = connected(front)
    try:
        message = {"type": "subscribe", "debate_id": created.json()["debate_id"], "replay_from_seq": 0}
        channel.send(json.dumps(message))
        seen = [0]
        while (event := json.loads(channel.recv()))["type"] != "debate_end":
            seen += [event["seq"]] if event.get("seq") else []
        assert seen == list(range(len(seen)))
    finally:
        channel.shutdown()
    assert get(front, "/").headers["Content-Type"].startswith("text/html")


def test_a_load_of_debates_and_sockets_loses_nothing(app: tuple[int, int], tmp_path: Path) -> None:
    unlimited = {"rate=20r/s": "rate=10000r/s"}
    with nginx(tmp_path, *app, unlimited) as front, load(f"https://127.0.0.1:{front.tls}") as counts:
        pass
    assert counts.lost == []
    assert counts.seen["watched"] >= 3


def test_health_and_readiness_answer_and_are_not_logged(front: Frontend) -> None:
    for path in ("/health", "/healthz", "/ready"):
        assert get(front, path).status_code == 200
    assert get(front, "/api/agents/availability").status_code == 200
    until(lambda: "/api/agents/availability" in front.log.read_text(), "a log line")
    assert "health" not in front.log.read_text()


@pytest.mark.parametrize(
    "path", ["/metrics", "/metrics/", "/metrics?x=1", "//metrics", "/%6detrics", "/api/../metrics"]
)
def test_metrics_are_not_exposed(front: Frontend, path: str) -> None:
    for token in ({}, {"Authorization": "Bearer anything"}):
        sent = requests.Request("GET", f"https://127.0.0.1:{front.tls}/", headers=token).prepare()
        sent.url = f"https://127.0.0.1:{front.tls}{path}"  # as it stands
        with requests.Session() as session:
            session.trust_env = False
            answer = session.send(sent, verify=str(front.certificate), timeout=30)
        assert answer.status_code == 404
        assert "aragora_" not in answer.text


@pytest.mark.parametrize("change", [{}, {"Connection         $aragora_connection;": "Connection close;"}])
def test_connections_to_gunicorn_are_kept(app: tuple[int, int], tmp_path: Path, change: dict[str, str]) -> None:
    with Counter(app[0]) as counter, nginx(tmp_path, counter.port, app[1], change) as front:
        for _ in range(30):
            assert get(front, "/healthz").status_code == 200
        assert counter.connections == (30 if change else 1)


@pytest.mark.parametrize("path", ["/api/debates", "/ws", "/health", "/ready", "/anything"])
def test_forged_fields_are_overwritten_everywhere(teller: Frontend, path: str) -> None:
    answer = get(teller, path, headers=FORGED)
    assert answer.status_code == 200
    told = answer.json()
    assert told["scheme"] == "https"
    assert told["HTTP_HOST"] == told["HTTP_X_FORWARDED_HOST"] == f"127.0.0.1:{teller.tls}"
    assert told["HTTP_X_REAL_IP"] == told["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"
    assert told["HTTP_X_FORWARDED_PROTO"] == "https"
    assert len(told["HTTP_X_REQUEST_ID"]) == 32
    for field in ("X_FORWARDED_PROTOCOL", "X_FORWARDED_SSL", "FORWARDED", "CONNECTION", "UPGRADE"):
        assert f"HTTP_{field}" not in told
    assert not {"203.0.113.9", "evil.example", "gopher", "forged"} & set(told.values())


def test_only_a_websocket_is_an_upgrade(teller: Frontend) -> None:
    assert "HTTP_UPGRADE" not in get(teller, "/ws", headers={"Upgrade": "h2c", "Connection": "Upgrade"}).json()
    told = get(teller, "/ws", headers={"Upgrade": "websocket", "Connection": "Upgrade"}).json()
    assert (told["HTTP_UPGRADE"], told["HTTP_CONNECTION"]) == ("websocket", "upgrade")


def test_http_2_and_tls(front: Frontend) -> None:
    url = f"https://127.0.0.1:{front.tls}/healthz"
    curl = ["curl", "--silent", "--noproxy", "*", "--cacert", str(front.certificate), "--output", "/dev/null"]
    for flag, version in (("--http2", "2"), ("--http1.1", "1.1")):
        said = subprocess.run(
            [*curl, flag, "--write-out", "%{http_version} %{response_code}", url],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert said.stdout == f"{version} 200"
    refused = subprocess.run([*curl, "--tls-max", "1.1", url], capture_output=True, timeout=30)
    assert refused.returncode == 35  # no common version
    assert get(front, "/healthz").headers["Strict-Transport-Security"] == "max-age=31536000"
    assert get(front, "/healthz").headers["Server"] == "nginx"


def test_http_2_without_a_websocket_is_told_what_is_missing(front: Frontend) -> None:
    curl = ["curl", "--silent", "--http2", "--noproxy", "*", "--cacert", str(front.certificate)]
    said = subprocess.run([*curl, f"https://127.0.0.1:{front.tls}/ws"], capture_output=True, timeout=30, check=True)
    assert json.loads(said.stdout)["error"]["code"] == "upgrade_required"


def test_a_request_of_http_2_carries_its_authority_on(teller: Frontend) -> None:
    curl = ["curl", "--silent", "--http2", "--noproxy", "*", "--cacert", str(teller.certificate)]
    said = subprocess.run([*curl, f"https://127.0.0.1:{teller.tls}/"], capture_output=True, timeout=30, check=True)
    assert json.loads(said.stdout)["HTTP_HOST"] == f"127.0.0.1:{teller.tls}"


def test_plain_http_is_redirected_and_serves_challenges(front: Frontend, tmp_path: Path) -> None:
    challenge = tmp_path / ".well-known" / "acme-challenge"
    challenge.mkdir(parents=True)
    (challenge / "token").write_text("answer")
    with requests.Session() as session:
        session.trust_env = False
        plain = f"http://127.0.0.1:{front.plain}"
        moved = session.get(f"{plain}/api/debates?limit=3", allow_redirects=False, timeout=30)
        assert (moved.status_code, moved.headers["Location"]) == (301, "https://127.0.0.1/api/debates?limit=3")
        assert session.get(f"{plain}/.well-known/acme-challenge/token", timeout=30).text == "answer"


def test_a_large_body_is_refused_by_nginx(teller: Frontend) -> None:
    assert get(teller, "/api/debates", method="POST", data=bytes(49 << 20)).json()["body"] == 49 << 20
    assert get(teller, "/api/debates", method="POST", data=bytes(51 << 20)).status_code == 413


def test_a_client_that_asks_too_often_is_told_so(app: tuple[int, int], tmp_path: Path) -> None:
    # slower than shipped: a busy machine may not ask 120 times in the seconds that 20 a second allow
    with nginx(tmp_path, *app, {"rate=20r/s": "rate=1r/s"}) as front:

        def ask(_: int) -> int:
            return get(front, "/api/agents/availability").status_code

        with ThreadPoolExecutor(8) as threads:
            answers = Waiting(threads.map(ask, range(120)))
        assert set(answers) == {200, 429}
        assert answers[200] >= 41
        assert get(front, "/healthz").status_code == 200  # probes are not limited


def test_one_address_has_100_connections_at_most(app: tuple[int, int], tmp_path: Path) -> None:
    with nginx(tmp_path, *app, {"rate=20r/s": "rate=10000r/s"}) as front, ThreadPoolExecutor(8) as threads:
        channels = list(threads.map(lambda _: connected(front), range(100)))
        try:
            with pytest.raises(websocket.WebSocketBadStatusException) as refused:
                connected(front)
            assert refused.value.status_code == 429
        finally:
            for channel in channels:
                channel.shutdown()

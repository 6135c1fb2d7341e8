"""The guide to configuration, followed to the letter: variables, included files, a reload, settings as variables."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.deployment.pages import blocks
from tests.deployment.processes import CHECKOUT, Running, accepts, get
from tests.ports import ports
from tests.proxy.filters.origin import origin
from tests.waiting import until

GUIDE = CHECKOUT / "docs" / "howto" / "configuration.md"
PROXY = str(Path(sys.executable).with_name("aragora-proxy"))


def written(directory: Path, addresses: dict[str, str]) -> Path:
    """The guide's files in that directory. Returns the first one."""
    files = []
    for block in blocks(GUIDE, "toml"):
        name = re.match(r"# /etc/gateway/(\S+)", block.text)
        assert name
        file = directory / name[1]
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(renamed(block.text, addresses))
        files.append(file)
    return files[0]


def renamed(text: str, addresses: dict[str, str]) -> str:
    for old, new in addresses.items():
        text = text.replace(old, new)
    return text


def command(line: str) -> tuple[dict[str, str], list[str]]:
    """The variables of a shell's line, and its words."""
    words = shlex.split(line)
    variables = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
    return variables, [PROXY, *words[len(variables) + 1 :]]


def run(line: str) -> subprocess.CompletedProcess[str]:
    variables, words = command(line)
    return subprocess.run(words, env=os.environ | variables, capture_output=True, text=True, timeout=60, check=False)


def test_variables_and_included_files(tmp_path: Path) -> None:
    front, admin = ports(2)
    with origin() as application:
        addresses = {"0.0.0.0:8000": f"127.0.0.1:{front}", "8080": str(application), "/etc/gateway": str(tmp_path)}
        file = written(tmp_path, addresses)
        check, reload = renamed(blocks(GUIDE, "sh")[0].text, addresses).splitlines()
        checked = run(check)
        assert checked.returncode == 0, checked.stderr
        assert "${API_KEY}" in checked.stdout
        missing = run(check.replace("API_KEY=k ", ""))
        assert f"{file}:6: set_request_fields" in missing.stderr
        variables, _ = command(check)
        own = {
            "ARAGORA_PROXY_ADMIN": f"127.0.0.1:{admin}",
            "ARAGORA_PROXY_WORKERS": "1",
            "ARAGORA_PROXY_CONFIG": str(file),
        }
        variables |= own | {"API_KEY": "a-secret-key"}
        with Running(PROXY, log=tmp_path / "log", **variables) as running:
            until(lambda: running.process.poll() is not None or accepts(front), "it listens")
            assert running.process.poll() is None, running.output()
            assert get(front, "/").json()["fields"]["x-api-key"] == "a-secret-key"
            assert get(front, "/", headers={"Host": "shop.example"}).text == "the shop"

            shop = tmp_path / "conf.d" / "shop.toml"
            text = shop.read_text()
            shop.write_text(text.replace("respond", "respont"))
            variables = {"APP_PORT": str(application), "API_KEY": "x", "ARAGORA_PROXY_ADMIN": f"127.0.0.1:{admin}"}
            at_once = " ".join(f"{name}={value}" for name, value in variables.items())
            refused = run(f"{at_once} {reload}")
            assert f"{shop}:5: route shop: respont: unknown setting" in refused.stderr + refused.stdout
            assert get(front, "/", headers={"Host": "shop.example"}).text == "the shop"
            shop.write_text(text.replace("the shop", "open"))
            assert run(f"{at_once} {reload}").returncode == 0
            assert get(front, "/", headers={"Host": "shop.example"}).text == "open"
            status = get(admin, "/status.json").text
            assert "a-secret-key" not in status + running.output()


def test_settings_as_variables(tmp_path: Path) -> None:
    front, admin = ports(2)
    with origin() as first, origin() as second:
        addresses = {"127.0.0.1:8000": f"127.0.0.1:{front}", "8080": str(first), "8081": str(second)}
        variables, words = command(renamed(blocks(GUIDE, "sh")[1].text, addresses))
        variables["ARAGORA_PROXY_ADMIN"] = f"127.0.0.1:{admin}"
        with Running(*words, log=tmp_path / "log", **variables) as running:
            until(lambda: running.process.poll() is not None or accepts(front), "it listens")
            assert running.process.poll() is None, running.output()
            assert {get(front, "/").json()["port"] for _ in range(8)} == {first, second}
            shown = subprocess.run(
                [PROXY, "status"], env=os.environ | variables, capture_output=True, text=True, timeout=60, check=False
            )
            assert f"127.0.0.1:{second}" in shown.stdout, shown.stderr

"""Applications of others behind the gateway, by their own clients, with the settings of docs/howto/applications.md."""

import base64
import json
import os
import subprocess
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websocket import create_connection

from tests.aragora.server.browser import browser
from tests.conftest import CACHE, program
from tests.deployment.processes import CHECKOUT, Running, get
from tests.ports import ports
from tests.proxy.gateway import Gateway, serve

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
BIN = CACHE / "applications/venv/bin"
CLIENTS = Path(__file__).parent / "clients"
GUIDE = CHECKOUT / "docs/howto/applications.md"
installed = pytest.mark.component("applications")


@contextmanager
def behind(
    folder: Path, *command: str, path: str = "/", guide: str = "## Large uploads", **environ: str
) -> Iterator[tuple[Gateway, int]]:
    """The gateway by a section of the guide, and the port of the application behind it; PORT is that in `command`."""
    (port,) = ports(1)
    text = GUIDE.read_text().partition(guide)[2].partition("```toml\n")[2].partition("```")[0]
    for written, here in (
        ("127.0.0.1:8080", f"127.0.0.1:{port}"),
        ("127.0.0.1:9000", f"127.0.0.1:{port}"),
        ("storage.example.com", "127.0.0.1"),
    ):
        text = text.replace(written, here)
    (folder / "gateway.toml").write_text(text)
    words = [word.replace("PORT", str(port)) for word in command]
    with Running(
        *words, log=folder / "application.log", cwd=folder, HOME=str(folder), PORT=str(port), **environ
    ) as running:
        running.ready(port, path)
        gateway = serve(folder / "gateway", "", "--config", str(folder / "gateway.toml"))
        try:
            yield gateway, port
        finally:
            gateway.close()


def said(*command: str) -> str:
    """What a client prints, once it has ended well."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env={**os.environ, "NO_PROXY": "*"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@installed
def test_s3_gets_keys_and_metadata_as_they_were_signed(tmp_path: Path) -> None:
    command = (str(BIN / "moto_server"), "-H", "127.0.0.1", "-p", "PORT")
    with behind(tmp_path, *command, guide="## Storage", path="/moto-api/", INITIAL_NO_AUTH_ACTION_COUNT="3") as (
        gateway,
        port,
    ):
        assert "good" in said(str(BIN / "python"), str(CLIENTS / "s3.py"), gateway.url, f"http://127.0.0.1:{port}")


@installed
def test_gradio_answers_word_by_word(tmp_path: Path) -> None:
    command = (str(BIN / "python"), str(CLIENTS / "gradio_words.py"))
    with behind(tmp_path, *command, "PORT", GRADIO_ANALYTICS_ENABLED="False") as (gateway, _):
        assert "good" in said(*command, gateway.url)


@installed
@pytest.mark.component("chromium")
def test_streamlit_shows_its_page(tmp_path: Path) -> None:
    application = str(CHECKOUT / "examples/streamlit/app.py")
    options = ("--server.address", "127.0.0.1", "--server.port", "PORT", "--server.headless", "true")
    command = (str(BIN / "streamlit"), "run", application, *options)
    with behind(tmp_path, *command, path="/_stcore/health") as (gateway, _), browser(tmp_path / "chromium") as page:
        page.go(gateway.url)
        page.wait("document.querySelector('input[type=text]') !== null")
        page.evaluate("document.querySelector('input[type=text]').focus()")
        page.type("Ada")
        page.press("Enter", 13)
        page.wait("document.body.innerText.includes('Hello, Ada')")


@installed
def test_jupyter_runs_code_and_takes_large_notebooks(tmp_path: Path) -> None:
    options = ("--ip", "127.0.0.1", "--port", "PORT", "--no-browser", "--allow-root", "--IdentityProvider.token=known")
    with behind(tmp_path, str(BIN / "jupyter"), "server", *options, path="/login") as (gateway, _):
        known = {"Authorization": "token known"}
        kernel = get(gateway.port, "/api/kernels", method="POST", headers=known, json={}).json()["id"]
        address = f"ws://127.0.0.1:{gateway.port}/api/kernels/{kernel}/channels?token=known"
        socket = create_connection(address, timeout=60, origin=gateway.url)
        header = {
            "msg_id": uuid.uuid4().hex,
            "username": "",
            "session": "s",
            "msg_type": "execute_request",
            "version": "5.3",
        }
        asked = {
            "code": "print(6 * 7)",
            "silent": False,
            "store_history": False,
            "user_expressions": {},
            "allow_stdin": False,
        }
        socket.send(
            json.dumps({"header": header, "parent_header": {}, "metadata": {}, "content": asked, "channel": "shell"})
        )
        while (message := json.loads(socket.recv()))["header"]["msg_type"] != "stream":
            pass
        assert message["content"]["text"] == "42\n"
        socket.close()
        large = {"type": "file", "format": "base64", "content": base64.b64encode(bytes(60 << 20)).decode()}
        assert (
            get(
                gateway.port, "/api/contents/large.bin", method="PUT", headers=known, json=large, patience=120
            ).status_code
            == 201
        )
        assert (tmp_path / "large.bin").stat().st_size == 60 << 20


LOCK = """<D:lockinfo xmlns:D="DAV:">
<D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype>
</D:lockinfo>"""


@installed
def test_webdav_locks_moves_and_takes_large_files(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    command = (str(BIN / "wsgidav"), "--host", "127.0.0.1", "--port", "PORT", "--root", "files", "--auth", "anonymous")
    with behind(tmp_path, *command) as (gateway, _):

        def ask(method: str, path: str, **options: object) -> int:
            return get(gateway.port, path, method=method, **options).status_code

        assert ask("MKCOL", "/box/") == 201
        assert ask("PUT", "/box/%C3%BCn%C3%AF.bin", data=bytes(60 << 20), patience=120) == 201
        moved = {"Destination": f"{gateway.url}/box/moved.bin", "Overwrite": "F"}
        assert ask("MOVE", "/box/%C3%BCn%C3%AF.bin", headers=moved) == 201
        assert ask("PROPFIND", "/box/", headers={"Depth": "1"}) == 207
        locked = get(gateway.port, "/box/moved.bin", method="LOCK", data=LOCK, headers={"Timeout": "Second-60"})
        assert ask("PUT", "/box/moved.bin", data=b"x") == 423
        token = {"If": f"({locked.headers['Lock-Token']})"}
        assert ask("PUT", "/box/moved.bin", data=b"mine", headers=token) == 204
        assert get(gateway.port, "/box/moved.bin", headers={"Range": "bytes=1-2"}).text == "in"


@installed
def test_a_package_index_takes_and_gives_packages(tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    wheel = tmp_path / "behindgateway-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as made:
        made.writestr("behindgateway.py", "")
        made.writestr(
            "behindgateway-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: behindgateway\nVersion: 1.0\n"
        )
        made.writestr(
            "behindgateway-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr("behindgateway-1.0.dist-info/RECORD", "")
    command = (str(BIN / "pypi-server"), "run", "-i", "127.0.0.1", "-p", "PORT", "-P", ".", "-a", ".", "packages")
    with behind(tmp_path, *command) as (gateway, _):
        upload = {":action": "file_upload", "protocol_version": "1", "name": "behindgateway", "version": "1.0"}
        sent = get(gateway.port, "/", method="POST", data=upload, files={"content": (wheel.name, wheel.read_bytes())})
        assert sent.status_code == 200, sent.text
        pip = (
            str(BIN / "python"),
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--disable-pip-version-check",
            "--no-cache-dir",
        )
        said(*pip, "--index-url", f"{gateway.url}/simple", "--dest", str(tmp_path / "got"), "behindgateway")
    assert (tmp_path / "got" / wheel.name).read_bytes() == wheel.read_bytes()


LIGHTTPD = """server.document-root = "{folder}"
server.port = env.PORT
server.bind = "127.0.0.1"
server.modules = ("mod_alias", "mod_cgi", "mod_setenv")
setenv.add-environment = ("GIT_PROJECT_ROOT" => "{folder}", "GIT_HTTP_EXPORT_ALL" => "1", "REMOTE_USER" => "tester")
$HTTP["url"] =~ "^/git/" {{
    alias.url = ("/git" => "{backend}")
    cgi.assign = ("" => "")
}}
"""


@pytest.mark.component("git", "lighttpd")
def test_git_pushes_and_clones_large_repositories(tmp_path: Path) -> None:
    git = program("git") or ""
    backend = said(git, "--exec-path").strip() + "/git-http-backend"
    said(git, "init", "-q", "--bare", str(tmp_path / "box.git"))
    said(git, "-C", str(tmp_path / "box.git"), "config", "http.receivepack", "true")
    (tmp_path / "lighttpd.conf").write_text(LIGHTTPD.format(folder=tmp_path, backend=backend))
    command = (program("lighttpd") or "", "-D", "-f", str(tmp_path / "lighttpd.conf"))
    with behind(tmp_path, *command, path="/lighttpd.conf") as (gateway, _):
        here = tmp_path / "here"
        said(git, "init", "-q", "-b", "main", str(here))
        (here / "large.bin").write_bytes(os.urandom(60 << 20))
        identity = ("-c", "user.name=Tester", "-c", "user.email=tester@example.com")
        said(git, "-C", str(here), "add", ".")
        said(git, "-C", str(here), *identity, "commit", "-qm", "Large")
        said(git, "-C", str(here), "push", "-q", f"{gateway.url}/git/box.git", "main")
        said(git, "clone", "-q", "-b", "main", f"{gateway.url}/git/box.git", str(tmp_path / "clone"))
    assert (tmp_path / "clone/large.bin").stat().st_size == 60 << 20

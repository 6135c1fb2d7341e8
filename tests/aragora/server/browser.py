"""A headless Chromium, driven through its DevTools protocol: just enough to use the console as a person would."""

import base64
import itertools
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import websocket

from tests.conftest import CACHE
from tests.waiting import PATIENCE, until

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


MODULES = CACHE / "pages/node_modules"
AXE = MODULES / "axe-core/axe.min.js"
_BROKEN = """axe.run(document, { resultTypes: ["violations"] }).then((found) => found.violations.map(
  ({ id, nodes }) => [id, nodes.length, nodes.slice(0, 3).map((one) => [one.target.join(" "), one.failureSummary])]))"""


def violations(page: "Page") -> list[Any]:
    """The rules of axe that the page breaks, each with the number of elements and the first of them.

    The page should be `still`: what fades in has little contrast for a moment.
    """
    page.evaluate(AXE.read_text())  # from the inspector, which a page's policy does not bind
    return list(page.evaluate(_BROKEN))


def lighthouse(page: "Page", places: dict[str, tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """Lighthouse's scores of each address, once its expression is true, in light and in dark; see `lighthouse.mjs`."""
    asked = [
        {"name": name, "address": address, "ready": ready, "colours": colours}
        for name, (address, ready) in places.items()
        for colours in ("light", "dark")
    ]
    command = ["node", str(Path(__file__).with_name("lighthouse.mjs")), str(MODULES), str(page.port)]
    seconds = PATIENCE * len(asked)
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


FORM = "document.querySelector('#ask-form:not([aria-busy]) #agent-list li') !== null"
"""Until then the form is hidden, and nothing in it takes the focus."""


class Page:
    """One page; every call waits for its answer."""

    def __init__(self, address: str) -> None:
        self.port = urlsplit(address).port
        self._socket = websocket.create_connection(address, timeout=PATIENCE, suppress_origin=True)
        self._numbers = itertools.count(1)
        self.console: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command's result."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("method") == "Log.entryAdded":
            self.console.append(message["params"]["entry"]["text"])
        elif message.get("method") == "Runtime.exceptionThrown":
            self.console.append(str(message["params"]["exceptionDetails"].get("exception", {}).get("description")))

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, promises included."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str, patience: float = PATIENCE) -> Any:
        """The first truthy value of `expression`."""
        return until(lambda: self.evaluate(expression), lambda: f"{expression}; console: {self.console}", patience)

    def go(self, address: str) -> None:
        """Open `address`."""
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def desktop(self, address: str, ready: str = "true") -> "Page":
        """Open an address anew on a desktop, with the keyboard in it, until it is `ready`; the console is empty."""
        self.look(1280, 900)
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.go("about:blank")
        self.go(address)
        self.wait(ready)
        self.console.clear()
        return self

    def look(self, width: int, height: int, *, dark: bool = False, still: bool = False) -> None:
        """Take the size and colours of a device; `still`: its user wants no animations."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        features = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce" if still else "no-preference",
        }
        wanted = [{"name": name, "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=wanted)

    def type(self, text: str) -> None:
        """Write into what has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, code: int, modifiers: int = 0) -> None:
        """Press and release one key."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, modifiers=modifiers
            )

    def screenshot(self, path: Path) -> None:
        """Save what is visible as PNG."""
        answer = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(answer["data"]))

    def close(self) -> None:
        """Leave the page."""
        self._socket.close()


@contextmanager
def browser(directory: Path, program: str = "chromium") -> Iterator[Page]:
    """A page of a new browser whose profile lives in `directory`."""
    running = subprocess.Popen(
        [program, *FLAGS, f"--user-data-dir={directory}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        page = Page(_page_address(directory))
        try:
            yield page
        finally:
            page.close()
    finally:
        running.terminate()
        running.wait(PATIENCE)


def _page_address(directory: Path) -> str:
    port_file = directory / "DevToolsActivePort"
    until(lambda: port_file.exists() and port_file.read_text().count("\n"), "Chromium's DevTools port")
    port = port_file.read_text().split("\n")[0]

    def pages() -> list[str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE) as answer:
            return [item["webSocketDebuggerUrl"] for item in json.load(answer) if item["type"] == "page"]

    return until(pages, "Chromium's first page")[0]

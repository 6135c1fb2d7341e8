"""Start the application and the gateway before it, ask one question through both, and keep them until Ctrl-C.

Called by `scripts/up`, inside `.venv`. Standard output tells what happens; what the two processes write goes to
`var/log/`, their database to `var/data/`.
"""

import argparse
import errno
import http.client
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.text import Text

CHECKOUT = Path(__file__).resolve().parent.parent
VAR = CHECKOUT / "var"
QUESTION = "Should we adopt event sourcing?"
AGENTS = "demo,demo,demo"
ROUNDS = "2"

READY_SECONDS = 60.0
DEBATE_SECONDS = 60.0
DRAIN_SECONDS = 45.0
TAIL_LINES = 15

console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())


class PartError(Exception):
    """A part that did not do its work; says which, why, and where its log is."""


@dataclass
class Part:
    """One of the two processes: a supervisor with its workers, in a process group of its own."""

    name: str
    command: list[str]
    environ: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Ctrl-C reaches the terminal's group only; out of it, a part stops at its signal, and drains."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=CHECKOUT,
                env=os.environ | self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raises PartError when the process has ended by itself."""
        code = self.process.poll() if self.process else None
        if code is not None:
            raise PartError(f"{self.name} ended by itself ({_ending(code)})\n{self.told()}")

    def told(self) -> str:
        """The last lines of the log, and where it is."""
        lines = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if self.log.exists() else []
        return "\n".join([*(f"  | {line}" for line in lines), f"its log: {self.log_name}"])

    @property
    def log_name(self) -> str:
        return str(self.log.relative_to(CHECKOUT))

    def stop(self) -> str:
        """Drain; answers what went wrong, or nothing. A Ctrl-C meanwhile ends it at once."""
        if self.process is None:
            return ""
        self.process.terminate()
        try:
            code = self.process.wait(DRAIN_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return f"{self.name} did not drain within {DRAIN_SECONDS:g} s and was killed"
        return "" if code == 0 else f"{self.name} drained, but {_ending(code)}"

    def kill(self) -> None:
        """End the supervisor and its workers now; what has drained is gone already."""
        if self.process is None or self.process.poll() == 0:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/up",
        description="Start the application and the gateway before it, ask one question, show the debate.",
        epilog="Logs and the database are in var/. Every ARAGORA_* variable reaches the application.",
    )
    parser.add_argument("--once", action="store_true", help="stop both after the debate and exit with 0")
    for flag, default, what in [
        ("--port", 8000, "gateway: HTTP and WebSocket"),
        ("--admin-port", 9180, "gateway: metrics and health"),
        ("--app-port", 8080, "application: HTTP"),
        ("--ws-port", 8766, "application: WebSocket"),
    ]:
        parser.add_argument(flag, type=_port, default=default, metavar="PORT", help=f"{what} (default {default})")
    return parser.parse_args()


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r}: a port is a number from 1 to 65535")
    return int(text)


def free_ports(options: argparse.Namespace) -> None:
    """Raises PartError naming every port that is taken, or named twice."""
    taken = []
    with ExitStack() as trials:
        for flag in ("port", "admin_port", "app_port", "ws_port"):
            port = getattr(options, flag)
            trial = trials.enter_context(socket.socket())
            # a connection that a stopped server left in TIME_WAIT is no reason to refuse
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", port))
                trial.listen()
            except OSError as error:
                what = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be had ({error.strerror})"
                name = "--" + flag.replace("_", "-")
                taken.append(f"port {port} {what}: stop what listens there, or choose another: {name} PORT")
    if taken:
        raise PartError("\nscripts/up: ".join(taken))


def parts(options: argparse.Namespace) -> list[Part]:
    """The two processes, in the order in which they start."""
    logs = VAR / "log"
    logs.mkdir(parents=True, exist_ok=True)
    application = Part(
        "application",
        [str(Path(sys.executable).with_name("gunicorn")), "-c", "conf/gunicorn.conf.py"],
        {
            "ARAGORA_BIND": f"127.0.0.1:{options.app_port}",
            "ARAGORA_WS_BIND": f"127.0.0.1:{options.ws_port}",
            "ARAGORA_DATA_DIR": os.environ.get("ARAGORA_DATA_DIR") or str(VAR / "data"),
        },
        logs / "application.log",
    )
    gateway = Part(
        "gateway",
        [
            *(sys.executable, "-m", "proxy", "--upstream", f"127.0.0.1:{options.app_port}"),
            *("--bind", f"127.0.0.1:{options.port}", "--admin", f"127.0.0.1:{options.admin_port}"),
        ],
        {},
        logs / "gateway.log",
    )
    return [application, gateway]


def await_ready(part: Part, *addresses: str) -> None:
    """Wait until each address answers /ready with 200; a dot for each second on a terminal."""
    console.print(f"Starting the {part.name} ... ", end="")
    begun = last_dot = time.monotonic()
    try:
        for address in addresses:
            while (seen := readiness(address)) != "200":
                part.check()
                now = time.monotonic()
                if now - begun > READY_SECONDS:
                    late = f"{part.name} is not ready after {READY_SECONDS:g} s"
                    raise PartError(f"{late} ({address}: {seen})\n{part.told()}")
                if now - last_dot >= 1 and console.is_terminal:
                    console.print(".", end="")
                    last_dot = now
                time.sleep(0.05)
    except PartError:
        console.print("failed", style="red")
        raise
    console.print(f"ready at {', '.join(addresses)} after {time.monotonic() - begun:.1f} s", style="green")


def readiness(address: str) -> str:
    """The status that /ready answers there, or why there was none."""
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", "/ready", headers={"Connection": "close"})
        return str(connection.getresponse().status)
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()


def debate(front: str, both: list[Part]) -> None:
    """Ask the question through the gateway as anybody would, by the command line, and let it show the debate."""
    question = [QUESTION, "--agents", AGENTS, "--rounds", ROUNDS, "--url", f"http://{front}"]
    console.print(f"\n$ aragora ask {shlex.join(question)}\n", style="dim")
    local = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    asking = subprocess.Popen(
        [sys.executable, "-m", "aragora", "ask", *question],
        cwd=CHECKOUT,
        env=os.environ | local,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        code = asking.wait(DEBATE_SECONDS)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        if asking.poll() is None:
            asking.kill()
            asking.wait()
    if code != 0:
        for part in both:
            part.check()
        why = f"has not ended after {DEBATE_SECONDS:g} s" if code is None else f"failed ({_ending(code)})"
        raise PartError(f"the debate {why}\nlogs: {', '.join(part.log_name for part in both)}")


def stopped(running: list[Part]) -> list[str]:
    """Drain the gateway, then the application; answers what went wrong. A second Ctrl-C ends both at once."""
    wrong = []
    try:
        for part in reversed(running):
            if part.process is not None and part.process.poll() is None:
                console.print(f"Draining the {part.name} ... ", end="")
                fault = part.stop()
                console.print(fault or "done", style="red" if fault else "green")
                wrong += [fault] if fault else []
    except KeyboardInterrupt:
        console.print("killed", style="red")
        wrong.append("killed before it had drained")
    finally:
        for part in running:
            part.kill()
    return wrong


def run(options: argparse.Namespace) -> None:
    """Everything between the first line and Ctrl-C; raises PartError."""
    free_ports(options)
    application, gateway = running = parts(options)
    front = f"127.0.0.1:{options.port}"
    try:
        application.start()
        await_ready(application, f"127.0.0.1:{options.app_port}", f"127.0.0.1:{options.ws_port}")
        gateway.start()
        await_ready(gateway, front)
        debate(front, running)
        if not options.once:
            console.print(f"\nConsole: [bold underline]http://{front}/[/bold underline]    Ctrl-C stops both.")
            console.print(f"What the gateway sees: [underline]http://127.0.0.1:{options.admin_port}/[/underline]")
            while True:
                for part in running:
                    part.check()
                time.sleep(0.5)
    finally:
        wrong = stopped(running)
        if wrong and not isinstance(sys.exception(), PartError):
            raise PartError("; ".join(wrong))


def interrupted(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGHUP, interrupted)
    try:
        run(options)
    except PartError as failure:
        Console(stderr=True, soft_wrap=True).print(Text(f"scripts/up: {failure}", style="red"))
        return 1
    except KeyboardInterrupt:
        return 130 if options.once else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())

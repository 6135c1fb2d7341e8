"""A second Linux machine inside this one: systemd as process 1 over a copy-on-write view of this root file system.

It has processes, mounts, host name, network (loopback only) and control groups of its own, and is gone with the test.
Nothing is simulated: units, sandboxes, socket activation and the installer are those of a real machine. Needs root.
"""

import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deployment.processes import CHECKOUT
from tests.waiting import until

# What would reach for the real machine's kernel and disks; /proc/sys and /sys are read-only besides.
MASKED = (
    "systemd-udevd.service",
    "systemd-udev-trigger.service",
    "systemd-modules-load.service",
    "systemd-remount-fs.service",
    "systemd-sysctl.service",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "dev-hugepages.mount",
    "sys-fs-fuse-connections.mount",
)
# A control group of its own before it has a view of its own, or systemd would rule those of the real machine.
GROUP = """
set -e
mount --make-rprivate /
mount -t cgroup2 cgroup2 {work}
mkdir {work}/{group}
echo 0 >{work}/{group}/cgroup.procs
umount {work}
exec unshare --cgroup bash -c "$0"
"""
# {work}: directory of the copy-on-write layer; {base}: the root beneath it; {overlay}: files to lay over that before it
# starts; {seen}: what is mounted, read-only, at /mnt/checkout
BOOT = """
set -e
mount -t tmpfs -o size=2g tmpfs {work}
mkdir {work}/upper {work}/work {work}/root
mount -t overlay -o lowerdir={base},upperdir={work}/upper,workdir={work}/work overlay {work}/root
cp -a {overlay}/. {work}/root
chmod 755 {work}/root
cd {work}/root
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs dev
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
for node in null zero full random urandom tty; do touch dev/$node && mount --bind /dev/$node dev/$node; done
mkdir -p mnt/checkout
mount --bind {seen} mnt/checkout
mount -o remount,bind,ro mnt/checkout
ip link set lo up
rm -f usr/sbin/policy-rc.d
mkdir mnt/before
pivot_root . mnt/before
exec chroot . sh -c 'umount -l /mnt/before && exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
    /lib/systemd/systemd --system --show-status=false --log-target=journal systemd.unit=sysinit.target {masks}'
"""
NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--net")
TIDY = """mount -t cgroup2 cgroup2 {work} || exit
[ ! -d {work}/{group} ] || find {work}/{group} -depth -type d -exec rmdir {{}} +"""


class Machine:
    """Runs commands inside."""

    def __init__(self, process: int) -> None:
        self.process = process

    def command(self, *command: str) -> list[str]:
        """What runs this inside, from here."""
        inside = ["nsenter", "--target", str(self.process), "--all", "--root", "--wd"]
        environ = ["env", "-i", "--chdir=/mnt/checkout", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]
        return [*inside, *environ, "COMPILE_GATEWAY=0", *command]

    def run(self, *command: str, check: bool = True, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """One command to its end; a failure shows what it said."""
        ended = subprocess.run(
            self.command(*command), capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL
        )
        said = ended.stdout + ended.stderr
        assert not check or ended.returncode == 0, f"{shlex.join(command)}:\n{said}{self.journal()}"
        return ended

    def journal(self) -> str:
        """The last lines of the journal."""
        return self.run("journalctl", "--no-pager", "--quiet", "--lines=60", check=False).stdout

    def unit(self, name: str, value: str) -> str:
        """A property of a unit, as `systemctl show` has it."""
        return self.run("systemctl", "show", "--value", f"--property={value}", name).stdout.strip()


@contextmanager
def machine(overlay: Path, base: Path = Path("/"), seen: Path = CHECKOUT) -> Iterator[Machine]:
    """A machine that has booted, with the files of `overlay` laid over the root `base`, and `seen` at /mnt/checkout."""
    with tempfile.TemporaryDirectory(prefix="machine-") as work:
        masks = " ".join(f"systemd.mask={name}" for name in MASKED)
        script = BOOT.format(work=work, base=base, overlay=overlay, seen=seen, masks=masks)
        log = Path(work).with_suffix(".log")
        with log.open("wb") as output:
            group = Path(work).name
            stages = ["bash", "-c", GROUP.format(work=work, group=group), script]
            command = ["unshare", *NAMESPACES, "--fork", "--kill-child", *stages]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

            def booted() -> Machine | None:
                assert process.poll() is None, log.read_text()
                for child in children.read_text().split():
                    found = Machine(int(child))
                    # until it is systemd, it is the script that prepares the root
                    if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                        state = found.run("systemctl", "is-system-running", check=False).stdout.strip()
                        if state in ("running", "degraded"):
                            return found
                return None

            found = until(booted, "the start of the other machine")
            assert found is not None
            yield found
        finally:
            process.kill()  # and with it process 1, which takes all others along
            process.wait()
            tidy = ["unshare", "--mount", "sh", "-c", TIDY.format(work=work, group=group)]
            until(lambda: subprocess.run(tidy, capture_output=True).returncode == 0, "the end of its control groups")
            log.unlink()

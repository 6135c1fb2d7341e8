"""The state directory: the workers' own after any change of user, and no way to root's files."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.acme.state import State
from proxy.net.certificates import self_signed
from proxy.net.private_file import write_private
from proxy.process.certificate_store import CertificateStore, self_signed_file
from proxy.process.state_directory import prepare_state
from proxy.settings import Settings, SettingsError
from tests.proxy.process.conftest import OTHER

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for other accounts")


def settings(directory: Path, **more: object) -> Settings:
    chosen = {"tls": "self-signed", "user": "nobody", "group": "nogroup", "workers": 1, "state_dir": directory} | more
    return Settings(**chosen)  # type: ignore[arg-type]


def obtained(directory: Path, domain: str = "a.example") -> Path:
    """A certificate as a gateway obtains it, of the account that this process runs as."""
    state = State(directory, Settings(workers=1).acme_directory)
    state.make()
    pair = self_signed((domain,))
    write_private(state.certificate(domain), pair.key + pair.chain)
    return state.certificate(domain)


def owners(directory: Path) -> set[int]:
    return {path.lstat().st_uid for path in (directory, *directory.rglob("*"))}


def test_it_is_made_for_the_workers_alone(ground: Path) -> None:
    for place in ("ours/state", "theirs/state", "ours/deep/er/state"):
        prepare_state(settings(ground / place))
        facts = (ground / place).stat()
        assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o777) == (OTHER, OTHER, 0o700)


def test_what_root_had_made_for_itself_is_given_to_the_workers(ground: Path) -> None:
    directory = ground / "ours" / "state"
    prepare_state(settings(directory, user="", group=""))
    obtained(directory)
    (directory / "link").symlink_to(ground / "secret")
    (directory / "lost+found").mkdir()
    prepare_state(settings(directory))
    assert (directory / "lost+found").stat().st_uid == 0
    (directory / "lost+found").rmdir()
    (directory / "link").unlink()
    assert owners(directory) == {OTHER}
    assert (ground / "secret").stat().st_uid == 0, "no link is followed"


@pytest.mark.parametrize("what", ["file", "directory", "state itself"])
def test_what_the_workers_cannot_change_is_named(ground: Path, what: str) -> None:
    directory = ground / "ours" / "state"
    prepare_state(settings(directory))
    file = obtained(directory)  # by root, as a run without user leaves it in a directory that is the workers' already
    foreign = directory / "acme"
    if what != "directory":
        for path in (directory / "acme", *(directory / "acme").rglob("*")):
            if path != file:
                os.chown(path, OTHER, OTHER)
        foreign = file
    if what == "state itself":
        os.chown(directory, 12345, 12345)
        foreign = directory
    with pytest.raises(SettingsError) as found:
        prepare_state(settings(directory))
    told = f"{foreign} cannot be changed by nobody, the account that workers run as; run: chown -R nobody:"
    assert found.value.mistakes == [f"--state-dir {directory}: {told} {directory}"]
    assert file.stat().st_uid == 0, "nothing that others could have put there is given away"


def test_a_directory_that_is_not_used_stops_nobody(ground: Path) -> None:
    directory = ground / "ours" / "state"
    prepare_state(settings(directory))
    obtained(directory)
    prepare_state(settings(directory, tls="off"))


@pytest.mark.parametrize("target", ["secret", "ours", "ours/new"])
def test_a_link_of_others_in_its_place_is_refused(ground: Path, target: str) -> None:
    (ground / "theirs" / "state").symlink_to(ground / target)
    with pytest.raises(SettingsError, match="state is a link that another account could have set"):
        prepare_state(settings(ground / "theirs" / "state"))
    (ground / "theirs" / "way").symlink_to(ground / "ours")
    with pytest.raises(SettingsError, match="way is a link that another account could have set"):
        prepare_state(settings(ground / "theirs" / "way" / "state"))
    assert owners(ground / "ours") == {0}


def test_root_writes_where_its_workers_may_and_nowhere_else(ground: Path) -> None:
    directory = ground / "ours" / "state"
    chosen = settings(directory)
    prepare_state(chosen)
    pid = os.getpid()
    for name in ("self-signed.pem", f".self-signed.pem.{pid}"):
        (directory / name).symlink_to(ground / "secret")
    CertificateStore().fill(chosen)
    assert (ground / "secret").read_text() == "root's"
    written = self_signed_file(directory)
    assert not written.is_symlink()
    assert (written.stat().st_uid, written.stat().st_mode & 0o777) == (OTHER, 0o600)


@pytest.mark.parametrize("how", ["symbolic link", "link on the way", "hard link", "pipe"])
def test_root_reads_no_file_its_workers_may_not(ground: Path, how: str) -> None:
    """A key that only root may read does not become a certificate that workers serve."""
    directory = ground / "ours" / "state"
    chosen = settings(directory, tls="off", acme="me@example.com", domain=("a.example",))
    prepare_state(chosen)
    stolen = obtained(ground / "ours" / "elsewhere")
    place = State(directory, chosen.acme_directory).certificate("a.example")
    if how == "link on the way":
        place.parent.parent.mkdir()
        place.parent.symlink_to(stolen.parent)
    else:
        place.parent.mkdir(parents=True)
        if how == "pipe":
            os.mkfifo(place)
        elif how == "hard link":
            place.hardlink_to(stolen)
        else:
            place.symlink_to(stolen)
    certificate_set = CertificateStore().fill(replace(chosen, state_dir=directory))
    assert all(pair.stands_in for pair in certificate_set.pairs)

"""Paths that a process with more rights opens: through no link and to no file that others could have put there."""

import errno
import os
import stat
from pathlib import Path

import pytest

from proxy.process.log_files import LogFiles, _open
from proxy.settings import Settings, SettingsError, load
from proxy.settings.values.files import read_file
from proxy.settings.values.places import place_of
from tests.proxy.process.conftest import OTHER

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for other accounts")


@pytest.fixture
def ground(ground: Path) -> Path:
    """With shared/, which root's group may write to, and another directory in ours/."""
    (ground / "shared").mkdir()
    (ground / "shared").chmod(0o775)
    (ground / "ours" / "deep").mkdir()
    return ground


def link(place: Path, target: Path | str, uid: int = OTHER) -> Path:
    place.symlink_to(target)
    os.chown(place, uid, uid, follow_symlinks=False)
    return place


def read(path: Path) -> str:
    with place_of(path) as place, os.fdopen(place.open(os.O_RDONLY)) as file:
        return file.read()


def test_what_is_ours_is_told_from_what_others_could_change(ground: Path) -> None:
    for path, ours in (
        ("secret", True),
        ("ours/new", True),
        ("ours/deep/new", True),
        ("theirs/new", False),
        ("shared/new", False),
        ("both/new", False),
    ):
        with place_of(ground / path) as place:
            assert (place.ours, place.name) == (ours, Path(path).name), path
    (ground / "both" / "mine").touch()
    (ground / "both" / "foreign").touch()
    os.chown(ground / "both" / "foreign", OTHER, OTHER)
    for path, ours in (("both/mine", True), ("both/foreign", False)):
        with place_of(ground / path) as place:
            assert place.ours is ours, path
    (ground / "theirs" / "deep").mkdir()
    with place_of(ground / "theirs" / "deep" / "new") as place:
        assert not place.ours, "who can move the directory can move what is in it"


def test_links_of_ours_are_followed(ground: Path) -> None:
    link(ground / "ours" / "file", "../secret", 0)
    link(ground / "ours" / "absolute", ground / "ours" / "file", 0)
    link(ground / "ours" / "directory", ground, 0)
    for path in (
        "ours/file",
        "ours/absolute",
        "ours/directory/secret",
        "ours/deep/../file",
        "ours/directory/ours/file",
    ):
        assert read(ground / path) == "root's", path
    link(ground / "ours" / "round", "round", 0)
    link(ground / "ours" / "dangling", "nothing", 0)
    with pytest.raises(OSError, match="Too many levels") as found:
        read(ground / "ours" / "round")
    assert found.value.errno == errno.ELOOP
    with place_of(ground / "ours" / "dangling") as place:
        assert (place.name, place.facts()) == ("nothing", None)


@pytest.mark.parametrize(
    ("place", "target", "path"),
    [
        ("theirs/link", "{}/secret", "theirs/link"),
        ("theirs/link", "../secret", "theirs/link"),
        ("theirs/link", "{}", "theirs/link/secret"),
        ("theirs/link", "..", "theirs/link/secret"),
        ("shared/link", "../secret", "shared/link"),
        ("both/link", "../secret", "both/link"),
        ("theirs/link", "{}/secret", "ours/way/link"),
        ("theirs/link", "{}/ours/deep", "ours/way/link/new"),
    ],
)
def test_links_of_others_are_refused(ground: Path, place: str, target: str, path: str) -> None:
    link(ground / "ours" / "way", "../theirs", 0)
    link(ground / place, target.format(ground))
    with pytest.raises(OSError, match="another account could have set") as found:
        read(ground / path)
    assert found.value.errno == errno.ELOOP


def test_a_link_of_roots_in_a_directory_of_others_is_refused_too(ground: Path) -> None:
    link(ground / "theirs" / "link", "../secret", 0)
    with pytest.raises(OSError, match="could have set"):
        read(ground / "theirs" / "link")


def test_what_becomes_a_link_after_the_look_is_not_followed(ground: Path) -> None:
    (ground / "theirs" / "log").touch()
    with place_of(ground / "theirs" / "log") as place:
        (ground / "theirs" / "log").unlink()
        link(ground / "theirs" / "log", "../secret")
        with pytest.raises(OSError, match="Too many levels") as found:
            place.open(os.O_RDONLY)
    assert found.value.errno == errno.ELOOP


def test_the_kernels_own_links_lead_where_they_lead() -> None:
    reader, writer = os.pipe()
    with place_of(f"/proc/self/fd/{writer}") as place:
        os.write(place.open(os.O_WRONLY), b"x")
    assert os.read(reader, 10) == b"x"
    assert read(Path("/proc/self/cwd/setup.cfg")).startswith("[metadata]")


def test_no_descriptor_is_left_open(ground: Path) -> None:
    link(ground / "theirs" / "link", "../secret")
    before = len([*Path("/proc/self/fd").iterdir()])
    for path in ("secret", "ours/deep/new", "theirs/link", "missing/deep/file", "theirs/link/x"):
        try:
            with place_of(ground / path):
                pass
        except OSError:
            pass
    assert len([*Path("/proc/self/fd").iterdir()]) == before


# Files that settings name, read by root for its workers.


def test_links_of_root_and_of_the_owner_are_followed(ground: Path) -> None:
    mounted = ground / "both"  # as Kubernetes mounts secrets: anybody may write there, and links are root's
    (mounted / "..2026").mkdir()
    (mounted / "..2026" / "key").write_text("mounted")
    link(mounted / "..data", "..2026", 0)
    link(mounted / "key", "..data/key", 0)
    (ground / "theirs" / "own").write_text("their own")
    os.chown(ground / "theirs" / "own", OTHER, OTHER)
    link(ground / "theirs" / "link", "own")
    link(ground / "ours" / "link", "../secret", 0)
    for path, content in (("both/key", b"mounted"), ("theirs/link", b"their own"), ("ours/link", b"root's")):
        assert read_file(ground / path, 100) == content


@pytest.mark.parametrize("how", ["link", "absolute link", "link on the way", "link to a link of root's", "hard link"])
def test_what_only_root_may_read_is_read_for_nobody_else(ground: Path, how: str) -> None:
    path = ground / "theirs" / "key"
    if how == "link":
        link(path, "../secret")
    elif how == "absolute link":
        link(path, ground / "secret")
    elif how == "link on the way":
        link(ground / "theirs" / "way", "..")
        path = ground / "theirs" / "way" / "secret"
    elif how == "link to a link of root's":
        link(ground / "ours" / "link", "../secret", 0)
        link(path, "../ours/link")
    else:
        path.hardlink_to(ground / "secret")
    with pytest.raises(ValueError, match=r"cannot be read: .* is a link that another account could have set"):
        read_file(path, 100)
    with pytest.raises(SettingsError, match="another account could have set"):
        load({"upstream": "127.0.0.1:1", "admin_token_file": str(path)})


# Logs.


def test_a_log_is_made_for_the_workers_account(ground: Path) -> None:
    for directory in ("ours", "theirs", "both"):
        path = ground / directory / "log"
        os.close(_open(str(path), (OTHER, OTHER)))
        facts = path.stat()
        assert (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)) == (OTHER, OTHER, 0o640)


@pytest.mark.parametrize("how", ["symbolic link", "dangling link", "link on the way", "hard link", "foreign file"])
@pytest.mark.parametrize("directory", ["theirs", "shared", "both"])
def test_no_file_that_others_put_in_a_logs_place_is_touched(ground: Path, directory: str, how: str) -> None:
    victim = ground / "secret"
    path = ground / directory / "log"
    if how == "symbolic link":
        link(path, "../secret")
    elif how == "dangling link":
        link(path, "../ours/created")
    elif how == "link on the way":
        link(ground / directory / "way", "../ours")
        path = ground / directory / "way" / "log"
    elif how == "hard link":
        path.hardlink_to(victim)
    else:
        path.touch()
        os.chown(path, 12345, 12345)
    before = victim.stat()
    with pytest.raises(OSError, match=r"link|another account"):
        _open(str(path), (OTHER, OTHER))
    after = victim.stat()
    assert (after.st_uid, after.st_mode, after.st_size) == (before.st_uid, before.st_mode, before.st_size)
    assert not (ground / "ours" / "created").exists()
    assert not (ground / "ours" / "log").exists()
    for log in ("access_log", "error_log"):
        with pytest.raises(SettingsError, match=f"--{log[:-4]}-log {path}: cannot be written: "):
            LogFiles.open(Settings(workers=1, user="nobody", **{"access_log": "off", log: str(path)}))


def test_a_file_that_was_there_keeps_its_owner(ground: Path) -> None:
    for directory in ("ours", "theirs"):
        path = ground / directory / "log"
        path.touch(0o640)
        os.close(_open(str(path), (OTHER, OTHER)))
        assert path.stat().st_uid == 0

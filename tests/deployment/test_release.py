"""scripts/release in clones that are thrown away: what it makes and tags, and every way in which it refuses."""

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path

import pytest

from tests.deployment.processes import CHECKOUT

pytestmark = [
    pytest.mark.component("git"),
    pytest.mark.skipif(not (CHECKOUT / ".git").exists(), reason="not a git checkout, so there is nothing to clone"),
    pytest.mark.timeout(300),
]

REPOSITORY = "https://github.com/aragora-gateway/aragora-gateway"
NOTES = "- Clients are served."


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository on its branch main with the files that git knows as the checkout has them, committed or not, and one
    line of a changelog. Other tests may have files of their own in the checkout for a moment."""
    root = tmp_path_factory.mktemp("original")
    names = git(CHECKOUT, "ls-files", "-z", "--cached").split("\0")
    git(root, "init", "--quiet", "--initial-branch", "main")
    for name in filter(None, names):
        if (CHECKOUT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes((CHECKOUT / name).read_bytes())
            (root / name).chmod((CHECKOUT / name).stat().st_mode)
    (root / "CHANGELOG.md").write_text(f"# Changelog\n\n## [Unreleased]\n\n### Added\n\n{NOTES}\n")
    commit(root, "Serve clients")
    return root


@pytest.fixture
def clone(original: Path, tmp_path: Path) -> Path:
    """A clone that could be released."""
    place = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(original), str(place))
    git(place, "remote", "set-url", "origin", "git@github.com:aragora-gateway/aragora-gateway.git")
    return place


def git(place: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=A maintainer", "-c", "user.email=maintainer@example.org", "-c", "safe.directory=*")
    return subprocess.run(
        ["git", *identity, *arguments], cwd=place, check=True, capture_output=True, text=True, timeout=60
    ).stdout


def commit(place: Path, subject: str) -> None:
    git(place, "add", "--all", "--force")
    git(place, "commit", "--quiet", "--message", subject)


def release(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    identity = {f"GIT_{role}_{what}": f"maintainer@{role}.example".lower() for role in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")}  # fmt: skip
    return subprocess.run(
        [sys.executable, place / "scripts" / "release", *arguments],
        env=os.environ | identity,
        capture_output=True,
        text=True,
        timeout=280,
    )


def edit(file: Path, old: str, new: str) -> None:
    before = file.read_text()
    assert old in before
    file.write_text(before.replace(old, new))


@pytest.fixture(scope="module")
def version() -> str:
    (line,) = [line for line in (CHECKOUT / "setup.cfg").read_text().splitlines() if line.startswith("version = ")]
    return line.removeprefix("version = ")


def test_a_release_is_built_checked_and_tagged(clone: Path, version: str) -> None:
    made = release(clone)
    assert made.returncode == 0, made.stderr
    assert f"v{version} is tagged; to publish it: git push --follow-tags origin main" in made.stdout
    assert git(clone, "log", "-1", "--format=%s") == f"Release {version}\n"
    assert git(clone, "show", "--name-only", "--format=").split() == ["CHANGELOG.md"]
    assert f"## [Unreleased]\n\n## [{version}] - 20" in (clone / "CHANGELOG.md").read_text()
    assert NOTES in git(clone, "tag", "--list", f"v{version}", "--format=%(contents)")
    assert git(clone, "status", "--porcelain") == ""

    (wheel,), (sdist,) = (clone / "dist").glob("*.whl"), (clone / "dist").glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        metadata = message_from_bytes(archive.read(name))
    assert metadata["Version"] == version
    assert metadata["License-Expression"] == "MIT"
    assert f"{REPOSITORY}/blob/v{version}/docs/" in str(metadata.get_payload())
    with tarfile.open(sdist) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert set(git(clone, "ls-files").split()) <= names

    # What the workflow does on a tag holds for it, and a second release of the version is refused.
    assert release(clone, "--verify").returncode == 0
    again = release(clone)
    assert again.returncode == 1
    assert f"the tag v{version} exists; raise the version" in again.stderr


def unreleased_is_empty(clone: Path) -> None:
    edit(clone / "CHANGELOG.md", f"### Added\n\n{NOTES}\n", "")


def section_is_there(clone: Path) -> None:
    edit(clone / "CHANGELOG.md", "### Added", "### Added\n\n- More.\n\n## [9.8.7] - 2026-01-01\n\n### Added")
    edit(clone / "setup.cfg", "\nversion = ", "\nversion = 9.8.7\n#")


def section_without_tag(clone: Path) -> None:
    edit(clone / "CHANGELOG.md", "### Added", "### Added\n\n- More.\n\n## [0.1.9] - 2026-01-01\n\n### Added")


def newer_tag(clone: Path) -> None:
    git(clone, "tag", "v9.0.0")


def version_of_two_numbers(clone: Path) -> None:
    edit(clone / "setup.cfg", "\nversion = ", "\nversion = 1.0\n#")


def other_origin(clone: Path) -> None:
    git(clone, "remote", "set-url", "origin", "https://example.org/somebody/else.git")


def other_branch(clone: Path) -> None:
    git(clone, "switch", "--quiet", "--create", "feature")


def file_not_committed(clone: Path) -> None:
    (clone / "notes.txt").touch()


def lock_that_does_not_fit(clone: Path) -> None:
    edit(clone / "setup.cfg", "    bcrypt>=4.1\n", "    bcrypt>=400\n")


REFUSALS: list[tuple[Callable[[Path], None], str]] = [
    (unreleased_is_empty, "CHANGELOG.md: nothing is described under [Unreleased]; say what changes for users"),
    (section_is_there, "CHANGELOG.md: 9.8.7 has its section already; raise version in setup.cfg"),
    (section_without_tag, "CHANGELOG.md: 0.1.9 is described as released, and there is no tag v0.1.9; fetch the tags"),
    (newer_tag, "the tag v9.0.0 is newer; raise the version"),
    (version_of_two_numbers, "setup.cfg: version = 1.0: a release has three numbers, such as 0.2.0"),
    (other_origin, f"origin is https://example.org/somebody/else.git, and url in setup.cfg {REPOSITORY}"),
    (other_branch, "this is the branch feature: releases are made of main; git switch main"),
    (file_not_committed, "notes.txt is not committed: commit or stash it"),
    (lock_that_does_not_fit, "does not fit bcrypt>=400"),
]


@pytest.mark.parametrize(("change", "message"), REFUSALS, ids=[change.__name__ for change, _ in REFUSALS])
def test_a_mismatch_is_refused(clone: Path, change: Callable[[Path], None], message: str) -> None:
    change(clone)
    if change is not file_not_committed and git(clone, "status", "--porcelain"):
        commit(clone, "Change what a release checks")
    before = git(clone, "log", "-1", "--format=%H")
    refused = release(clone)
    assert refused.returncode == 1
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr
    assert git(clone, "log", "-1", "--format=%H") == before
    assert git(clone, "tag", "--list", "v0*") == ""
    assert not (clone / "dist").exists()


@pytest.mark.parametrize(
    ("tag", "message"),
    [("", "this commit's tag is missing"), ("v0.1.0", "this commit's tag is v0.1.0"), ("v{}", "the newest section is")],
    ids=["no tag", "another tag", "a changelog without the version"],
)
def test_a_tag_must_name_version_and_changelog(clone: Path, version: str, tag: str, message: str) -> None:
    if tag:
        git(clone, "tag", tag.format(version))
    refused = release(clone, "--verify")
    assert refused.returncode == 1
    assert message in refused.stderr

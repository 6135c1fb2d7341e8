"""Symbolic links beneath a served directory: followed where they stay there, and nowhere else."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.errors import ExchangeError
from proxy.exchange.local_response import File
from proxy.filters.files import Files
from tests.proxy.filters.requests import asked

pytestmark = pytest.mark.skipif(not hasattr(os, "O_PATH"), reason="links are followed on Linux alone")
SOMEBODY = 65534


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """As Kubernetes mounts a ConfigMap, and with links of an operator's own."""
    root = tmp_path / "site"
    (root / "..2026_11_30").mkdir(parents=True)
    (root / "..2026_11_30" / "config.json").write_text("{}")
    (root / "..data").symlink_to("..2026_11_30")
    (root / "config.json").symlink_to("..data/config.json")
    (root / "docs" / "v2").mkdir(parents=True)
    (root / "docs" / "v2" / "index.html").write_text("v2")
    (root / "docs" / "latest").symlink_to("v2")
    (root / "docs" / "absolute").symlink_to(root / "docs" / "v2" / "index.html")
    (root / "docs" / "up").symlink_to("../real.txt")
    (root / "real.txt").write_text("real")
    (root / "same.txt").symlink_to("./real.txt")
    (root / "twice.txt").symlink_to("docs/../same.txt")
    (root / "plain.txt").symlink_to("real.txt/")
    (root / "here").symlink_to(root)
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("secret")
    (root / "shown").symlink_to(".git/config")
    (tmp_path / "outside.txt").write_text("outside")
    (tmp_path / "site-too").mkdir()
    (tmp_path / "site-too" / "x").write_text("outside")
    for name, target in (
        ("out", "../outside.txt"),
        ("out-absolute", tmp_path / "outside.txt"),
        ("neighbour", tmp_path / "site-too" / "x"),
        ("out-and-in", "../site/real.txt"),
        ("parent", ".."),
        ("etc", "/etc/hostname"),
        ("self", "self"),
        ("a", "b"),
        ("b", "a"),
        ("dangling", "nothing"),
        ("empty-file", "/dev/null"),
    ):
        (root / name).symlink_to(target)
    return root


def ask(site: Path, target: str) -> bytes | int:
    """The file's bytes, or the status that says why not."""
    try:
        answer = Files(site, "index.html").check(asked(target))
    except ExchangeError as refusal:
        return refusal.failure.status
    if not isinstance(answer.body, File):
        return answer.status
    with os.fdopen(answer.body.descriptor, "rb") as file:
        return file.read()


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("/config.json", b"{}"),
        ("/same.txt", b"real"),
        ("/twice.txt", b"real"),
        ("/docs/up", b"real"),
        ("/docs/latest/", b"v2"),
        ("/docs/latest/index.html", b"v2"),
        ("/docs/latest", 301),
        ("/docs/absolute", b"v2"),
        ("/here/docs/latest/", b"v2"),
        ("/here/here/real.txt", b"real"),
        ("/plain.txt", 404),
        ("/out", 404), ("/out-absolute", 404), ("/neighbour", 404), ("/out-and-in", 404), ("/parent", 404),
        ("/parent/outside.txt", 404), ("/parent/site/real.txt", 404), ("/etc", 404), ("/self", 404), ("/a", 404),
        ("/dangling", 404), ("/empty-file", 404), ("/shown", 404), ("/..data/config.json", 404), ("/same.txt/x", 404),
        ("/same.txt/", 404), ("/real.txt/x", 404), ("/here/.git/config", 404),
    ],
)  # fmt: skip
def test_links_are_followed_beneath_the_root_alone(site: Path, target: str, found: bytes | int) -> None:
    assert ask(site, target) == found


def test_a_chain_of_links_has_an_end(site: Path) -> None:
    for number in range(40):
        (site / f"link{number}").symlink_to(f"link{number + 1}" if number < 39 else "real.txt")
    assert (ask(site, "/link30"), ask(site, "/link0")) == (b"real", 404)
    (site / "long").symlink_to("/".join(["docs", ".."] * 300) + "/real.txt")
    assert ask(site, "/long") == 404


def test_a_root_that_is_a_link_itself_may_be_named_by_links(site: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(site)
    (site / "by-root").symlink_to(tmp_path / "current" / "real.txt")
    assert ask(tmp_path / "current", "/by-root") == b"real"
    assert ask(tmp_path / "current", "/docs/absolute") == b"v2", "by the name that the root stands for"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_only_links_of_the_directory_s_owner_count(site: Path) -> None:
    """Whoever may write somewhere beneath it shows nobody what lies elsewhere."""
    os.lchown(site / "same.txt", SOMEBODY, -1)
    assert ask(site, "/same.txt") == 404
    os.chown(site, SOMEBODY, -1)
    assert ask(site, "/same.txt") == b"real"
    assert ask(site, "/config.json") == b"{}", "the superuser's count too"


TARGETS = st.lists(st.sampled_from(["..", ".", "a", "b", "c", "", "/", "ROOT", "ROOT/a", "OUT"]), max_size=5)
LINKS = st.lists(st.tuples(st.sampled_from(["a", "b", "c", "d/a", "d/b", "d/e/c"]), TARGETS), max_size=6)
WAYS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "real"]), min_size=1, max_size=5)


@given(LINKS, WAYS)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_links_there_are_nothing_outside_is_served(
    tmp_path_factory: pytest.TempPathFactory, links: list[tuple[str, list[str]]], way: list[str]
) -> None:
    base = tmp_path_factory.mktemp("links")
    root, outside = base / "root", base / "out"
    for directory, text in (
        (root, "inside"),
        (root / "d", "inside"),
        (root / "d" / "e", "inside"),
        (outside, "outside"),
    ):
        directory.mkdir()
        (directory / "real").write_text(text)
    (outside / "a").write_text("outside")
    (base / "a").write_text("outside")
    for place, target in links:
        if not os.path.lexists(root / place) and target:
            text = "/".join(target).replace("ROOT", str(root)).replace("OUT", str(outside))
            (root / place).symlink_to(text or ".")
    found = ask(root, "/" + "/".join(way))
    assert found in (b"inside", 301, 404)
    if found == b"inside":
        assert (root / "/".join(way)).read_text() == "inside"


def test_link_swapped_while_followed_leads_nowhere_else(site: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "index.html").write_text("outside")
    done = threading.Event()

    def switch() -> None:
        targets = ["../../secret", "v2", str(tmp_path / "secret"), str(site / "docs" / "v2")]
        number = 0
        while not done.is_set():
            (site / "docs" / "next").symlink_to(targets[number % 4])
            (site / "docs" / "next").replace(site / "docs" / "latest")
            # A directory on the way is moved out of the root and back: ".." must not be the other one's.
            (site / "docs" / "v2").rename(tmp_path / "moved")
            (tmp_path / "moved").rename(site / "docs" / "v2")
            number += 1

    (site / "docs" / "v2" / "back").symlink_to("../../real.txt")
    (tmp_path / "real.txt").write_text("outside")
    switching = threading.Thread(target=switch)
    switching.start()
    try:
        found = {ask(site, target) for _ in range(400) for target in ("/docs/latest/index.html", "/docs/latest/back")}
    finally:
        done.set()
        switching.join()
    assert found <= {b"v2", b"real", 404}
    assert b"v2" in found

"""What a purge is asked to remove, and what of it reaches the cache."""

import pytest

from proxy.admin.command_body import Refused
from proxy.admin.purge import purge
from proxy.cache.index import Purge


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({"url": "HTTPS://Shop.Example:8443/A?B"}, (Purge.URL, "https://shop.example:8443/A?B")),
        ({"prefix": "http://Shop.example"}, (Purge.PREFIX, "http://shop.example")),
        ({"url": "/A"}, (Purge.URL, "/A")),
        ({"tag": "Red"}, (Purge.TAG, "Red")),
    ],
)
def test_hosts_are_found_however_they_are_written(given: dict[str, str], asked: tuple[Purge, str]) -> None:
    removed: list[tuple[Purge, str]] = []

    def clear(which: Purge, value: str) -> int:
        removed.append((which, value))
        return 2

    assert purge(given, clear)["purged"] == 2
    assert removed == [asked]


@pytest.mark.parametrize("given", [{"url": "shop.example/a"}, {"prefix": "ftp://a/"}, {}, {"url": "/a", "tag": "b"}])
def test_what_can_be_no_address_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(Refused, match="expected"):
        purge(given, lambda _which, _value: 0)

"""Which names a certificate may be ordered for because a client has mentioned them."""

import pytest

from proxy.acme.names import is_orderable

pytestmark = pytest.mark.measured

LABEL = "a" * 63


@pytest.mark.parametrize(
    "name",
    ["shop.test", "a.b.c.shop.test", "1.shop.test", "xn--mnchen-3ya.test", "a--b.test", "x-y.test", f"{LABEL}.test"],
)
def test_host_names_are_orderable(name: str) -> None:
    assert is_orderable(name)


@pytest.mark.parametrize(
    "name",
    [
        "", "shop", ".", "shop.", ".shop.test", "a..test", "Shop.test", "*.shop.test", "a_b.shop.test", "-a.shop.test",
        "a-.shop.test", "127.0.0.1", "1.2.3.4.5", "::1", "[::1]", "a b.test", "a/b.test", "../state.test", "a\0.test",
        "münchen.test", "xn--a.test", "xn--abc.test", "xn--.test", "ab--c.test", f"{LABEL}a.test",
        ".".join(["a" * 50] * 6), "shop.test:443", "shop.test\n",
    ],
)  # fmt: skip
def test_other_names_are_not(name: str) -> None:
    assert not is_orderable(name)

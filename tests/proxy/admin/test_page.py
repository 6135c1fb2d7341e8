"""The status page in a real browser: it shows what happens, and its buttons do what they say."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import websocket

from tests.aragora.server.browser import Page, browser, lighthouse, violations
from tests.proxy.admin.applications import Application
from tests.proxy.admin.conftest import AdminGateway
from tests.waiting import until

pytestmark = pytest.mark.component("chromium")
Start = Callable[..., AdminGateway]
Applications = Callable[[str], Application]
HOSTILE = "/fail?<img%20src=x%20onerror=window.pwned=1>"
STATES = "Object.fromEntries([...document.querySelectorAll('.peer')].map((row) => [row.peer.peer, row.peer.state]))"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("chromium")) as page:
        yield page


def opened(page: Page, gateway: AdminGateway, *, token: bool = True) -> Page:
    page.look(1280, 900)
    page.go("about:blank")
    page.go(f"http://{gateway.admin_address}/favicon.svg")
    page.evaluate("sessionStorage.clear()")
    if token:
        kept = json.dumps(gateway.asked("GET", "/token")[1]["token"])
        page.evaluate(f"sessionStorage.setItem('gateway-token', {kept})")
    page.console.clear()
    page.go(f"http://{gateway.admin_address}/")
    page.wait("document.getElementById('main').getAttribute('aria-busy') === 'false'")
    return page


def click(page: Page, label: str) -> None:
    """Press the visible button with this text or label."""
    found = (
        f"[...document.querySelectorAll('button')].find((one) => one.offsetParent !== null && "
        f"[one.textContent.trim(), one.getAttribute('aria-label')].includes({json.dumps(label)}))"
    )
    page.wait(f"Boolean({found}) && !{found}.disabled")
    page.evaluate(f"{found}.click()")


def told(page: Page, what: str) -> None:
    """Wait for the answer to a command, which comes when every worker acts on it; what is shown may change before."""
    page.wait(f"document.getElementById('notice').textContent.includes({json.dumps(what)})")


def text(page: Page, element: str) -> str:
    return str(page.evaluate(f"document.getElementById({json.dumps(element)}).textContent"))


def test_it_shows_what_happens_and_stays_whole_on_every_screen(
    chromium: Page, face: Start, applications: Applications, held: Callable[..., threading.Thread]
) -> None:
    one = applications("one")
    gateway = face(f'upstream = "{one.address}"\nmax_body = "1k"\n')
    page = opened(chromium, gateway)
    assert text(page, "failures-empty") == "No failures."
    assert page.evaluate("document.getElementById('failing').offsetParent") is None
    held(gateway, one)
    for path in ("/", HOSTILE, "/"):
        gateway.get(path)
    with pytest.raises(OSError) as cut:  # noqa: PT011 - 413, or the connection is cut while it still sends
        urllib.request.urlopen(f"{gateway.url}/", b"x" * 2000, timeout=10)
    if isinstance(cut.value, urllib.error.HTTPError):
        cut.value.close()
    for element, shown in (("failures", "application"), ("limits", "body too large"), ("failing", HOSTILE)):
        page.wait(f"document.getElementById({json.dumps(element)}).textContent.includes({json.dumps(shown)})")
    page.wait("document.querySelector('.meter').textContent.includes('1 busy')")
    page.wait("document.querySelectorAll('#traffic svg path').length >= 3")
    assert "ok (2xx, 3xx)" in page.evaluate("document.querySelector('#traffic svg').getAttribute('aria-label')")
    page.wait("document.getElementById('now-p95').textContent.endsWith('s')")
    page.wait("document.querySelectorAll('#workers li').length === 2")
    assert "max_body" in text(page, "settings")
    assert text(page, "listeners").startswith(f"{gateway.url}clients")
    one.released.set()
    for width, dark in ((1280, True), (390, False), (320, True)):
        page.look(width, 900, dark=dark)
        page.wait("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("typeof window.pwned") == "undefined"
    assert page.console == []
    page.wait("document.querySelector('.route .spark svg').getAttribute('aria-label').includes('failures in 1 minute')")
    gateway.close()
    page.wait("document.getElementById('link-state').dataset.state === 'lost'")
    assert text(page, "link-state") == "no response"
    page.wait("!document.getElementById('gone').hidden")
    assert "All figures below are those of" in text(page, "gone")
    assert page.evaluate("document.title") == "✖ Gateway: no response"
    assert page.evaluate("getComputedStyle(document.querySelector('.tiles')).filter") == "grayscale(1)"


def test_a_page_that_opens_late_shows_what_was_before(chromium: Page, face: Start, applications: Applications) -> None:
    one = applications("one")
    gateway = face(f'upstream = "{one.address}"\n')
    for path in ("/", "/fail", "/fail"):
        gateway.get(path)
    until(lambda: sum(gateway.asked("GET", "/history.json")[1]["whole"]["failed"]) == 2, "a row with the failures")
    assert gateway.run("drain", one.address, "--force").returncode == 0
    page = opened(chromium, gateway)
    page.wait("document.querySelector('#traffic svg path') !== null")
    assert page.evaluate("document.querySelector('#ranges [aria-pressed=true]').textContent") == "3 min"
    click(page, "60 min")
    assert "40 min ago" in page.evaluate("document.getElementById('traffic').textContent")
    assert text(page, "marks").startswith(f"{one.address} is drained on all routes")
    page.wait("document.querySelectorAll('#traffic .mark.change').length === 1")
    page.call("Page.reload")
    page.wait("document.querySelector('#ranges [aria-pressed=true]')?.textContent === '60 min'")
    page.wait(
        "document.querySelector('.route .spark svg')?.getAttribute('aria-label').includes('failures in 1 minute')"
    )
    page.evaluate("sessionStorage.clear()")


def test_a_peer_that_is_down_tells_since_when_and_why(chromium: Page, face: Start, applications: Applications) -> None:
    one, two = applications("one"), applications("two")
    gateway = face(
        f'health_path = "/ready"\nhealth_interval = "100ms"\nhealth_fall = 1\nhealth_rise = 1\n'
        f'[[route]]\nname = "app"\nupstream = ["{one.address}", "{two.address}"]\n'
        '[[route]]\nname = "limited"\npath = "/limited"\nrespond = "x"\nrate = "1/h"\n'
    )
    page = opened(chromium, gateway)
    row = f"[...document.querySelectorAll('.peer')].find((row) => row.peer.peer === '{two.address}')"
    why = f"{row}.children[1].textContent"
    two.ready = False
    page.wait(f"/down for .*: .ready answered 503/.test({why})")
    two.ready = True
    page.wait(f"/1 outage, /.test({why})")
    for path in ("/fail", "/limited", "/limited", "/limited"):
        gateway.get(path)
    page.wait("document.querySelectorAll('#failing tbody tr').length >= 3")
    page.wait("[...document.getElementById('by-route').options].some((one) => one.value === 'app')")
    page.evaluate(
        "(({ target }) => { target.value = 'app'; target.dispatchEvent(new Event('change')); })"
        "({ target: document.getElementById('by-route') })"
    )
    page.wait("document.querySelectorAll('#failing tbody tr').length === 1")
    assert "response of the application" in text(page, "failing")
    assert text(page, "failing-hint").startswith("1 of ")


@pytest.mark.component("pages")
def test_no_page_of_the_gateway_breaks_a_rule_of_axe(chromium: Page, face: Start, applications: Applications) -> None:
    one = applications("one")
    gateway = face(f'[[route]]\npath = "/app/"\nupstream = "{one.address}"\n')
    for path in ("/app/", "/app/fail", "/nothing"):
        gateway.get(path)
    page = opened(chromium, gateway)
    page.wait("document.querySelectorAll('#failing tbody tr').length > 0")
    for dark in (False, True):
        page.look(1280, 900, dark=dark, still=True)
        assert violations(page) == [], f"dark: {dark}"
        click(page, "Maintenance")
        page.wait("document.getElementById('confirm').open")
        assert violations(page) == [], f"a dialog, dark: {dark}"
        click(page, "Cancel")
    page.go(f"{gateway.url}/nothing")
    for dark in (False, True):
        page.look(1280, 900, dark=dark, still=True)
        assert violations(page) == [], f"a refusal, dark: {dark}"


def test_a_page_that_runs_no_script_claims_nothing(chromium: Page, face: Start, applications: Applications) -> None:
    gateway = face(f'upstream = "{applications("one").address}"\n')
    chromium.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        chromium.go(f"http://{gateway.admin_address}/")
        shown = chromium.evaluate("document.body.innerText")
    finally:
        chromium.call("Emulation.setScriptExecutionDisabled", value=False)
    assert "aragora-proxy status" in shown
    assert ("No failures" in shown, "No recent failures" in shown) == (False, False)


@pytest.mark.long
@pytest.mark.component("pages")
def test_the_status_page_is_perfect_to_lighthouse(chromium: Page, face: Start, applications: Applications) -> None:
    gateway = face(f'upstream = "{applications("one").address}"\n')
    gateway.get("/fail")
    ready = "document.querySelectorAll('#failing tbody tr').length > 0"
    found = lighthouse(chromium, {"status": (f"http://{gateway.admin_address}/", ready)})
    assert sorted(found) == ["status dark", "status light"]
    for name, scores in found.items():
        assert (scores["accessibility"], scores["best-practices"]) == (1, 1), (name, scores)


def test_drain_and_undrain_at_the_press_of_a_button(chromium: Page, face: Start, applications: Applications) -> None:
    one, two = applications("one"), applications("two")
    gateway = face(f'upstream = ["{one.address}", "{two.address}"]\n')
    page = opened(chromium, gateway)
    click(page, f"Drain {one.address} on route default")
    told(page, "is drained on route default")
    assert gateway.names() == {"two"}
    page.wait(f"{STATES}[{json.dumps(one.address)}] === 'draining'")
    click(page, f"Drain {two.address} on route default")
    told(page, "no peer left")
    click(page, f"Undrain {one.address} on route default")
    page.wait(f"{STATES}[{json.dumps(one.address)}] === 'up'")
    assert gateway.names() == {"one", "two"}


def test_maintenance_is_asked_for_once_more_and_ended_at_once(
    chromium: Page, face: Start, applications: Applications
) -> None:
    gateway = face(
        f'upstream = "{applications("one").address}"\n[[route]]\nname = "long"\nrespond = "x"\n'
        f'host = "{"a" * 60}.example"\n'
    )
    page = opened(chromium, gateway)
    click(page, "Maintenance")
    page.wait("document.getElementById('confirm').open")
    click(page, "Cancel")
    page.wait("!document.getElementById('confirm').open")
    assert gateway.get()[0] == 200
    click(page, "Maintenance")
    click(page, "Start maintenance")
    told(page, "Maintenance is on")
    assert {gateway.get()[0] for _ in range(8)} == {503}
    page.wait("!document.getElementById('banner').hidden")
    page.evaluate("document.getElementById('open-token').hidden = false")
    for width in (390, 320):
        page.look(width, 900)
        page.wait("document.documentElement.scrollWidth <= screen.width")
    click(page, "End maintenance")
    told(page, "Maintenance is off")
    assert gateway.get() == (200, "one")
    page.wait("document.getElementById('banner').hidden")


def test_a_dialog_does_not_take_the_answer_of_the_one_before(
    chromium: Page, face: Start, applications: Applications
) -> None:
    page = opened(chromium, face(f'upstream = "{applications("one").address}"\n'))
    # Within one frame, as on a browser that is slow to draw.
    page.evaluate(
        "for (const one of ['maintenance', 'confirm-no', 'maintenance', 'confirm-yes']) "
        "document.getElementById(one).click()"
    )
    page.wait("!document.getElementById('banner').hidden")


def test_open_websockets_are_listed_with_what_they_carried(chromium: Page, face: Start, echo: str) -> None:
    gateway = face(f'upstream = "{echo}"\n')
    page = opened(chromium, gateway)
    connection = websocket.create_connection(f"ws://127.0.0.1:{gateway.port}/rooms/7", timeout=10)
    connection.send("hello" * 20)
    assert connection.recv() == "hello" * 20
    page.wait("document.querySelector('#tunnels tbody tr')?.textContent.includes('/rooms/7')")
    page.wait("document.querySelector('#tunnels tbody tr').textContent.includes('106 B')")  # 6 bytes of header
    connection.close()
    page.wait("document.querySelectorAll('#tunnels tbody tr').length === 0")


def test_rows_that_look_the_same_come_and_go_like_others(
    chromium: Page, face: Start, applications: Applications
) -> None:
    page = opened(chromium, face(f'upstream = "{applications("one").address}"\n'))
    shown = page.evaluate("""import("/page/dom.js").then(({ sync }) => {
        const list = document.createElement("ol");
        const fill = (row, text) => { row.textContent = text; };
        return ["aab", "aab", "baa", "a"].map((items) => {
            sync(list, [...items], (one) => one, () => document.createElement("li"), fill);
            return list.textContent;
        });
    })""")
    assert shown == ["aab", "aab", "baa", "a"]


def typed(page: Page, token: str) -> None:
    page.wait("document.getElementById('token-dialog').open")
    page.evaluate("document.getElementById('token').focus()")
    page.type(token)
    click(page, "Use token")


def test_page_asks_for_the_token_the_cli_prints(chromium: Page, face: Start, applications: Applications) -> None:
    one, two = applications("one"), applications("two")
    gateway = face(f'upstream = ["{one.address}", "{two.address}"]\n')
    gateway.get("/fail?secret=1")
    page = opened(chromium, gateway, token=False)
    page.wait("document.querySelector('#failing tbody tr')?.textContent.includes('/fail')")
    shown = page.evaluate("document.getElementById('failing').textContent")
    assert ("secret" in shown, "127.0.0.1" in shown.replace(one.address, "").replace(two.address, "")) == (False, False)
    assert "hidden (needs the token)" in shown
    click(page, f"Drain {one.address} on route default")
    page.wait("document.getElementById('token-dialog').open")
    assert "aragora-proxy token" in text(page, "token-hint")
    click(page, "Cancel")
    told(page, "commands require the gateway's token")
    assert gateway.names() == {"one", "two"}
    click(page, f"Drain {one.address} on route default")
    typed(page, "not-the-token-of-this-gateway")
    page.wait("document.getElementById('token-hint').textContent.includes('not the gateway')")
    typed(page, gateway.run("token").stdout.strip())
    told(page, "is drained on route default")
    assert gateway.names() == {"two"}
    page.wait("document.getElementById('failing').textContent.includes('/fail?secret=1')")
    page.wait("document.getElementById('open-token').hidden")
    page.evaluate("sessionStorage.setItem('gateway-token', 'that-of-the-gateway-before')")
    told(page, "not the gateway's token")
    page.wait("sessionStorage.getItem('gateway-token') === null")
    click(page, "Token")
    typed(page, gateway.run("token").stdout.strip())
    page.wait("document.getElementById('failing').textContent.includes('/fail?secret=1')")


@pytest.mark.component("pages")
def test_a_token_is_asked_for_and_kept_in_the_tab(
    chromium: Page, face: Start, applications: Applications, tmp_path: Path
) -> None:
    token = "0123456789abcdef0123456789abcdef"
    (tmp_path / "token").write_text(token)
    directory = tmp_path / "closed"
    directory.mkdir()
    gateway = AdminGateway(
        directory,
        'bind = "127.0.0.1:0"\nadmin = "127.0.0.1:0"\naccess_log = "off"\nworkers = 1\n'
        f'admin_token_file = "{tmp_path}/token"\nupstream = "{applications("one").address}"\n',
    )
    try:
        until(lambda: len(gateway.listening()) == 2, "listening")
        gateway.address, gateway.admin = gateway.listening()
        page = chromium
        page.go(f"http://{gateway.admin_address}/")
        for given in ("not the gateway's token", token):
            typed(page, given)
            page.wait("!document.getElementById('token-dialog').open || document.getElementById('token').value === ''")
        page.wait("document.getElementById('main').getAttribute('aria-busy') === 'false'")
        assert text(page, "slowest-empty").startswith("The access log is off")
        assert page.evaluate("localStorage.length") == 0
        page.call("Page.reload")
        page.wait("document.getElementById('main')?.getAttribute('aria-busy') === 'false'")
        for path, beginning in (("/metrics", "# HELP aragora"), ("/status.json", "{"), ("/status.csv", "route,peer")):
            page.evaluate(f"document.querySelector('#documents a[href=\"{path}\"]').click()")
            page.wait(f"document.getElementById('document-text').textContent.startsWith({json.dumps(beginning)})")
            assert text(page, "document-title") == path
            kept = page.evaluate("fetch(document.getElementById('document-file').href).catch(() => 'not allowed')")
            assert kept == "not allowed", "the page's policy allows its own origin alone"
            file = page.evaluate(
                "[...['href', 'download'].map((one) => document.getElementById('document-file')[one])]"
            )
            assert (file[0].startswith("blob:"), file[1], token in file[0]) == (True, path[1:], False)
            assert violations(page) == []
            click(page, "Close")
            page.wait("document.getElementById('document-text').textContent === ''")
        assert token not in page.evaluate("location.href")
        assert token not in gateway.log
    finally:
        gateway.close()
        chromium.evaluate("sessionStorage.clear()")

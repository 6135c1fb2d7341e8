"""The table: precedence, every mistake named with source, value and mend, and a reference page that is current."""

import pickle
import socket
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cli import reference
from proxy.settings import Address, Peer, Settings, SettingsError, load, table
from proxy.settings.values import kinds

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "proxy-settings.md"
UPSTREAM = {"upstream": ["127.0.0.1:8080"]}


def mistakes(text: str, tmp_path: Path, flags: dict[str, str | list[str]] | None = None) -> list[str]:
    """What is wrong with a file of this text, without the file's own path."""
    path = tmp_path / "proxy.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(flags or {}, path)
    return [mistake.replace(str(path), "FILE") for mistake in caught.value.mistakes]


def test_defaults_listen_on_loopback_only() -> None:
    settings = load(UPSTREAM)
    assert settings.admin is not None
    assert all(address.loopback for address in (*settings.bind, settings.admin))
    assert settings.workers >= 1


def test_flag_wins_over_file_and_file_over_default(tmp_path: Path) -> None:
    path = tmp_path / "proxy.toml"
    path.write_text('upstream = "127.0.0.1:8080"\nretry_wait = 3\nread_timeout = "2m"\n')
    settings = load({"retry_wait": "4"}, path)
    assert (settings.retry_wait, settings.read_timeout, settings.send_timeout) == (4.0, 120.0, 300.0)
    assert settings.config == path


def test_a_limit_is_off_for_one_route_or_for_all(tmp_path: Path) -> None:
    path = tmp_path / "proxy.toml"
    path.write_text('upstream = "a:1"\nmax_body = "2g"\n[[route]]\npath = "/up"\nmax_body = false\nupstream = "a:1"\n')
    settings = load({}, path)
    assert (settings.max_body, settings.routes[0].settings.max_body) == (2 << 30, kinds.NO_LIMIT)
    assert load({"max_body": "0"}, path).max_body == kinds.NO_LIMIT


def test_an_alias_names_the_same_setting(tmp_path: Path) -> None:
    path = tmp_path / "proxy.toml"
    path.write_text('upstream = "127.0.0.1:8080"\ngraceful_timeout = 12\n')
    assert load({}, path).graceful == 12.0
    assert load({}, path).websocket_drain <= 12.0


def test_settings_cannot_be_changed_and_survive_pickling() -> None:
    settings = load(UPSTREAM)
    with pytest.raises(FrozenInstanceError):
        settings.retry_wait = 1.0  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_file_mistakes_name_line_value_and_fix(tmp_path: Path) -> None:
    assert mistakes(
        '# gateway\nupstream = 5\nconnect_timout = 5\nretry_wait = "soon"\n\nmax_body = true\nworkers = 0\n',
        tmp_path,
    ) == [
        'FILE:2: upstream = 5: expected an address such as "127.0.0.1:8000", or a list of them',
        "FILE:3: connect_timout: unknown setting; did you mean connect_timeout?",
        'FILE:4: retry_wait = "soon": expected seconds, or a duration such as 500ms, 30s, 5m or 1h (at most 30d)',
        "FILE:6: max_body = true: expected a size in bytes, or with k, m or g, such as 64k or 50m, or off for no limit",
        "FILE:7: workers = 0: expected a whole number from 1 to 128",
    ]


def test_mistakes_of_top_level_and_routes_come_together(tmp_path: Path) -> None:
    text = 'workers = "x"\n[[route]]\npath = "a"\n[[route]]\nname = "b"\nratee = 3\n[[certificate]]\ncert = "c"\n'
    found = [mistake.partition(" ")[0] for mistake in mistakes(text, tmp_path)]
    assert found == ["FILE:1:", "FILE:", "FILE:3:", "FILE:6:"]


def test_mistakes_of_flags_and_file_come_together(tmp_path: Path) -> None:
    found = mistakes('retry_wait = "x"\n', tmp_path, {"workers": "many"})
    assert [line.partition(":")[0] for line in found] == ["FILE", "--workers many"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("retry_wait = = 3", "FILE:1: retry_wait = = 3: invalid value; write retry_wait = VALUE"),
        ("nothing = 1", "unknown setting; aragora-proxy --help lists"),
        ("[timeouts]\nretry_wait = 3", "FILE:1: timeouts: unknown setting"),
        ('[[routes]]\nrespond = "x"', "FILE:1: routes: unknown setting; did you mean route?"),
        ('config = "other.toml"', "not allowed in a file"),
        ("graceful = 1\ngraceful_timeout = 2", "given twice"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(text: str, part: str, tmp_path: Path) -> None:
    assert any(part in line for line in mistakes(text, tmp_path))


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    for path, part in ((tmp_path / "absent", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(SettingsError, match=part):
            load({}, path)
    binary = tmp_path / "binary"
    binary.write_bytes(b"retry_wait = 1 # \xff")
    with pytest.raises(SettingsError, match="not UTF-8 at byte 17"):
        load({}, binary)
    huge = tmp_path / "huge"
    huge.write_bytes(b"#" * (1 << 21))
    with pytest.raises(SettingsError, match="is it the right file"):
        load({}, huge)


@given(st.binary(max_size=200))
def test_no_file_raises_anything_but_a_settings_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError):
        load({}, path)


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        ({"upstream": ["127.0.0.1:8000"]}, "--upstream 127.0.0.1:8000: is the gateway's own address"),
        (UPSTREAM | {"bind": ["unix:/x/s"], "admin": "unix:/x/s"}, "--admin unix:/x/s: is also a --bind address"),
        (
            {"upstream": ["127.0.0.1:80"], "bind": ["0.0.0.0:80"]},
            "--upstream 127.0.0.1:80: is the gateway's own address",
        ),
        (
            {"upstream": ["0.0.0.0:80"], "bind": ["[::]:80"]},
            "--upstream 0.0.0.0:80: is the gateway's own address",
        ),
        (UPSTREAM | {"bind": ["0.0.0.0:80", "[::]:80"]}, "--bind 0.0.0.0:80: [::]:80 accepts the same connections"),
        (
            UPSTREAM | {"bind": ["127.0.0.1:80", "0.0.0.0:80"]},
            "--bind 127.0.0.1:80: 0.0.0.0:80 accepts the same connections",
        ),
        (UPSTREAM | {"bind": ["0.0.0.0:9180"]}, "--admin 127.0.0.1:9180: 0.0.0.0:9180 accepts the same connections"),
        (
            UPSTREAM | {"tls_client_ca": __file__},
            f"--tls-client-ca {__file__}: client certificates need TLS",
        ),
        (UPSTREAM | {"websocket_drain": "31"}, "longer than --graceful 30s"),
        (UPSTREAM | {"max_field": "64k"}, "--max-field 65536: larger than --max-head 32768"),
        (UPSTREAM | {"spool_dir": "/nowhere"}, "--spool-dir /nowhere"),
        (UPSTREAM | {"access_log": "/nowhere/log"}, "no directory /nowhere; create it"),
        (UPSTREAM | {"access_log": "syslog:logs.example:514"}, "'logs.example' is a host name; write the IP address"),
        (UPSTREAM | {"access_log": "syslog:514"}, "expected HOST:PORT or unix:PATH"),
        (UPSTREAM | {"access_log": "journald:a/b"}, "expected journald, or journald:NAMESPACE of letters, digits"),
        (UPSTREAM | {"log_fields": ["stauts"]}, "--log-fields stauts: no field is called 'stauts'; there are time, "),
        (UPSTREAM | {"log_fields": ["time", "time"]}, "time is there twice; remove one"),
        (UPSTREAM | {"log_requests": "101%"}, '--log-requests 101%: expected on, off or a share such as "1%"'),
        (UPSTREAM | {"log_requests": "0%"}, 'expected on, off or a share such as "1%"'),
        (UPSTREAM | {"log_clients": "hashed"}, "--log-clients hashed: expected full or masked"),
        (UPSTREAM | {"pidfile": "/"}, "is a directory; name a file"),
        (UPSTREAM | {"user": "no-such-user"}, "no such user"),
        (UPSTREAM | {"group": "no-such-group"}, "no such group"),
    ],
)
def test_values_that_do_not_fit_together_are_refused(flags: dict[str, str | list[str]], part: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(flags)
    assert any(part in line for line in caught.value.mistakes), caught.value.mistakes


@pytest.mark.parametrize(
    ("upstream", "bind"),
    [
        ("[::1]:80", "0.0.0.0:80"),
        ("127.0.0.1:80", "[::1]:80"),
        ("192.0.2.1:80", "0.0.0.0:80"),
        ("unix:/x", "[::]:80"),
    ],
)
def test_an_upstream_that_is_not_the_gateway_is_not_taken_for_it(upstream: str, bind: str) -> None:
    assert load({"upstream": [upstream], "bind": [bind]}).upstream


def test_a_route_that_could_not_be_told_from_another_is_named(tmp_path: Path) -> None:
    assert mistakes(
        'upstream = "a:1"\n[[route]]\nname = "default"\nhost = ["a.example", "b.example"]\n'
        '[[route]]\nname = "x"\nhost = "B.example"\n[[route]]\nname = "y"\nhost = "b.example"\n'
        'exact = "/"\n',
        tmp_path,
    ) == [
        "FILE:2: route default: the name is reserved for what the top level serves; rename it",
        "FILE:5: route x: matches the same requests as route default: b.example, /; change one or remove it",
    ]


def test_a_certificate_that_is_not_there_is_named_with_its_place(tmp_path: Path) -> None:
    assert mistakes(
        'upstream = "a:1"\ntls_cert = "/no.crt"\ntls_key = "/no.key"\n'
        '[[certificate]]\ncert = "/no2.crt"\nkey = "/no2.key"\n',
        tmp_path,
    ) == [
        "FILE:2: tls_cert = /no.crt: no such file; correct the path",
        "FILE:3: tls_key = /no.key: no such file; correct the path",
        "FILE: certificate 1: cert /no2.crt: no such file; correct the path",
        "FILE: certificate 1: key /no2.key: no such file; correct the path",
    ]


def test_mistakes_of_several_settings_name_the_line_of_the_first(tmp_path: Path) -> None:
    found = mistakes(
        'upstream = "a:1"\ncors_origins = "*"\ncors_credentials = true\nmaintenance_page = "/nowhere"\n'
        'error_pages = "/nowhere"\n',
        tmp_path,
    )
    assert [line.partition(" ")[0] for line in found] == ["FILE:3:", "FILE:5:", "FILE:4:"]
    assert "maintenance_page /nowhere: expected a file name" in found[2]


def test_names_of_upstreams_are_left_to_be_resolved() -> None:
    assert load({"upstream": ["app:8080"]}).upstream == (Peer(Address("app", 8080)),)
    assert Address("app", 8080).family == socket.AF_UNSPEC


def test_every_default_shown_is_read_as_that_default() -> None:
    for row in table():
        if row.default_text not in ("none", "cores"):
            assert row.kind.read(row.default_text) == row.default, row.name


def test_the_reference_page_is_current() -> None:
    """Make it anew: python -c 'from proxy.cli import reference; print(reference(), end="")' > PAGE"""
    assert PAGE.read_text() == reference()


def test_settings_made_directly_have_the_table_s_defaults() -> None:
    assert Settings(upstream=(Peer(Address("127.0.0.1", 8080)),), workers=1) == load(UPSTREAM | {"workers": "1"})


def test_shared_limits_need_what_belongs_to_them(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (told,) = mistakes('upstream = "a:1"\nshared_limits = "redis://:hidden@cache"', tmp_path)
    assert told.startswith('FILE:2: shared_limits = "redis://:***@cache": expected no password here; name a file')
    file = f'upstream = "a:1"\nshared_limits = "redis://gateway@cache"\nshared_limits_ca = "{PAGE}"'
    found = "\n".join(mistakes(file, tmp_path))
    assert "a user needs a password; add shared_limits_password_file" in found
    assert "is for TLS; write rediss://" in found
    assert "holds no certificate" in found
    found = "\n".join(mistakes(f'upstream = "a:1"\nshared_limits_password_file = "{tmp_path}/empty"', tmp_path))
    assert "has no effect without Redis; add shared_limits, or remove it" in found
    assert "no password found: write it on one line" in found

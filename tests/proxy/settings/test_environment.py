"""Variables of the environment: in values of a file, and as settings themselves."""

import pickle
from pathlib import Path

import pytest

from proxy.cli import main
from proxy.settings import Settings, SettingsError, load, load_some

UPSTREAM = 'upstream = "127.0.0.1:8080"\n'
SECRET = "s3cret/With+Signs"


def loaded(text: str, directory: Path, flags: dict[str, str | list[str]] | None = None, **variables: str) -> Settings:
    file = directory / "proxy.toml"
    file.write_text(text)
    return load(flags or {}, file, variables=variables)


def mistakes(
    text: str, directory: Path, flags: dict[str, str | list[str]] | None = None, **variables: str
) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        loaded(text, directory, flags, **variables)
    return [mistake.replace(str(directory / "proxy.toml"), "FILE") for mistake in caught.value.mistakes]


def test_variables_are_replaced_in_values_of_every_kind(tmp_path: Path) -> None:
    text = """
upstream = ["${APP:-127.0.0.1}:${PORT}", "unix:${RUN}/app.sock"]
workers = "${WORKERS:-3}"
http2 = "${HTTP2}"
set_request_fields = { X-Key = "Bearer ${KEY}" }

[[route]]
name = "${NAME}"
host = ["${HOST}", "www.${HOST}"]
path = "/${NAME}/"
respond = "of ${NAME}"
"""
    given = {"PORT": "81", "RUN": "/run/x", "WORKERS": "", "HTTP2": "off", "KEY": "k", "NAME": "shop", "HOST": "a.test"}
    settings = loaded(text, tmp_path, **given)
    assert list(map(str, settings.upstream)) == ["127.0.0.1:81", "unix:/run/x/app.sock"]
    assert (settings.workers, settings.http2, settings.set_request_fields) == (3, False, (("X-Key", "Bearer k"),))
    (route,) = settings.routes
    assert (route.name, route.hosts, route.path) == ("shop", ("a.test", "www.a.test"), "/shop/")
    assert route.settings.respond == "of shop"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("$5, $A and $$", "$5, $A and $$"),
        ("${A}${A}", "aa"),
        ("${A:-b}", "a"),
        ("${B:-}", ""),
        ("${B:-b:-c}", "b:-c"),
        ("${EMPTY}|", "|"),
        ("${NESTED}", "${A}"),
    ],
)
def test_what_is_replaced_and_what_is_literal(written: str, value: str, tmp_path: Path) -> None:
    text = f"{UPSTREAM}[[route]]\nrespond = '.{written}'\n"
    settings = loaded(text, tmp_path, A="a", EMPTY="", NESTED="${A}")
    assert settings.routes[0].settings.respond == f".{value}"


def test_every_missing_variable_is_named_with_its_line(tmp_path: Path) -> None:
    text = (
        f'{UPSTREAM}retry_wait = "${{A}}"\n[[certificate]]\ncert = "${{B}}"\nkey = "k"\n[[route]]\nrespond = "${{C}}"\n'
    )
    assert mistakes(text, tmp_path) == [
        'FILE:2: retry_wait = "${A}": A is not set in the environment; set it, or write ${A:-default}',
        'FILE:4: certificate 1: cert = "${B}": B is not set in the environment; set it, or write ${B:-default}',
        'FILE:7: route 1: respond = "${C}": C is not set in the environment; set it, or write ${C:-default}',
    ]


@pytest.mark.parametrize(
    "line",
    [
        'bind = "${SECRET}"',
        'upstream = "${SECRET}:80"',
        'domain = "${SECRET}"',
        'allow = ["10.0.0.0/8", "${SECRET}"]',
        'set_request_fields = { "${SECRET}" = "${SECRET}", "X Y" = "${SECRET}" }',
        'root = "/nowhere/${SECRET}"',
        'forward_auth = "ftp://user:${SECRET}@auth.test/"',
        'error_pages = "/nowhere/${SECRET}"',
        'user = "${SECRET}"',
    ],
)
def test_no_message_has_a_value_of_the_environment(line: str, tmp_path: Path) -> None:
    found = mistakes(("" if line.startswith("upstream") else UPSTREAM) + line, tmp_path, SECRET=SECRET)
    assert found
    assert SECRET.lower() not in " ".join(found).lower()
    assert "${SECRET}" in " ".join(found)


def test_what_is_shown_of_a_value_is_as_it_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_TEST_KEY", SECRET)
    text = f"""{UPSTREAM}set_request_fields = {{ X-Key = "${{GATEWAY_TEST_KEY}}" }}
[[route]]
path = "/old"
redirect = "https://a.test/?key=${{GATEWAY_TEST_KEY}}"
[[route]]
path = "/own"
upstream = "127.0.0.1:1"
set_request_fields = {{ X-Other = "v" }}
"""
    file = tmp_path / "proxy.toml"
    file.write_text(text)
    assert main(["check", str(file), "--all"]) == 0
    shown = capsys.readouterr()
    assert SECRET not in shown.out + shown.err
    assert '  set_request_fields = {"X-Key": "${GATEWAY_TEST_KEY}"}' in shown.out
    assert '    redirect = "https://a.test/?key=${GATEWAY_TEST_KEY}"' in shown.out
    assert "    set_request_fields = X-Other: v" in shown.out
    settings = pickle.loads(pickle.dumps(load({}, file)))
    assert settings.routes[0].settings.shown("set_request_fields") == settings.shown("set_request_fields")


def test_flags_win_over_variables_and_they_over_the_file(tmp_path: Path) -> None:
    text = f'{UPSTREAM}retry_wait = 1\nread_timeout = 1\nsend_timeout = "${{T}}"\n'
    variables = {
        "ARAGORA_PROXY_RETRY_WAIT": "2",
        "ARAGORA_PROXY_READ_TIMEOUT": "2s",
        "ARAGORA_PROXY_WORKERS": "",
        "T": "9",
    }
    settings = loaded(text, tmp_path, {"retry_wait": "3", "send_timeout": "8"}, **variables)
    assert (settings.retry_wait, settings.read_timeout, settings.send_timeout) == (3.0, 2.0, 8.0)
    assert settings.shown("send_timeout") == "8s"


def test_a_variable_has_several_values_and_other_spellings(tmp_path: Path) -> None:
    variables = {
        "ARAGORA_PROXY_UPSTREAM": "127.0.0.1:81 weight=2, unix:/run/app.sock",
        "ARAGORA_PROXY_GRACEFUL_TIMEOUT": "12",
        "ARAGORA_PROXY_CONFIG": str(tmp_path / "none.toml"),
    }
    settings = load({}, variables=variables)
    assert list(map(str, settings.upstream)) == ["127.0.0.1:81 weight=2", "unix:/run/app.sock"]
    assert settings.graceful == 12.0


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("WORKERS", "many", "WORKERS many: expected a whole number from 1 to 128"),
        ("WORKER", "1", "WORKER: unknown setting; did you mean ARAGORA_PROXY_WORKERS?"),
        ("LISTEN", "1", "LISTEN: unknown setting; did you mean ARAGORA_PROXY_BIND?"),
        ("SET_REQUEST_FIELDS", "1", "SET_REQUEST_FIELDS: only a key of the file; write set_request_fields there"),
        ("BIND", "127.0.0.1:81", "UPSTREAM 127.0.0.1:81: is the gateway's own address; use the application's"),
        ("ACME", "a@b.test", "ACME a@b.test: needs the names to obtain certificates for; add --domain"),
    ],
)
def test_a_mistake_in_a_variable_names_it(name: str, value: str, told: str) -> None:
    variables = {"ARAGORA_PROXY_UPSTREAM": "127.0.0.1:81", f"ARAGORA_PROXY_{name}": value}
    with pytest.raises(SettingsError) as caught:
        load({}, variables=variables)
    assert caught.value.mistakes[0] == f"ARAGORA_PROXY_{told}"


def test_variables_of_others_and_of_kubernetes_are_none() -> None:
    others = (
        "SERVICE_HOST",
        "SERVICE_PORT",
        "SERVICE_PORT_HTTP",
        "PORT",
        "PORT_80_TCP",
        "PORT_80_TCP_ADDR",
        "OVERRIDES",
    )
    variables = {f"ARAGORA_PROXY_{name}": "tcp://10.0.0.1:80" for name in others}
    assert load({"upstream": ["a:1"]}, variables=variables | {"ARAGORA_URL": "x"}).upstream


def test_commands_find_the_gateway_by_variables_too(tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text(
        f'{UPSTREAM}admin = "127.0.0.1:${{ADMIN_PORT}}"\nset_request_fields = {{ X-Key = "${{UNKNOWN}}" }}\n'
    )
    (admin,) = load_some(("admin", "bind"), file, {"ADMIN_PORT": "9999"}).values()
    assert str(admin) == "127.0.0.1:9999"
    with pytest.raises(SettingsError, match="ADMIN_PORT is not set"):
        load_some(("admin",), file, {})
    (admin,) = load_some(("admin",), None, {"ARAGORA_PROXY_ADMIN": "127.0.0.1:9998"}).values()
    assert str(admin) == "127.0.0.1:9998"

"""The settings: each wrong value names its variable and the mend; the page and gunicorn's file agree with the table."""

import dataclasses
from pathlib import Path

import pytest

from aragora.agents import available
from aragora.errors import SettingsError
from aragora.settings import AGENT_VARIABLES, SETTINGS, Settings, load, unknown
from aragora.settings.page import page

ROOT = Path(__file__).parents[3]
PRODUCTION = {"ARAGORA_ENV": "production", "ARAGORA_API_TOKEN": "a-long-enough-token"}


def test_nothing_set_is_a_working_development_process() -> None:
    settings = load({"HOME": "/home/somebody"})

    assert settings.env == "development"
    assert settings.data_dir.is_relative_to("/home/somebody")
    assert (settings.bind, settings.ws_bind) == ("127.0.0.1:8080", "127.0.0.1:8766")
    assert settings.database_url == settings.redis_url == ""
    assert settings.api_tokens == ()


def test_xdg_names_the_data_directory() -> None:
    assert load({"XDG_DATA_HOME": "/data", "HOME": "/h"}).data_dir == Path("/data/aragora")
    assert load({"ARAGORA_DATA_DIR": "/elsewhere", "XDG_DATA_HOME": "/data"}).data_dir == Path("/elsewhere")


def test_production_takes_its_own_defaults() -> None:
    development, production = load({}), load(PRODUCTION)

    assert (development.timeout, development.ws_timeout, development.graceful_timeout) == (120, 600, 10)
    assert (production.timeout, production.ws_timeout, production.graceful_timeout) == (300, 3600, 30)
    assert load(PRODUCTION | {"ARAGORA_TIMEOUT": "7"}).timeout == 7


@pytest.mark.parametrize("token", [{}, {"ARAGORA_API_TOKEN": ""}, {"ARAGORA_API_TOKEN": " , "}])
def test_production_without_a_token_is_refused(token: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="ARAGORA_ENV=production needs ARAGORA_API_TOKEN"):
        load({"ARAGORA_ENV": "production"} | token)


@pytest.mark.parametrize(
    ("name", "value", "mend"),
    [
        ("ARAGORA_ENV", "prod", "one of development, production"),
        ("ARAGORA_ALLOWED_ORIGINS", "https://app.example/", "no / at the end"),
        ("ARAGORA_ALLOWED_ORIGINS", "https://one.example, app.example", "as https://app.example"),
        ("ARAGORA_ALLOWED_ORIGINS", "https://App.example", "no capitals"),
        ("ARAGORA_BIND", "8080", "HOST:PORT"),
        ("ARAGORA_BIND", "host:99999", "HOST:PORT"),
        ("ARAGORA_TIMEOUT", "soon", "a whole number from 1 to 86400"),
        ("ARAGORA_TIMEOUT", "0", "a whole number from 1 to 86400"),
        ("ARAGORA_LEASE_TTL", "nan", "a number from 1 to 300"),
        ("ARAGORA_PRELOAD", "maybe", "1 or 0"),
        ("ARAGORA_WORKLOAD", "gpu", "cpu, io, mixed or a number"),
        ("ARAGORA_REDIS_URL", "localhost:6379", "redis://"),
        ("DATABASE_URL", "mysql://host/name", "postgresql://"),
        ("ARAGORA_URL", "ftp://host", "http://"),
    ],
)
def test_a_wrong_value_is_named_with_its_mend(name: str, value: str, mend: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load({name: value})
    message = str(raised.value)
    assert message.startswith(name)
    assert mend in message
    assert "\n" not in message


def test_secrets_are_not_shown() -> None:
    with pytest.raises(SettingsError) as raised:
        load({"DATABASE_URL": "mysql://user:sesame@host/name"})
    assert "sesame" not in str(raised.value)

    settings = load(
        {"DATABASE_URL": "postgresql://user:sesame@host/n", "ARAGORA_API_TOKEN": "sesame", "OPENAI_API_KEY": "sesame"}
    )
    assert "sesame" not in repr(settings)


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load({row.name: "  " for row in SETTINGS} | {"HOME": "/h"}) == load({"HOME": "/h"})


def test_secrets_come_from_files(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(" one, two \n")
    assert load({"ARAGORA_API_TOKEN_FILE": str(file)}).api_tokens == ("one", "two")

    file.write_text("postgresql://user:word@host/name\n")
    assert load({"DATABASE_URL_FILE": str(file)}).database_url == "postgresql://user:word@host/name"

    file.write_text("key\n")
    assert load({"OPENAI_API_KEY_FILE": str(file)}).agents_environ["OPENAI_API_KEY"] == "key"


def test_a_secret_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.touch()
    binary.write_bytes(b"\xff\xfe")
    for file, problem in ((tmp_path / "none", "No such file"), (empty, "is empty"), (binary, "not UTF-8")):
        with pytest.raises(SettingsError, match=f"ARAGORA_API_TOKEN_FILE.*{problem}"):
            load({"ARAGORA_API_TOKEN_FILE": str(file)})
    with pytest.raises(SettingsError, match="both set"):
        load({"ARAGORA_API_TOKEN_FILE": str(empty), "ARAGORA_API_TOKEN": "x"})


def test_unknown_variables_are_reported_with_the_nearest_name() -> None:
    found = list(
        unknown({"ARAGORA_TIMEOUTS": "1", "ARAGORA_XYZZY": "1", "PATH": "/bin", "ARAGORA_API_TOKEN_FILE": "/x"})
    )

    assert found == [
        "ARAGORA_TIMEOUTS is not a setting; did you mean ARAGORA_TIMEOUT?",
        "ARAGORA_XYZZY is not a setting",
    ]


def test_settings_never_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load({}).env = "production"  # type: ignore[misc]


def test_every_field_has_its_row_and_every_row_its_help() -> None:
    assert {row.attribute for row in SETTINGS} == {item.name for item in dataclasses.fields(Settings)} - {
        "agents_environ"
    }
    assert len({row.name for row in SETTINGS}) == len(SETTINGS)
    assert all(row.help for row in SETTINGS)


def test_the_reference_page_is_current() -> None:
    written = (ROOT / "docs/reference/settings.md").read_text()
    assert written == page(), "run: python -m aragora.settings > docs/reference/settings.md"


def test_every_variable_that_an_agent_misses_is_in_the_table() -> None:
    known = {variable.name for variable in AGENT_VARIABLES}
    assert {info.missing for info in available({}) if info.missing} <= known

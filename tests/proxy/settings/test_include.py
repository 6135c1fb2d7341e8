"""Settings in several files: what is included, and mistakes named by the file they are in."""

import os
from pathlib import Path

import pytest

from proxy.settings import Settings, SettingsError, load, load_some

UPSTREAM = 'upstream = "127.0.0.1:8080"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conf.d").mkdir()
    return tmp_path


def loaded(folder: Path, text: str, **included: str) -> Settings:
    for name, content in included.items():
        (folder / "conf.d" / f"{name}.toml").write_text(content)
    (folder / "main.toml").write_text(text)
    return load({}, folder / "main.toml", variables={"HOST": "a.test"})


def mistakes(folder: Path, text: str, **included: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        loaded(folder, text, **included)
    return [mistake.replace(f"{folder}/", "") for mistake in caught.value.mistakes]


def test_files_are_read_in_the_order_of_their_names(folder: Path) -> None:
    route = '[[route]]\npath = "/{0}"\nrespond = "{0}"\n'
    (folder / "conf.d" / ".hidden.toml").write_text("wrong")
    (folder / "conf.d" / "c.toml~").write_text("wrong")
    settings = loaded(
        folder,
        f'{UPSTREAM}include = ["conf.d/*.toml"]\n{route.format("main")}',
        b="retry_wait = 3\n" + route.format("b"),
        a=route.format("a").replace('"a"', '"${HOST}"'),
    )
    assert [route.path for route in settings.routes] == ["/main", "/a", "/b"]
    assert settings.retry_wait == 3.0
    assert [route.settings.retry_wait for route in settings.routes] == [3.0] * 3
    assert settings.routes[1].settings.respond == "a.test"


def test_included_files_may_include_others_once(folder: Path) -> None:
    again = 'include = ["b.toml", "../main.toml", "*.toml"]\n[[route]]\nrespond = "a"\npath = "/a"\n'
    settings = loaded(folder, f'{UPSTREAM}include = "conf.d/a.toml"\n', a=again, b="workers = 2\n")
    assert (settings.workers, len(settings.routes)) == (2, 1)


def test_a_name_in_brackets_of_the_folder_is_literal(tmp_path: Path) -> None:
    folder = tmp_path / "[a]*"
    (folder / "conf.d").mkdir(parents=True)
    assert loaded(folder, f'{UPSTREAM}include = "conf.d/*.toml"\n', a="workers = 2\n").workers == 2


def test_a_directory_without_files_is_no_mistake(folder: Path) -> None:
    assert loaded(folder, f'{UPSTREAM}include = ["conf.d/*.toml"]\n').upstream


def test_a_mistake_names_the_file_that_it_is_in(folder: Path) -> None:
    found = mistakes(
        folder,
        f'{UPSTREAM}include = ["conf.d/*.toml"]\nworkers = 1\n',
        a="\nworkers = 2\n",
        b='[[route]]\npath = "/b"\nmax_bodi = 1\n',
        c='[[certificate]]\ncert = "c"\n',
        d="retry_wait = = 3\n",
        e='\nadmin = "${NONE}"\n',
    )
    assert found == [
        "conf.d/d.toml:1: retry_wait = = 3: invalid value; write retry_wait = VALUE, with text in quotes",
        "conf.d/a.toml:2: workers: set already in main.toml:3: workers; remove one of them",
        'conf.d/e.toml:2: admin = "${NONE}": NONE is not set in the environment; set it, or write ${NONE:-default}',
        "conf.d/c.toml: certificate 1: needs both 'cert' and 'key', paths of PEM files",
        "conf.d/b.toml:3: route 1: max_bodi: unknown setting; did you mean max_body?",
    ]


def test_mistakes_of_several_settings_name_their_files(folder: Path) -> None:
    route = '\n[[route]]\nname = "{0}"\npath = "/x"\nrespond = "x"\n'
    text = f'{UPSTREAM}include = ["conf.d/*.toml"]\n{route.format("one")}'
    assert mistakes(folder, text, a=route.format("two"), b='admin = "0.0.0.0:80"\n') == [
        "conf.d/a.toml:2: route two: matches the same requests as route one: any host, /x; change one or remove it",
        (
            "conf.d/b.toml:1: admin = 0.0.0.0:80: reachable from other machines; add admin_token_file, or use a "
            "loopback address such as 127.0.0.1:9180, or a unix socket"
        ),
    ]
    assert mistakes(folder, text, a=route.format("one").replace("/x", "/y"), b="") == [
        "conf.d/a.toml:2: route one: duplicate name; rename one"
    ]


def test_the_number_of_files_and_of_routes_is_bounded(folder: Path) -> None:
    many = {f"n{number}": "" for number in range(300)}
    assert mistakes(folder, f'{UPSTREAM}include = "conf.d/*.toml"\n', **many) == [
        "main.toml:2: include: more than 256 files; include fewer"
    ]
    for number in range(300):
        (folder / "conf.d" / f"n{number}.toml").unlink()
    routes = "".join(f'[[route]]\npath = "/{{0}}{number}"\nrespond = "x"\n' for number in range(200))
    found = mistakes(folder, f'{UPSTREAM}include = "conf.d/*.toml"\n', a=routes.format("a"), b=routes.format("b"))
    assert found[0].endswith("at most 256 in all files")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another account")
def test_root_follows_no_link_of_another_account(folder: Path) -> None:
    """An account that may write to the folder of included files must not choose what root reads."""
    secret = folder / "secret.toml"
    secret.write_text("workers = 2\n")
    os.chown(folder / "conf.d", 12345, 12345)
    link = folder / "conf.d" / "a.toml"
    link.symlink_to(secret)
    os.chown(link, 12345, 12345, follow_symlinks=False)
    assert mistakes(folder, f'{UPSTREAM}include = "conf.d/*.toml"\n') == [
        "conf.d/a.toml: cannot be read: a.toml is a link that another account could have set"
    ]


def test_commands_read_included_files_too(folder: Path) -> None:
    loaded(folder, f'{UPSTREAM}include = "conf.d/*.toml"\n', a='admin = "127.0.0.1:9999"\n')
    assert str(load_some(("admin",), folder / "main.toml", {})["admin"]) == "127.0.0.1:9999"

"""Settings of certificates from authorities: what follows from `acme` alone, external accounts, several servers."""

import os
from pathlib import Path

import pytest

from proxy.settings import AcmeServer, Address, Settings, SettingsError, TsigKey, defaults, load, tls_check
from proxy.settings.notes import notes, risks

KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
ALONE = {"acme": "a@site.test", "domain": ["site.test"]}
LETS_ENCRYPT = Settings().acme_directory


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults.os, "geteuid", lambda: 1000)


def loaded(variables: dict[str, str] | None = None, **flags: str | list[str]) -> Settings:
    return load({**ALONE, **flags}, variables=variables or {"HOME": "/home/me"})


@pytest.mark.parametrize(("dual", "host"), [(True, "::"), (False, "0.0.0.0")])
def test_it_listens_where_an_authority_connects(monkeypatch: pytest.MonkeyPatch, dual: bool, host: str) -> None:
    monkeypatch.setattr(defaults.socket, "has_dualstack_ipv6", lambda: dual)
    settings = loaded()
    assert (settings.bind, settings.bind_plain) == ((Address(host, 443),), (Address(host, 80),))


def test_chosen_addresses_stay_alone() -> None:
    settings = loaded(bind=["127.0.0.1:8443"])
    assert (settings.bind, settings.bind_plain) == ((Address("127.0.0.1", 8443),), ())
    assert loaded(bind_plain=["127.0.0.1:8080"]).bind_plain == (Address("127.0.0.1", 8080),)
    assert load({"upstream": ["127.0.0.1:1"]}, variables={}).bind == Settings().bind


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("variables", "directory"),
    [
        ({"HOME": "/home/me"}, "/home/me/.local/state/aragora-proxy"),
        ({"HOME": "/home/me", "XDG_STATE_HOME": "/data"}, "/data/aragora-proxy"),
        ({"HOME": "/home/me", "XDG_STATE_HOME": "data"}, "/home/me/.local/state/aragora-proxy"),
        ({"HOME": "/home/me", "STATE_DIRECTORY": "/var/lib/shop:/var/lib/more"}, "/var/lib/shop"),
    ],
)
def test_state_has_a_place(variables: dict[str, str], directory: str) -> None:
    assert loaded(variables).state_dir == Path(directory)
    assert loaded(variables, state_dir="/chosen").state_dir == Path("/chosen")


def test_state_of_root_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults.os, "geteuid", lambda: 0)
    assert loaded().state_dir == Path("/var/lib/aragora-proxy")


@pytest.mark.usefixtures("as_user")
def test_an_account_without_a_home_has_to_choose() -> None:
    with pytest.raises(SettingsError, match="needs a directory for the account and the keys; add --state-dir"):
        loaded({"PATH": "/bin"})


def test_without_acme_nothing_is_kept_by_default() -> None:
    plain = {"upstream": ["127.0.0.1:1"]}
    assert load(plain, variables={"HOME": "/home/me"}).state_dir is None
    assert load(plain, variables={"STATE_DIRECTORY": "/var/lib/shop"}).state_dir == Path("/var/lib/shop")


@pytest.mark.parametrize("content", [KEY, KEY + "\n", KEY.replace("-", "+") + "==\n"])
def test_the_key_of_an_external_account_is_read(tmp_path: Path, content: str) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    settings = loaded(acme_eab_kid="me", acme_eab_key_file=str(file), acme_profile="shortlived")
    assert settings.acme_servers == (AcmeServer(LETS_ENCRYPT, None, "me", KEY, "shortlived"),)
    assert KEY not in repr(settings)


@pytest.mark.parametrize("content", ["", "two words", "-----BEGIN KEY-----", "\xff"])
def test_what_is_no_key_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "key"
    file.write_text(content, encoding="latin-1")
    with pytest.raises(SettingsError, match=f"--acme-eab-key-file {file}: no key found"):
        loaded(acme_eab_kid="me", acme_eab_key_file=str(file))


@pytest.mark.parametrize(
    ("given", "missing"), [("acme_eab_kid", "--acme-eab-key-file"), ("acme_eab_key_file", "--acme-eab-kid")]
)
def test_an_external_account_has_both_parts(tmp_path: Path, given: str, missing: str) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)
    with pytest.raises(SettingsError, match=f"has both an identifier and a key; add {missing}$"):
        loaded(**{given: str(file)})


TSIG = 'key "updates" {\n\talgorithm hmac-sha256;\n\tsecret "c2VjcmV0c2VjcmV0";\n};\n'


@pytest.mark.parametrize("text", [TSIG, TSIG.replace('"updates"', "updates").replace("\n", " ")])
def test_the_key_of_a_name_server_is_read(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    settings = loaded(acme_dns_server="192.0.2.1", acme_dns_key_file=str(file), domain=["*.site.test", "::1", "0:0::2"])
    assert settings.acme_dns_key == TsigKey("updates", "hmac-sha256", "c2VjcmV0c2VjcmV0")
    assert settings.acme_dns_server == Address("192.0.2.1", 53)
    assert settings.domain == ("*.site.test", "::1", "::2")
    assert "c2VjcmV0c2VjcmV0" not in repr(settings)


@pytest.mark.parametrize("text", ["", TSIG.replace("sha256", "md5"), TSIG.replace("c2Vj", "c2V"), TSIG + TSIG])
def test_what_is_no_key_of_a_name_server_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    with pytest.raises(SettingsError, match=f"--acme-dns-key-file {file}: no key found"):
        loaded(acme_dns_server="ns.test:5353", acme_dns_key_file=str(file))


@pytest.mark.parametrize(
    ("flags", "mistake"),
    [
        ({"domain": ["*.site.test"]}, "a CA validates wildcards through DNS alone; add --acme-dns-hook"),
        ({"acme_dns_hook": "/etc/passwd"}, "--acme-dns-hook /etc/passwd: not a program that can be run"),
        ({"acme_dns_hook": "/etc"}, "--acme-dns-hook /etc: not a program that can be run"),
        ({"acme_dns_hook": "/bin/true", "acme_dns_server": "127.0.0.1"}, "excludes --acme-dns-server"),
        ({"acme_dns_server": "unix:/x"}, "expected a name server's address, such as 192.0.2.1"),
        ({"acme_dns_server": "a b"}, "'a b' is neither an IP address nor a host name"),
        ({"acme": "", "on_demand_ask": "http://127.0.0.1:5000/"}, "certificates are obtained by ACME; add --acme"),
        (
            {"acme": "", "domain": [], "shared_certificates": "/tmp"},
            "certificates are obtained by ACME; add --acme, or remove it",
        ),
        ({"shared_certificates": "/nowhere"}, "no such directory; mount the file system, and create it there"),
        ({"shared_certificates": "/tmp", "state_dir": "/tmp/"}, "is this gateway's own --state-dir; name another"),
        ({"on_demand_ask": "127.0.0.1:5000"}, "--on-demand-ask 127.0.0.1:5000: expected an http or https URL"),
        ({"on_demand_ask": "http://a:b@127.0.0.1/"}, "expected a URL without account and fragment, such as http://"),
        ({"on_demand_ask": "http://127.0.0.1:80/x"}, "is the gateway's own address; use that of the service itself"),
        ({"domain": ["1.2.3.4.5/8"]}, "'1.2.3.4.5/8' is not a host name"),
    ],
)
def test_a_mistake_of_validation_by_dns_is_named(flags: dict[str, str | list[str]], mistake: str) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(**flags)
    assert mistake in caught.value.mistakes[0]


def test_an_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_check, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'aragora-gateway\[dns\]'"):
        loaded(acme_dns_server="192.0.2.1")


def test_more_servers_are_tried_in_the_order_of_the_file(tmp_path: Path) -> None:
    key, file = tmp_path / "key", tmp_path / "proxy.toml"
    key.write_text(KEY)
    file.write_text(
        '[[acme_server]]\ndirectory = "https://one.test/dir"\neab_kid = "me"\n'
        f'eab_key_file = "{key}"\n[[acme_server]]\ndirectory = "https://two.test/dir"\nprofile = "short"\n'
    )
    assert load(ALONE, file, variables={"STATE_DIRECTORY": "/s"}).acme_servers == (
        AcmeServer(LETS_ENCRYPT),
        AcmeServer("https://one.test/dir", eab_kid="me", eab_key=KEY),
        AcmeServer("https://two.test/dir", profile="short"),
    )


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "FILE: acme_server 1: needs 'directory', the URL of the server's ACME directory"),
        ('directory = "ca.test"', 'FILE:2: acme_server 1: directory = "ca.test": expected an http or https URL'),
        ('directory = "off"', 'FILE:2: acme_server 1: directory = "off": expected an http or https URL'),
        ('directory = "https://a.test/"\nname = "x"', "FILE:3: acme_server x: name: unknown key of [[acme_server]]"),
        ('directory = "https://a.test/"\neab_kid = "x"', "acme_server 1: eab_kid and eab_key_file go together"),
        (
            'directory = "https://a.test/"\neab_kid = "x"\neab_key_file = "/dev/null"',
            'FILE:4: acme_server 1: eab_key_file = "/dev/null": no key found',
        ),
    ],
)
def test_a_mistake_in_a_server_is_named(tmp_path: Path, text: str, mistake: str) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text(f"[[acme_server]]\n{text}\n")
    with pytest.raises(SettingsError) as caught:
        load(ALONE, file, variables={"STATE_DIRECTORY": os.fspath(tmp_path)})
    told = [line.replace(str(file), "FILE") for line in caught.value.mistakes]
    assert any(line.startswith(mistake) or mistake in line for line in told), told
    assert len(told) == 1


def test_what_on_demand_leaves_open_is_told() -> None:
    careless = loaded(on_demand_ask="http://ask.example/", on_demand_client_rate="off", domain=[])
    told = [risk for risk in risks(careless) if "on_demand" in risk]
    assert [risk.split()[0] for risk in told] == ["on_demand_ask", "on_demand_client_rate:"]
    careful = loaded(on_demand_ask="http://127.0.0.1:5000/")
    assert not [risk for risk in risks(careful) if "on_demand" in risk]
    assert "on_demand_names has no effect without on_demand_ask" in "".join(notes(loaded(on_demand_names="5")))

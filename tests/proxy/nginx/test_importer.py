"""Single directives: what becomes of each, and what is said of those that have no equivalent."""

import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from proxy.cli import main
from proxy.commands.client import FAILED, PARTLY, SUCCESS, USAGE
from proxy.nginx.importer import import_nginx
from proxy.settings import Settings, load

AT = "proxy_pass http://127.0.0.1:8081;"


def imported(text: str, directory: Path) -> tuple[dict[str, Any], str, int]:
    """The settings, the whole text, and the number of lost lines of a file."""
    file = directory / "nginx.conf"
    file.write_text(text)
    found = import_nginx(file)
    return tomllib.loads(found.text), found.text, found.losses


def route(
    inside: str, directory: Path, path: str = "/", around: str = "", top: str = ""
) -> tuple[dict[str, Any], str, int]:
    """The same of one location: its route in the place of all settings."""
    text = f"{top}\nserver {{\n{around}\nlocation {path} {{\n{inside}\n}}\n}}\n"
    document, whole, losses = imported(text, directory)
    return document["route"][0], whole, losses


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("client_max_body_size 0;", {"max_body": "off"}),
        ("client_max_body_size 10M;", {"max_body": "10m"}),
        ("proxy_read_timeout 1d; proxy_connect_timeout 500ms;", {"read_timeout": "1d", "connect_timeout": "500ms"}),
        (
            "proxy_buffering off; proxy_request_buffering off;",
            {"response_buffering": False, "request_buffering": False},
        ),
        ("underscores_in_headers on;", {"underscores_in_fields": True}),
        ("proxy_set_header Host $proxy_host;", {"set_request_fields": {"Host": "{upstream}"}}),
        ("proxy_set_header Host app.internal;", {"set_request_fields": {"Host": "app.internal"}}),
        ("proxy_set_header X-User $remote_user;", {"set_request_fields": {"X-User": "{user}"}}),
        ("proxy_set_header Upgrade $http_upgrade;", {}),
        ("proxy_set_header Upgrade WebSocket;", {}),
        ("proxy_set_header Upgrade tcp;", {"upgrade": "tcp"}),
        ("proxy_set_header Upgrade SPDY/3.1;", {"upgrade": "spdy/3.1"}),
        ('proxy_set_header Upgrade "";', {"upgrade": "off"}),
        ('proxy_set_header Accept-Encoding "";', {"remove_request_fields": "Accept-Encoding"}),
        ("proxy_hide_header X-Powered-By;", {"remove_response_fields": "X-Powered-By"}),
        ("expires -1;", {"set_response_fields": {"Cache-Control": "no-cache"}}),
        ("add_header Strict-Transport-Security max-age=60;", {"hsts": "60s"}),
        ("deny 10.0.0.1; allow 10.0.0.0/8; deny all;", {"allow": "10.0.0.0/8", "deny": "10.0.0.1"}),
        ("deny all;", {"deny": ["0.0.0.0/0", "::/0"]}),
        ("deny 10.0.0.1;", {"deny": "10.0.0.1"}),
    ],
)
def test_a_directive_of_a_location(inside: str, expected: dict[str, Any], tmp_path: Path) -> None:
    found, _, losses = route(f"{inside} {AT}", tmp_path)
    assert found == {"path": "/", "upstream": "127.0.0.1:8081", **expected}
    assert losses == 0


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("grpc_pass 127.0.0.1:50051;", {"upstream": "h2c://127.0.0.1:50051"}),
        ("grpc_pass grpc://unix:/run/app.sock;", {"upstream": "h2c://unix:/run/app.sock"}),
        (
            "grpc_pass grpcs://app.internal; grpc_ssl_name a.test; grpc_ssl_verify on;",
            {"upstream": "h2://app.internal:443", "upstream_name": "a.test"},
        ),
        (
            "grpc_pass calls; grpc_read_timeout 1h; proxy_read_timeout 5s; grpc_set_header X-A b;",
            {
                "upstream": ["h2c://127.0.0.1:1", "h2c://127.0.0.1:2"],
                "read_timeout": "1h",
                "set_request_fields": {"X-A": "b"},
            },
        ),
    ],
)
def test_a_location_before_a_grpc_application(inside: str, expected: dict[str, Any], tmp_path: Path) -> None:
    calls = "upstream calls { server 127.0.0.1:1; server 127.0.0.1:2; }"
    found, _, losses = route(inside, tmp_path, top=calls)
    assert ({"path": "/", **expected}, 0) == (found, losses)


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("return 301 https://$host$request_uri;", {"redirect": "https://{host}{path}{query}", "redirect_status": 301}),
        ("return 302 /login?next=$uri;", {"redirect": "/login?next={path}", "redirect_status": 302}),
        ("return https://a.test/;", {"redirect": "https://a.test/", "redirect_status": 302}),
        (
            "rewrite ^/(.*)$ https://a.test/$1 redirect;",
            {"redirect": "https://a.test{path}{query}", "redirect_status": 302},
        ),
        ("return 200 'a b';", {"respond": "a b", "respond_status": 200}),
        ("return 200 $remote_addr;", {"respond": "{client}", "respond_status": 200}),
        ("return 503;", {"respond": "503\n", "respond_status": 503}),
        ("root /srv/www; index home.html;", {"root": "/srv/www", "index": "home.html"}),
        ("alias /srv/www/;", {"root": "/srv/www", "strip_prefix": True}),
    ],
)
def test_a_location_without_an_application(inside: str, expected: dict[str, Any], tmp_path: Path) -> None:
    found, _, losses = route(inside, tmp_path)
    assert ({"path": "/", **expected}, 0) == (found, losses)


@pytest.mark.parametrize(
    ("inside", "status"),
    [
        ("uwsgi_pass unix:/run/app.sock;", 501),
        ("fastcgi_pass 127.0.0.1:9000;", 501),
        ("proxy_pass http://$backend;", 501),
        ("return 200 $geoip_country;", 501),
        ("return 444;", 404),
    ],
)
def test_what_has_no_equivalent_falls_to_no_other_route(inside: str, status: int, tmp_path: Path) -> None:
    found, text, losses = route(inside, tmp_path, path="/x/")
    assert (found["path"], found["respond_status"], losses) == ("/x/", status, 1)
    assert f"# nginx.conf:5: {inside.rstrip(';')}: NOT TRANSLATED: " in text


@pytest.mark.parametrize(
    "inside",
    ["sub_filter a b;", "error_page 404 /404.html;", "if ($arg_a) { return 403; }", "rewrite ^/a /b last;",
     "allow all; deny 10.0.0.1;", "satisfy any;", "proxy_set_header X-A $geoip_country;",
     "proxy_set_header Upgrade h2c;",
     "add_header X-A $upstream_addr;", "add_header X-A '{host}';", "secure_link $arg_md5;", "frobnicate on;"],
)  # fmt: skip
def test_a_lost_directive_is_named(inside: str, tmp_path: Path) -> None:
    _, text, losses = route(f"{inside} {AT}", tmp_path)
    assert losses >= 1
    assert "# nginx.conf:5: " in text


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("sub_filter a b;", "server"),
        ("sub_filter a b;", "http"),
        ("if ($http_user_agent ~ bot) { return 403; }", "server"),
        ("rewrite ^/a/(.*)$ /b last;", "server"),
        ("error_page 404 /404.html;", "server"),
        ("error_page 404 /404.html;", "http"),
    ],
)
def test_a_lost_directive_around_locations_is_named(line: str, where: str, tmp_path: Path) -> None:
    around = {where: line}
    site = f"server {{ {around.get('server', '')}\nlocation / {{ {AT} }}\nlocation /a/ {{ {AT} }} }}"
    _, whole, losses = imported(f"http {{ {around.get('http', '')}\n{site} }}", tmp_path)
    assert (losses, f"{line.partition(' ')[0]} " in whole) == (1, True)


def test_logs_of_servers_are_kept_or_named(tmp_path: Path) -> None:
    one = "server {{ server_name {0}; access_log {1}; location / {{ " + AT + " }} location /x {{ access_log off; }} }}"
    document, whole, _ = imported(one.format("a", "/var/log/a.log") + one.format("b", "/var/log/a.log"), tmp_path)
    assert document["access_log"] == "/var/log/a.log"
    assert [route.get("log_requests", True) for route in document["route"]] == [True, False, True, False]
    document, whole, losses = imported(one.format("a", "/var/log/a.log") + one.format("b", "off"), tmp_path)
    assert "access_log" not in document
    assert whole.count("there is one log for all routes") == 2
    assert losses == 0


def test_a_missing_host_is_named(tmp_path: Path) -> None:
    around, top = "proxy_set_header X-A b;", "upstream shop { server 127.0.0.1:8081; }"
    _, whole, losses = route("proxy_pass http://shop/;", tmp_path, around=around, top=top)
    assert 'upstream_host = "shop" changes that' in whole
    assert losses == 0
    _, whole, _ = route(AT, tmp_path, around="proxy_set_header Host $host;")
    assert "upstream_host" not in whole


def test_a_server_that_redirects_what_comes_without_tls(tmp_path: Path) -> None:
    both = "listen 80; listen 443 ssl; ssl_certificate /c; ssl_certificate_key /k;"
    moved = "if ($scheme = http) { return 301 https://$host$request_uri; }"
    document, _, losses = imported(f"server {{ {both} {moved} location / {{ {AT} }} }}", tmp_path)
    assert ("https_redirect" in document, losses) == (False, 0)
    document, _, losses = imported(f"server {{ {both} location / {{ {AT} }} }}", tmp_path)
    assert (document["https_redirect"], losses) == (False, 0)


@pytest.mark.parametrize(
    ("tries", "expected", "losses"),
    [
        ("$uri @app", {"root": "/srv/www", "index": "off"}, 0),
        ("$uri $uri/ @app", {"root": "/srv/www", "index": "home.html"}, 0),
        ("$uri $uri/index.html @app", {"root": "/srv/www"}, 0),
        ("$uri $uri.html @app", {"root": "/srv/www", "index": "off"}, 1),
        ("/maintenance.html @app", {}, 1),
    ],
)
def test_files_before_an_application_are_translated(
    tries: str, expected: dict[str, str], losses: int, tmp_path: Path
) -> None:
    named = f"location @app {{ {AT} proxy_read_timeout 9s; proxy_set_header X-A b; }} root /srv/www; index home.html;"
    found, text, lost = route(f"try_files {tries};", tmp_path, around=named)
    assert found == expected | {
        "path": "/", "upstream": "127.0.0.1:8081", "read_timeout": "9s", "set_request_fields": {"X-A": "b"},
    }, text  # fmt: skip
    assert lost == losses, text


def test_named_location_of_another_protocol_is_refused(tmp_path: Path) -> None:
    found, text, losses = route("try_files $uri @app;", tmp_path, around="root /a; location @app { uwsgi_pass a:1; }")
    assert (found["respond_status"], "root" in found) == (501, False)
    assert losses == 2, text


def test_a_page_for_missing_files_is_a_fallback(tmp_path: Path) -> None:
    found, text, losses = route("root /srv/www; try_files $uri $uri/ /index.html;", tmp_path)
    assert (found["root"], found["fallback"], losses) == ("/srv/www", "/index.html", 0), text
    found, text, losses = route("alias /srv/www/; try_files $uri /index.html;", tmp_path, path="/a/")
    assert ("fallback" in found, losses) == (False, 1), text


def test_listings_are_translated(tmp_path: Path) -> None:
    found, _, losses = route("root /srv; autoindex on;", tmp_path)
    assert (found["listing"], losses) == (True, 0)


def test_a_script_among_files_is_never_sent_as_text(tmp_path: Path) -> None:
    scripts = "location ~ \\.php$ { fastcgi_pass a:9000; }"
    text = f"server {{ root /srv/www; location / {{ try_files $uri /index.php; }} {scripts} }}"
    document, whole, losses = imported(text, tmp_path)
    assert [one.get("root") for one in document["route"]] == [None]
    assert document["route"][0]["respond_status"] == 501
    assert "scripts among them would be sent as text" in whole
    assert losses == 3


@pytest.mark.parametrize(
    ("location", "matched"),
    [
        ("= /x", [("exact", "/x")]),
        ("^~ /x/", [("path", "/x/")]),
        ("~ ^/api/v1\\.0/", [("path", "/api/v1.0/")]),
        ("~ ^/x$", [("exact", "/x")]),
        ("~ ^/(a|b-c)/", [("path", "/a/"), ("path", "/b-c/")]),
        ("~* ^/a/b/|^/c$", [("path", "/a/b/"), ("exact", "/c")]),
    ],
)
def test_locations_that_are_paths(location: str, matched: list[tuple[str, str]], tmp_path: Path) -> None:
    document, _, _ = imported(f"server {{ location {location} {{ {AT} }} location / {{ {AT} }} }}", tmp_path)
    found = [(key, one[key]) for one in document["route"] for key in ("path", "exact") if key in one]
    assert found == [*matched, ("path", "/")]


@pytest.mark.parametrize(
    ("path", "target", "expected"),
    [
        ("/x/", "/", {"strip_prefix": True}),
        ("/x/", "/x/", {}),
        ("/x/", "/y/z/", {"rewrite": "/y/z{rest}"}),
        ("/x", "/y", {"rewrite": "/y{rest}"}),
        ("/", "/y/", {"rewrite": "/y{rest}"}),
    ],
)
def test_a_path_in_proxy_pass(path: str, target: str, expected: dict[str, Any], tmp_path: Path) -> None:
    found, _, losses = route(f"proxy_pass http://a:1{target};", tmp_path, path=path)
    assert (found, losses) == ({"path": path, "upstream": "a:1", **expected}, 0)


def test_an_application_with_tls(tmp_path: Path) -> None:
    options = "proxy_ssl_trusted_certificate /etc/ca.pem; proxy_ssl_name a.test; proxy_ssl_server_name on;"
    found, text, losses = route(f"proxy_pass https://app.internal; {options}", tmp_path)
    expected = {"upstream": "https://app.internal:443", "upstream_ca": "/etc/ca.pem", "upstream_name": "a.test"}
    assert (found, losses) == ({"path": "/", **expected}, 0)
    assert "always verified" in text


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("server a:1 weight=2; server unix:/run/b.sock;", {"upstream": ["a:1 weight=2", "unix:/run/b.sock"]}),
        ("least_conn; server a:1;", {"balance": "least-connections"}),
        ("server a:1 max_fails=3 fail_timeout=30s;", {"eject_after": 3, "eject_time": "30s"}),
        ("ip_hash; server a:1; server b;", {"balance": "hash", "hash_by": "client", "upstream": ["a:1", "b:80"]}),
        ("hash $cookie_sid consistent; server a:1;", {"hash_by": "cookie:sid"}),
        ("sticky cookie srv expires=1h; server a:1;", {"sticky_cookie": "srv"}),
        ("random two least_conn; server a:1;", {"balance": "random-two"}),
    ],
)  # fmt: skip
def test_upstream_blocks(block: str, expected: dict[str, Any], tmp_path: Path) -> None:
    found, _, losses = route("proxy_pass http://app;", tmp_path, top=f"upstream app {{ {block} }}")
    assert found | expected == found
    assert losses == 0


def test_listeners_certificates_and_the_process(tmp_path: Path) -> None:
    text = """
user www-data; worker_processes 4; pid /run/nginx.pid; error_log /var/log/nginx/error.log warn;
events { worker_connections 768; }
http {
    access_log /var/log/nginx/access.log;
    set_real_ip_from 10.0.0.0/8;
    server { listen 80; listen [::]:80; server_name a.test b.test; return 301 https://$host$request_uri; }
    server {
        listen 443 ssl http2; listen [::]:443 ssl; server_name .a.test;
        ssl_certificate a.crt; ssl_certificate_key a.key; ssl_protocols TLSv1.3;
        ssl_client_certificate ca.pem; ssl_verify_client optional;
        location / { proxy_pass http://app:1; }
    }
    server {
        listen 443 ssl; server_name b.test; ssl_certificate b.crt; ssl_certificate_key b.key;
        location / { proxy_pass http://app:2; }
    }
}
"""
    document, _, losses = imported(text, tmp_path)
    expected = {
        "user": "www-data", "workers": 4, "pidfile": "/run/nginx.pid", "error_log": "/var/log/nginx/error.log",
        "log_level": "warning", "max_connections": 768, "access_log": "/var/log/nginx/access.log", "bind": "[::]:443",
        "bind_plain": "[::]:80", "trusted_proxies": "10.0.0.0/8", "tls_cert": "a.crt", "tls_key": "a.key",
        "tls_min": "1.3", "tls_client_ca": "ca.pem", "tls_client_auth": "optional", "max_body": "1m",
    }  # fmt: skip
    assert {key: value for key, value in document.items() if key not in ("route", "certificate")} == expected
    assert document["certificate"] == [{"cert": "b.crt", "key": "b.key"}]
    assert [one.get("host") for one in document["route"]] == [None, "b.test"]
    assert losses == 0


def test_a_default_server_answers_other_names(tmp_path: Path) -> None:
    named, other = "location / { proxy_pass http://a:1; }", "listen 80 default_server; return 404;"
    text = f"server {{ server_name a.test; {named} }} server {{ {other} }}"
    document, _, _ = imported(text, tmp_path)
    assert [(one.get("host"), one.get("upstream")) for one in document["route"]] == [("a.test", "a:1"), (None, None)]


def test_what_is_written_is_read_as_it_was_meant(tmp_path: Path) -> None:
    """Quotes, backslashes, and what would be a variable of the environment."""
    found, text, _ = route("""return 200 '{"a": "\\\\${HOME}"}';""", tmp_path)
    assert "HOME" in text
    file = tmp_path / "gateway.toml"
    file.write_text('[[route]]\nrespond = "x$${HOME}"\n')
    assert load({}, file, variables={}).routes[0].settings.respond == "x${HOME}"
    assert Settings().respond == ""
    assert found["path"] == "/"


def test_includes_are_followed_and_named(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.conf").write_text(
        "server {\n location / {\n  proxy_pass http://a:1;\n  frobnicate on;\n }\n}\n"
    )
    text = "http { include mime.types; include conf.d/*.conf; include missing.conf; }"
    document, whole, losses = imported(text, tmp_path)
    assert document["route"][0]["upstream"] == "a:1"
    assert "# conf.d/a.conf:4: frobnicate on: NOT TRANSLATED: no setting of the gateway does this" in whole
    assert f"include {tmp_path}/missing.conf: NOT TRANSLATED" in whole
    assert losses == 2


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken, good, output = tmp_path / "broken.conf", tmp_path / "good.conf", tmp_path / "gateway.toml"
    broken.write_text("server { listen 80;\n")
    good.write_text(f"server {{ location / {{ {AT} }} }}")
    assert main(["import-nginx"]) == USAGE
    assert main(["import-nginx", str(tmp_path / "none.conf")]) == USAGE
    assert main(["import-nginx", str(broken)]) == USAGE
    said = capsys.readouterr().err
    assert "the following arguments are required: FILE" in said
    assert f"{broken}:1: not nginx's configuration" in said
    assert main(["import-nginx", str(good), "--output", str(output)]) == SUCCESS
    assert main(["check", str(output)]) == SUCCESS
    assert main(["import-nginx", str(good), "--output", str(output)]) == FAILED
    assert "File exists; name a new file" in capsys.readouterr().err
    good.write_text("server { sub_filter a b; return 404; }")
    assert main(["import-nginx", str(good)]) == PARTLY


def test_without_the_extra_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "crossplane", None)
    assert main(["import-nginx", "nginx.conf"]) == USAGE
    assert "pip install 'aragora-gateway[nginx]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("syslog:server=192.0.2.1", "syslog:192.0.2.1:514"),
        ("syslog:server=192.0.2.1:5140,facility=local7,tag=shop", "syslog:192.0.2.1:5140"),
        ("syslog:server=[2001:db8::1]", "syslog:[2001:db8::1]:514"),
        ("syslog:server=unix:/dev/log", "syslog:unix:/dev/log"),
        ("/dev/stdout", "-"),
    ],
)
def test_places_of_the_access_log_are_kept(tmp_path: Path, written: str, expected: str) -> None:
    document, _, _ = imported(f"http {{ access_log {written}; server {{ location / {{ {AT} }} }} }}", tmp_path)
    assert document["access_log"] == expected


CACHE = "proxy_cache_path /srv/cache levels=1:2 keys_zone=one:10m max_size=2g inactive=1h;"


@pytest.mark.parametrize(
    ("inside", "expected", "remarks", "losses"),
    [
        ("proxy_cache one;", {}, [], 0),
        ("proxy_cache one; proxy_cache_valid 5m;", {"cache_ttl": "5m"}, ["different: cache_ttl is for"], 0),
        ("proxy_cache one; proxy_cache_valid 200 301 10s;", {"cache_ttl": "10s"}, [], 0),
        ("proxy_cache one; proxy_cache_valid 404 1m;", {}, ["different: cache_ttl is for"], 0),
        ("proxy_cache one; proxy_cache_use_stale error updating;", {"cache_stale_if_error": "1d"}, ["for a day"], 0),
        ("proxy_cache one; proxy_cache_use_stale updating;", {}, ["stale-while-revalidate"], 0),
        ("proxy_cache one; proxy_cache_lock on;", {}, ["not needed: the gateway's cache"], 0),
        ("proxy_cache one; proxy_cache_key $uri;", {}, ["different: the key is not written"], 0),
        ("proxy_cache one; proxy_cache_bypass $cookie_a;", {}, ["NOT TRANSLATED: the application decides"], 1),
        ("proxy_cache one; proxy_ignore_headers Cache-Control;", {}, ["NOT TRANSLATED: the application decides"], 1),
    ],
)
def test_cache_of_a_location(
    inside: str, expected: dict[str, Any], remarks: list[str], losses: int, tmp_path: Path
) -> None:
    document, text, lost = imported(f"{CACHE}\nserver {{\nlocation / {{\n{inside} {AT}\n}}\n}}\n", tmp_path)
    found = {key: value for key, value in document["route"][0].items() if key.startswith("cache")}
    assert (found, lost) == ({"cache": True, **expected}, losses)
    assert (document["cache_dir"], document["cache_size"]) == ("/srv/cache", "2g")
    assert all(remark in text for remark in remarks), text


def test_cache_that_is_off_stays_off(tmp_path: Path) -> None:
    found, _, losses = route(f"proxy_cache off; {AT}", tmp_path, around="proxy_cache one;", top=CACHE)
    assert ("cache" in found, losses) == (False, 0)

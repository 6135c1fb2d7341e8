"""What the gateway overrides and uses of gunicorn, against the installed version."""

import configparser
import inspect
from pathlib import Path

import pytest
from gunicorn import sock
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker as BaseWorker

from proxy.observe.errorlog import ErrorLog
from proxy.process import gunicorn_contract
from proxy.process.gateway import Gateway
from proxy.process.gunicorn_contract import CONTRACT, Names
from proxy.process.listeners import Tcp6Socket
from proxy.process.supervisor import Supervisor
from proxy.process.unix_sockets import UnixSocket
from proxy.process.worker import Worker

SUBCLASSES = {
    Arbiter: (Supervisor,),
    BaseApplication: (Gateway,),
    BaseWorker: (Worker,),
    sock.BaseSocket: (Tcp6Socket, UnixSocket),
    Logger: (ErrorLog,),
}
OVERRIDES = [(base, name) for base, names in CONTRACT.items() for name in names.overridden]
USES = [(base, name) for base, names in CONTRACT.items() for name in names.used]


def label(value: object) -> str:
    return value.__qualname__ if isinstance(value, type) else str(value)


@pytest.mark.parametrize(("base", "name"), OVERRIDES, ids=label)
def test_gunicorn_still_calls_what_is_overridden(base: type, name: str) -> None:
    assert callable(getattr(base, name, None)), f"gunicorn has no {base.__name__}.{name} any more: nobody calls ours"
    for subclass in SUBCLASSES[base]:
        ours = vars(subclass).get(name)
        if ours is None or name == "__init__":
            continue
        expected = list(inspect.signature(getattr(base, name)).parameters.values())
        found = list(inspect.signature(ours).parameters.values())
        accepts_more = any(one.kind is one.VAR_KEYWORD for one in found)
        assert accepts_more or len(found) == len(expected), (
            f"gunicorn calls {base.__name__}.{name} with {[one.name for one in expected]}"
        )


@pytest.mark.parametrize(("base", "name"), USES, ids=label)
def test_gunicorn_still_has_what_is_used(base: type, name: str) -> None:
    assert gunicorn_contract.has(base, name), f"gunicorn has no {base.__name__}.{name} any more"


@pytest.mark.parametrize("base", CONTRACT, ids=label)
def test_every_override_is_listed(base: type) -> None:
    ours = {
        name
        for subclass in SUBCLASSES[base]
        for name, value in vars(subclass).items()
        if inspect.isfunction(value) and hasattr(base, name) and hasattr(getattr(base, name), "__code__")
    }
    assert ours == set(CONTRACT[base].overridden)


def test_a_renamed_method_is_named_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    gunicorn_contract.check()
    monkeypatch.setitem(CONTRACT, Arbiter, Names(("murder_workers", "bury_workers"), ("LISTENERS", "SOCKETS")))
    with pytest.raises(RuntimeError, match=r"Arbiter\.bury_workers, .*Arbiter\.SOCKETS; install gunicorn.*<28"):
        gunicorn_contract.check()


def test_the_versions_are_those_of_setup_cfg() -> None:
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[3] / "setup.cfg")
    assert gunicorn_contract.VERSIONS in setup["options"]["install_requires"].splitlines()

"""`doctor --ask`: whether the models answer, which no setting tells."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from aragora.agents import available
from aragora.agents.endpoint import Endpoints
from aragora.agents.probing import Probe, probe
from aragora.commands.findings import Finding
from aragora.errors import SettingsError
from aragora.settings import load

WAIT = 120.0  # seconds for one word; a server of one's own may have to load the model first
_ADVICE = {
    "auth": "check the key",
    "quota": "add credit to the account",
    "model": "see what is offered: aragora models",
    "connection": "is the server running, and is its address right?",
    "timeout": "is the model too large for the machine? A first answer may take longer: try again",
}


def models(environ: Mapping[str, str]) -> Iterator[Finding]:
    """One finding for the model of each available agent, all asked side by side."""
    try:
        settings = load(environ)
    except SettingsError:
        return  # it is a finding already
    names = [info.name for info in available(settings.agents_environ) if info.available and info.name != "demo"]
    ask = partial(_ask, environ=settings.agents_environ, endpoints=Endpoints(settings.data_dir / "gates"))
    with ThreadPoolExecutor(max(1, len(names))) as pool:
        yield from map(_finding, pool.map(ask, names))


def _ask(name: str, environ: Mapping[str, str], endpoints: Endpoints) -> Probe:
    return probe(name, None, environ, endpoints, wait=WAIT)


def _finding(found: Probe) -> Finding:
    name = f"{found.type}/{found.model}"
    if found.kind is None:
        took = f", {found.usage.total} tokens" if found.usage is not None else ""
        return Finding(name, "ok", f"answers “{found.answer}” in {found.seconds:.1f} s{took}")
    return Finding(name, "failure", f"{found.kind}: {found.message}", _ADVICE.get(found.kind, "see the message"))

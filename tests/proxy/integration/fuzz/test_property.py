"""Whatever an HTTP/2 client sends, an independent reader of HTTP/1 behind the gateway reads what was legitimate.

Each example is one connection with up to six requests whose frames are interleaved: heads that are continued, bodies
that are padded, lengths that are wrong in both directions, trailers, resets, heads that are malformed.
"""

from itertools import count
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.proxy.gateway import serve
from tests.proxy.integration.fuzz.canary import ask_as_canary
from tests.proxy.integration.fuzz.h2_round import run_h2
from tests.proxy.integration.fuzz.ledger import Ledger
from tests.proxy.integration.fuzz.reader import Reader

EXAMPLES = 150


@pytest.mark.parametrize("streamed", [False, True], ids=["buffered", "streamed"])
def test_h1_reader_sees_exactly_the_legitimate_requests(tmp_path: Path, streamed: bool) -> None:
    ledger = Ledger()
    reader = Reader(ledger)
    gateway = serve(
        tmp_path / "gateway", reader.address, "--h2c", "on", "--request-buffering", "off" if streamed else "on",
    )  # fmt: skip
    numbers = count()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # to shrink what makes connections hang would take minutes
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.randoms(use_true_random=False))
    def example(chance: Random) -> None:
        run_h2(chance, gateway.port, ledger, f"e{next(numbers):06}", streamed=streamed, most=6, breaks=False)
        ask_as_canary(gateway.port, ledger, f"c{next(numbers):06}")
        faults, ledger.faults = ledger.faults, []
        assert not faults, "\n".join(faults)

    try:
        example()
    finally:
        gateway.close()
        reader.close()
    assert "Traceback" not in gateway.log, gateway.log

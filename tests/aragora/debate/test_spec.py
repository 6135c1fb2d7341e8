import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aragora.debate.spec import MODES, AgentSpec, DebateSpec
from tests.aragora.debate.simulation import spec

NAMES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
AGENTS = st.builds(AgentSpec, NAMES, st.text(), st.none() | st.text(), st.none() | st.text())
SPECS = st.builds(
    DebateSpec,
    question=st.text(),
    agents=st.lists(AGENTS, min_size=2, max_size=10, unique_by=lambda agent: agent.name).map(tuple),
    rounds=st.integers(1, 10),
    consensus=st.sampled_from(MODES),
    threshold=st.none() | st.floats(0, 1, exclude_min=True),
    context=st.text(),
    early_stop=st.booleans(),
    timeout=st.floats(1, 1800),
)


@given(SPECS)
def test_a_spec_survives_json(rules):
    assert DebateSpec.from_json(json.loads(json.dumps(rules.to_json()))) == rules


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"agents": ()}, "agents"),
        ({"agents": (AgentSpec("a", "demo"),)}, "agents"),
        ({"agents": (AgentSpec("a", "demo"), AgentSpec("a", "other"))}, "agents"),
        ({"rounds": 0}, "rounds"),
        ({"consensus": "dictatorship"}, "consensus"),
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": 1.01}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"timeout": 0.0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
    ],
)
def test_rules_that_make_no_sense_are_refused_by_name(changes, field):
    with pytest.raises(ValueError, match=f"^{field}: "):
        spec(**changes)


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "x" * 65, "a\x1b"])
def test_a_name_stands_on_one_line(name):
    with pytest.raises(ValueError, match="printable"):
        AgentSpec(name, "demo")

"""Bad input ends in a message of ours that names the argument."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "bad_inputs.py"


def called(share):
    done = subprocess.run([sys.executable, SCRIPT, str(share)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["missing"] == [], "public, and neither called nor said why not"
    assert {name: error for name, error in found["broken"].items() if error} == {}
    results = found["results"]
    assert len({(name, parameter) for name, parameter, _, _ in results}) > 150
    return results


@pytest.mark.parametrize(
    ("share", "least"), [(0.05, 200), pytest.param(1, 4000, marks=pytest.mark.slow)]
)
def test_wrong_arguments_are_refused_by_name(share, least):
    """In a process without annotations that are enforced; drawn from all with one seed."""
    results = called(share)
    assert len(results) >= least
    assert [result for result in results if result[3]] == []

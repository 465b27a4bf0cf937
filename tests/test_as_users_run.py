"""Bad input names the argument, and identities hold, as users run: at their flags, unchecked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import as_users_run
import pytest


@pytest.fixture(scope="module")
def seen():
    """What as_users_run.py prints, without this suite's compiler flags and type checks."""
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    script = Path(__file__).parent / "as_users_run.py"
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", as_users_run.WRONG)
def test_bad_input_is_refused_by_the_name_of_its_argument(name, seen):
    kind, _, message = seen["messages"][name].partition(": ")
    assert kind in ("ValueError", "TypeError"), seen["messages"][name]
    assert name.split(":")[0] in message
    assert message.endswith(".")


def test_there_are_messages_of_many_kinds(seen):
    assert len(set(seen["messages"].values())) > 60


def test_identities_hold_at_the_compilers_own_flags(seen):
    """Rounding over a few epochs, where the compiler may fuse and reorder what it likes."""
    assert len(seen["gaps"]) == 5
    assert max(seen["gaps"].values()) < 1e-12

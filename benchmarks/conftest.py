"""Benchmarks run in float64, on two devices of a CPU, set up as by `setup_jax`.

Work uses one device unless it says otherwise; other libraries have two threads.
`LRNN_LOOPS=default` leaves XLA's own setting, in which each small operation of a loop is a call.
"""

import os
import sys

import jax
import pytest

import lrnn_jax as lrnn

if os.environ.get("LRNN_LOOPS") == "default":
    jax.config.update("jax_enable_x64", True)
else:
    lrnn.setup_jax(cache=False, devices=2)


def pytest_collection_modifyitems(items):
    """Other libraries' warnings are no failures here."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("default"))


def pytest_benchmark_update_machine_info(config, machine_info):
    """Keep what timings depend on."""
    del config
    kept = ("machine", "system", "python_version")
    cpu = {key: machine_info["cpu"].get(key) for key in ("brand_raw", "count")}
    for key in list(machine_info):
        if key not in kept:
            del machine_info[key]
    machine_info["cpu"] = cpu
    machine_info["cores"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    for name in ("jax", "torch", "scipy"):
        if name in sys.modules:
            machine_info[name] = sys.modules[name].__version__


def pytest_benchmark_update_commit_info(config, commit_info):
    """The commit alone."""
    del config
    for key in list(commit_info):
        if key != "id":
            del commit_info[key]

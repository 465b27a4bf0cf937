"""Sweeps: every cell as if run alone, one compilation a group, nothing lost or changed by kills."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax import sweeps
from lrnn_jax.learning import outcome, outcome_code
from lrnn_jax.sweeps import (
    OUTCOMES,
    Axis,
    Design,
    Labelled,
    Runnable,
    Store,
    StoreError,
    grid,
    open_sweep,
    read_sweep,
    sampled,
    summarise,
    zipped,
)

WORKER = Path(__file__).parent / "sweep_worker.py"
TRACES = []


def cell(key, lr, rate, n=12):
    TRACES.append(n)
    net = lrnn.LowRankRNN.normalised(n, dt=0.1, key=key)
    task = lrnn.ExponentialFilter(rate, 0.1, 20, evaluation=lrnn.Evaluation.ROLLOUT)
    method = lrnn.Descent(lr)
    return lrnn.learn(lrnn.reduce(net), task, method, epochs=20, record=10, throw=False)


def square(x, y=0.0):
    return {"square": x * x + y}


def drawn(key, lr, rate):
    return {"loss": Labelled(rate + lr * jr.normal(key, (3,)), "epoch", long_name="loss")}


def start(*arguments):
    command = [sys.executable, str(WORKER), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err[-2000:]
    return out


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The worker's sweep on one device, never interrupted."""
    path = tmp_path_factory.mktemp("sweep") / "store"
    assert "done 21 1" in finished(start(path))
    return path


def test_the_dataset_is_labelled_and_a_bad_cell_harms_no_other():
    TRACES.clear()
    cells = {"lr": [0.01, 50.0], "rate": np.array([0.2, 0.4, 0.6]), "n": [12, 14]}
    labels = {"lr": ("learning rate", "1")}
    data = lrnn.sweep(cells, cell, key=jr.key(0), static=("n",), labels=labels, chunk=4)
    assert TRACES == [12, 14]  # each group is traced, and compiled, once
    assert data.loss.dims == ("lr", "rate", "n", "epoch")
    assert list(data.epoch.values) == [0, 10, 20]
    assert data.lr.attrs == {"long_name": "learning rate", "units": "1"}
    assert data.loss.attrs["units"]
    meanings = data.result.attrs["flag_meanings"].split()
    assert (data.result.sel(lr=0.01) == meanings.index("successful")).all()
    assert (data.result.sel(lr=50.0) == meanings.index("diverged")).all()
    assert np.isfinite(data.loss.sel(lr=0.01)).all()


def test_a_cell_is_what_it_would_be_alone_in_any_other_sweep():
    small = lrnn.sweep({"lr": [0.02], "rate": [0.4]}, drawn, key=jr.key(0), chunk=3)
    large = lrnn.sweep(
        {"rate": [0.1, 0.4], "lr": [0.01, 0.02, 0.03]}, drawn, key=jr.key(0), chunk=3
    )
    ours, theirs = small.loss[0, 0].values, large.loss.sel(lr=0.02, rate=0.4).values
    np.testing.assert_array_equal(ours, theirs)
    other = lrnn.sweep({"lr": [0.02], "rate": [0.4]}, drawn, key=jr.key(1), chunk=3)
    assert (other.loss.values != small.loss.values).all()


def test_zipped_sampled_and_combined_designs():
    listed = lrnn.sweep([{"x": 1.0, "y": 2.0}, {"x": 3.0, "y": 4.0}], square)
    np.testing.assert_array_equal(listed.square, [3.0, 13.0])
    assert listed.square.dims == ("cell",)
    both = lrnn.sweep(zipped(x=[1.0, 2.0, 3.0]) * grid(y=[0.0, 1.0]), square)
    np.testing.assert_array_equal(both.square.sel(y=1.0), [2.0, 5.0, 10.0])
    for method in ("sobol", "halton", "latin", "uniform"):
        box = {"x": (1.0, 2.0), "y": (1e-3, 1.0, "log")}
        drawn = lrnn.sweep(sampled(20, seed=0, method=method, **box), square)
        assert ((drawn.x >= 1) & (drawn.x <= 2) & (drawn.y >= 1e-3) & (drawn.y <= 1)).all()
        np.testing.assert_allclose(drawn.square, drawn.x**2 + drawn.y, rtol=1e-15)


def test_objects_are_static_and_outputs_of_several_shapes_are_joined():
    def run(x, rank, f):
        return {"values": f(x) * jnp.arange(float(rank))}

    cells = {"x": [1.0, 2.0], "rank": [1, 3], "f": {"sine": jnp.sin, "cosine": jnp.cos}}
    data = lrnn.sweep(cells, run, static=("rank",))
    assert list(data.f.values) == ["sine", "cosine"]
    found = data["values"].sel(f="cosine", x=2.0)
    np.testing.assert_allclose(found.sel(rank=3), np.cos(2) * np.arange(3), rtol=1e-15)
    assert np.isnan(found.sel(rank=1).values[1:]).all()


def test_cells_that_raise_are_marked_and_the_rest_is_kept():
    def run(x):
        gram = jnp.diag(jnp.stack([x, x, x, x]))
        return {"zz": lrnn.Overlaps.from_gram(gram)["zz"]}

    data = lrnn.sweep({"x": [1.0, -1.0, 2.0, 3.0, -2.0]}, run, chunk=5)
    meanings = data.result.attrs["flag_meanings"].split()
    assert [meanings[i] for i in data.result.values[[0, 1, 4]]] == ["successful", *["raised"] * 2]
    np.testing.assert_array_equal(data.zz, [1.0, np.nan, 2.0, 3.0, np.nan])


def test_functions_that_cannot_be_traced_run_on_the_host():
    data = lrnn.sweep({"x": [1.0, 2.0]}, lambda x: {"text": float(str(x))}, traced=False)
    np.testing.assert_array_equal(data.text, [1.0, 2.0])


def test_summaries_agree_with_curves():
    def run(key, lr):
        curve = cell(key, lr, 0.4)
        return {"curve": curve, **summarise(curve, criterion=1.0)}

    data = lrnn.sweep({"lr": [0.01, 0.05]}, run, key=jr.key(0))
    np.testing.assert_array_equal(data.final_loss, data.curve_loss[:, -1])
    np.testing.assert_array_equal(data.final_overlaps, data.curve_overlaps[:, -1])
    below = data.curve_loss < 1.0
    expected = np.where(below.any("epoch"), data.epoch.values[below.argmax("epoch")], np.nan)
    np.testing.assert_array_equal(data.epochs_to_criterion, expected)
    assert np.isfinite(data.epochs_to_criterion).any()
    assert (data.invariant_drift > 0).all()


def test_chunks_fit_the_memory_they_are_given():
    def run(x):
        return {"history": x * jnp.arange(1000.0)}

    cells = {"x": np.arange(64.0)}
    plenty = lrnn.Sweep(cells, run, memory=10**9).plan()[0]
    assert plenty.chunk == 8  # an eighth of the cells
    tight = lrnn.Sweep(cells, run, memory=60_000, store="unused").plan()[0]
    assert 1 <= tight.chunk < 8
    assert tight.working_bytes <= 60_000
    with pytest.raises(ValueError, match="give a `store`"):
        lrnn.Sweep(cells, run, memory=60_000).plan()
    with pytest.raises(ValueError, match="one cell needs"):
        lrnn.Sweep(cells, run, memory=1000, store="unused").plan()


WRONG = {
    "unknown": (({"z": [1.0]}, square), {}, "no parameter 'z'"),
    "missing": (({"y": [1.0]}, square), {}, "needs values for x"),
    "empty": (({"x": []}, square), {}, "'x' is empty"),
    "static": (({"x": [1.0]}, square), {"static": ("n",)}, "`static` takes names among x"),
    "key": (({"lr": [1.0], "rate": [1.0]}, cell), {}, "pass `key`"),
    "chunk": (({"x": [1.0]}, square), {"chunk": 0}, "`chunk` must"),
    "cells": (([{"x": 1.0}, {"y": 1.0}], square), {}, "Cell 1 has"),
    "shape": (({"x": [1, 2]}, lambda x: jnp.zeros(x)), {}, "static="),
    "names": (({"x": [1.0]}, lambda x: {"x": x}), {}, "same names: x"),
    "shard": (({"x": [1.0]}, square), {"shard": (0, 2)}, "`store`"),
    "part": (({"x": [1.0]}, square), {"shard": (2, 2), "store": "unused"}, "from 0 to 1; got 2"),
    "parts": (({"x": [1.0]}, square), {"shard": (0, 1, 2), "store": "unused"}, r"is \(i, n\)"),
    "true": (({"x": [1.0]}, square), {"chunk": True}, "`chunk` must be a whole number"),
    "devices": (({"x": [1.0]}, square), {"devices": True}, "`devices` must be a whole number"),
}


@pytest.mark.parametrize(("arguments", "options", "answer"), WRONG.values(), ids=WRONG)
def test_wrong_input_is_answered_clearly(arguments, options, answer):
    with pytest.raises(ValueError, match=answer):
        lrnn.sweep(*arguments, **options)


ONE = {"cells": {"x": [1.0]}, "function": square}
WHOLE = [0, -1, 1.5, True, "2", None, [1], np.ones(2)]
FLAG = [1, 0.0, "no", None]
ALSO = {"cells": "cells|axis|axes", "columns": "columns|axis", "path": "path|sweep file"}
CURVES = []  # one, of a network that learned
PATH = [3, "", ["s"], b"s", "a\0b"]
BAD = {
    lambda **o: lrnn.Sweep(**(ONE | o)): {
        "cells": [3, "x", None, [], [1], {}, {"x": 1.0}, {"x": "sine"}, {"x": []}, {"y": [1.0]}],
        "function": [3, "square", None, [square]],
        "key": [0, 0.5, "key", jr.split(jr.key(0)), np.ones(2)],
        "static": ["n", ("n",), 3, [1], {"x": 1}],
        "labels": [3, ["x"], {"x": "rate"}, {"x": ("a",)}, {"x": (1, 2)}, {"x": ("a", "b", "c")}],
        "chunk": WHOLE[:5],
        "memory": WHOLE[:5],
        "store": PATH,
        "traced": FLAG,
        "name": [3, ("a",)],
    },
    lambda **o: lrnn.Sweep(**ONE, store="unused").run(**o): {
        "resume": FLAG,
        "progress": FLAG,
        "devices": [0, -1, 99, True, 1.5, "2", [], [1], ["cpu"]],
        "shard": [3, "0/2", (0,), (2, 2), (-1, 2), (0, 1, 2), (0.5, 2), (0, True), ("0", "2")],
    },
    lambda **o: lrnn.Sweep(**ONE).plan(**o): {"devices": [0, "2", []], "measure": FLAG},
    grid: {"x": [1.0, "sine", None, [], {}, np.float64(1), jnp.ones(()), [["a"], ["b"]]]},
    lambda axis="cell", **o: zipped(axis, **o): {"x": [1.0, "sine", None, []], "axis": [3, None]},
    lambda **o: sampled(**({"count": 2, "seed": 0, "lr": (1.0, 2.0)} | o)): {
        "count": WHOLE,
        "seed": WHOLE[1:],
        "method": ["sobl", 3, None, ["sobol"]],
        "axis": [3, None],
        "lr": [1.0, None, (1,), (2, 1), (1, 1), (1, 2, "logs"), (0, 1, "log"), ("a", "b"), "ab",
               (np.nan, 1), (0, np.inf), (1, 2, "log", 3), {"low": 1, "high": 2}],
    },
    lambda **o: Design(**o): {"axes": [3, None, [], (1,), ("x",), grid(x=[1.0])]},
    lambda **o: Axis(**({"name": "x", "columns": grid(x=[1.0]).columns} | o)): {
        "axis": [], "columns": [3, None, {"x": [1.0]}, {}],
    },
    lambda value=1.0, dims=(), **o: Labelled(value, *dims, **o): {
        "value": ["a", None, {}, [[1], [1, 2]], object()],
        "dims": [("epoch",), ("a", "b"), (3,)],
        "labels": [3, ["a"], {"x": ("a",)}, {"x": "a"}],
        "long_name": [3, None],
        "units": [3, None],
        "coordinate": [*FLAG, True],
    },
    lambda curve=None, **o: summarise(CURVES[0] if curve is None else curve, **o): {
        "curve": [3, "curve", {}, cell],
        "criterion": ["low", np.ones(2), np.nan, 1j],
    },
    open_sweep: {"path": [*PATH, None]},
    Store: {"path": [*PATH, None]},
    lambda path="x.toml", **o: read_sweep(path, **o): {
        "path": [*PATH, None, "nothing.toml", "."],
        "runs": [{"mine": 3}, {"mine": square}],
    },
    lambda **o: Runnable(**({"run": square, "presets": {"full": sampled}} | o)): {
        "run": [3, None],
        "check": [3, None],
        "presets": [3, {}, [], {"full": 3}, {"full": {"x": 1.0}}],
    },
}  # fmt: skip


def test_bad_input_is_answered_in_one_sentence_that_names_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.toml").write_text("[axes]\nlr = [0.1]\n")
    CURVES.append(cell(jr.key(0), 0.1, 0.2))
    tried, wrong = 0, []
    for function, arguments in BAD.items():
        for name, values in arguments.items():
            for value in values:
                tried += 1
                try:
                    function(**{name: value})
                    wrong.append((name, value, "accepted"))
                except (ValueError, TypeError, StoreError) as error:
                    said = str(error)
                    if (
                        not re.search(ALSO.get(name, name), said)
                        or "\n" in said
                        or type(error).__module__[:5] == "jaxty"
                    ):
                        wrong.append((name, value, said))
    assert not wrong, "\n".join(map(str, wrong))
    assert tried > 150
    assert os.listdir(tmp_path) == ["x.toml"]  # nothing was begun


def test_values_out_of_range_are_known_before_anything_runs(tmp_path):
    def run(lr, rate=0.2, dt=0.1):
        net = lrnn.LowRankRNN.normalised(12, dt=dt, key=jr.key(0))
        task = lrnn.ExponentialFilter(rate, dt, 20)
        return lrnn.learn(lrnn.reduce(net), task, lrnn.Descent(lr), epochs=1, throw=False)

    for cells, words in {
        (("lr", (0.1, -0.1)),): "`lr` .*entry \\(1,\\) is -0.1",
        (("lr", (1, 2, -3)),): "`lr` .*is -3",  # whole numbers
        (("lr", (0.1,)), ("rate", (0.1, np.nan))): "`rate`",
        (("lr", (0.1,)), ("dt", (0.1, 0.2, 2.0))): "`dt` is the Euler step.*entry \\(2,\\) is 2",
    }.items():
        cells = {name: list(values) for name, values in cells}
        with pytest.raises(ValueError, match=words):
            lrnn.sweep(cells, run, store=tmp_path / "s", progress=False)
    assert os.listdir(tmp_path) == []  # so that another sweep can take the store


def test_a_number_that_decides_a_shape_is_to_be_static():
    def run(n):
        return {"drawn": sampled(n, seed=0, x=(1.0, 2.0)).size}

    with pytest.raises(ValueError, match=r"parameters n decides a shape.*static=\('n',\)"):
        lrnn.sweep({"n": [10, 20]}, run)


@pytest.mark.parametrize("traced", [True, False])
def test_every_outcome_of_learning_is_one_of_a_sweep_s(traced):
    outcomes = [name for name in OUTCOMES if name != "raised"]
    results = [lrnn.RESULTS._name_to_item[name] for name in outcomes]
    assert set(outcomes) == set(lrnn.RESULTS._name_to_item)
    assert [outcome(result) for result in results] == outcomes
    assert [int(outcome_code(result)) for result in results] == [*range(len(outcomes))]

    def run(number):
        return {"": results[number], "y": 1.0}

    cells = {"number": list(range(len(results)))}
    data = lrnn.sweep(cells, run, static=("number",), traced=traced, progress=False)
    meanings = data.result.attrs["flag_meanings"].split()
    assert [meanings[code] for code in data.result.values] == outcomes
    assert meanings[-1] == "not_run"
    assert data.result.attrs["flag_values"] == [*range(len(OUTCOMES)), -1]


def test_whole_numbers_of_numpy_are_whole(tmp_path):
    store, two = tmp_path / "s", np.int64(2)
    job = lrnn.Sweep({"x": np.arange(4.0)}, square, chunk=two, memory=np.int64(10**9), store=store)
    first = job.run(devices=np.int64(1), shard=(np.int32(0), two), progress=False)
    assert first.result.values.tolist() == [0, 0, -1, -1]
    assert job.plan(devices=np.int64(1))[0].chunk == 2


def test_a_store_goes_on_and_finds_damage(tmp_path):
    def make(**changed):
        options = {"key": jr.key(0), "chunk": 2, "store": tmp_path / "s"} | changed
        return lrnn.Sweep({"lr": [0.01, 0.02], "rate": [0.2, 0.4]}, drawn, **options)

    whole = lrnn.sweep({"lr": [0.01, 0.02], "rate": [0.2, 0.4]}, drawn, key=jr.key(0), chunk=2)
    first = make().run(shard=(1, 2))
    assert (first.result == -1).sum() == 2
    with pytest.raises(ValueError, match="already holds 1 chunk"):
        make().run()
    assert make().run(resume=True).load().identical(whole)
    chunks = sorted((tmp_path / "s" / "data" / "0" / "loss" / "c").rglob("*"))
    files = [path for path in chunks if path.is_file()]
    files[0].write_bytes(files[0].read_bytes()[:-7])
    files[1].unlink()
    assert Store(tmp_path / "s").damaged() == [(0, 0), (0, 1)]
    assert make().run(resume=True).load().identical(whole)
    assert Store(tmp_path / "s").damaged() == []
    assert open_sweep(tmp_path / "s").loss.isel(lr=1, epoch=-1).equals(whole.loss[1, :, -1])


def test_another_sweep_is_refused_with_what_differs(tmp_path):
    factor = 2.0

    def run(x):
        return {"y": jax.jit(lambda x: factor * x)(x)}

    def make(values=(1.0, 2.0), **options):
        return lrnn.Sweep({"x": list(values)}, run, store=tmp_path, **options)

    make(chunk=1).run()
    with pytest.raises(ValueError, match=r"Axis 'x': 2 value\(s\).* 3 value\(s\)"):
        make((1.0, 2.0, 3.0)).run(resume=True)
    with pytest.raises(ValueError, match="chunk: 1 there, 2 now"):
        make(chunk=2).run(resume=True)
    make().run(resume=True)
    factor = 3.0
    with pytest.raises(ValueError, match="computes something else now"):
        make().run(resume=True)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="Cannot write to the store"):
        lrnn.sweep({"x": [1.0]}, square, store=tmp_path / "file")


def shown_is_right(data, whole):
    """Whether each cell is what it should be, or not run."""
    there = (data.result >= 0).values
    return all(
        np.array_equal(data[name].values[there], whole[name].values[there]) for name in whole
    )


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_full_disk_loses_nothing_that_was_complete(tmp_path, own_cache, times):
    resource = pytest.importorskip("resource")

    def run(x):
        return {"y": x * jr.normal(jr.key(0), (3000,))}

    def make(store):
        return lrnn.Sweep({"x": np.arange(1.0, 17.0)}, run, chunk=2, store=store)

    whole, rng = make(None).run().load(), np.random.default_rng(0)
    limits, failed = resource.getrlimit(resource.RLIMIT_FSIZE), 0
    for _ in range(times):
        # the first bytes of a small file, whole small files, whole small chunks
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(np.exp(rng.uniform(3, 12))), limits[1]))
        try:
            make(tmp_path / "s").run(resume=True)
        except StoreError as error:
            failed += "disk is full" in str(error)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        if (tmp_path / "s" / "manifest.json").exists():
            assert shown_is_right(open_sweep(tmp_path / "s").load(), whole)
        for marker in sorted((tmp_path / "s" / "done").glob("*.json"))[::2]:
            marker.unlink()  # so that there is something left to write
    print(f"\n{failed} of {times} runs met a full disk")
    assert failed >= times / 2
    assert make(tmp_path / "s").run(resume=True).load().identical(whole)


def test_any_number_of_devices_gives_the_same_bits(tmp_path, reference):
    assert "done 21 4" in finished(start(tmp_path / "s", 4))
    assert open_sweep(tmp_path / "s").load().identical(open_sweep(reference).load())


def test_one_of_two_processes_is_killed_and_nothing_is_lost(tmp_path, monkeypatch, reference):
    monkeypatch.setenv("SWEEP_PAUSE", "0.1")  # before each of 11 chunks is written
    other = start(tmp_path / "s")
    assert kill_at_random(tmp_path / "s", 1, np.random.default_rng(0)) == 1
    assert 1 <= len(Store(tmp_path / "s").done()) < 11
    assert "done 21 1" in finished(other)
    assert open_sweep(tmp_path / "s").load().identical(open_sweep(reference).load())
    assert Store(tmp_path / "s").damaged() == []


def test_two_hosts_under_jax_distributed(tmp_path, reference):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{s.getsockname()[1]}"
    jobs = [start(tmp_path / "s", 1, "", f"{address}/{i}") for i in range(2)]
    for job in jobs:
        assert "done 21 1" in finished(job)
    assert open_sweep(tmp_path / "s").load().identical(open_sweep(reference).load())


def kill_at_random(path, kills, rng, longest=None):
    """Start the worker again and again on one store, and kill it just when a chunk has been
    written or, every other time, at any moment up to `longest` seconds since its start. Returns
    how often that left the sweep incomplete."""
    incomplete = 0
    for number in range(kills):
        job = start(path)
        try:
            if number % 2 or longest is None:
                before, deadline = len(list(path.glob("done/*.json"))), time.monotonic() + 120
                while len(list(path.glob("done/*.json"))) == before and job.poll() is None:
                    assert time.monotonic() < deadline
                    time.sleep(0.002)
                time.sleep(float(rng.uniform(0, 0.02)))
            else:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    job.wait(float(rng.uniform(0, longest)))
        finally:
            job.send_signal(signal.SIGKILL)
            _, error = job.communicate()
        assert job.returncode in (0, -signal.SIGKILL), error[-2000:]
        incomplete += job.returncode != 0
    return incomplete


def test_chunks_of_nothing_but_nan_are_not_damaged(tmp_path):
    store = tmp_path / "s"
    nan = lrnn.sweep({"x": [0.0, -0.0, 1.0]}, lambda x: {"y": x / 0 * 0}, chunk=1, store=store)
    assert np.isnan(nan.y).all()
    assert Store(store).damaged() == []


def test_outputs_are_neither_lost_nor_renamed():
    def runs(function, cells=None):
        return lrnn.sweep(cells or {"x": [1.0, 2.0]}, function, progress=False)

    with pytest.raises(ValueError, match="another name"):
        runs(lambda x: {"result": 2 * x})
    with pytest.raises(ValueError, match="Two outputs are called 'a_b'"):
        runs(lambda x: {"a": {"b": x}, "a_b": 2 * x})
    # dtypes of several groups are joined, in either order
    mixed = runs(
        lambda kind, x: {"y": x + (0.5 if kind == "half" else 0) if kind == "half" else 2},
        {"kind": ["two", "half"], "x": [2.0]},
    )
    assert mixed.y.values.ravel().tolist() == [2.0, 2.5]
    # a cell that appears twice keeps both its results, also when functions run on the host
    twice = lrnn.Sweep(
        [{"x": 1.0}, {"x": 1.0}, {"x": 2.0}], lambda x: {"y": float(x)}, traced=False
    ).run(progress=False)
    assert twice.y.values.tolist() == [1.0, 1.0, 2.0]


def test_what_another_process_holds_does_not_keep_the_rest_waiting(tmp_path):
    """Each cell of a function on the host is a group of its own."""
    seen, path = [], tmp_path / "store"

    def run(x):
        seen.append(x)
        return {"y": x}

    shared = lrnn.Sweep({"x": [1.0, 2.0, 3.0]}, run, traced=False, store=path)
    with pytest.raises(sweeps.Stopped):
        shared.run(progress=False, stop=lambda: True)
    with ThreadPoolExecutor(1) as pool:
        with Store(path).lock(0, 0) as free:
            assert free
            result = pool.submit(shared.run, progress=False, resume=True)
            end = time.monotonic() + 60
            while len(seen) < 2 and time.monotonic() < end:
                time.sleep(0.05)
            assert seen == [2.0, 3.0]
        assert result.result().y.values.tolist() == [1.0, 2.0, 3.0]
    assert seen == [2.0, 3.0, 1.0]


def test_an_error_without_words_is_named():
    def fails(x):
        if x > 1:
            raise ValueError
        return {"y": x}

    data = lrnn.Sweep({"x": [1.0, 2.0]}, fails, traced=False).run(progress=False)
    assert data.result.values.tolist() == [0, OUTCOMES.index("raised")]


@pytest.mark.parametrize("cells", [{"x": 1.0}, {"x": "sine"}])
def test_an_axis_is_a_list(cells):
    with pytest.raises(ValueError, match="put it in a list"):
        lrnn.sweep(cells, lambda x: x)


def test_markers_say_how_cells_ended(reference):
    markers = [json.loads(path.read_text()) for path in (reference / "done").glob("*.json")]
    assert sum(marker["outcomes"]["0"] for marker in markers) == 21
    assert os.listdir(reference / "locks") == []

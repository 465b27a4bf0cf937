# ruff: noqa: E402
"""A GPU against the same machine's CPU: agreement, times, rates of sweeps, memory; 8 minutes.

    python benchmarks/gpu.py [--out FOLDER] [--minutes 8] [--tiny] [--only WORD]

needs JAX with CUDA, equinox, diffrax, optax and xarray, and this repository: nothing of it has to
be installed. Writes FOLDER/gpu.json, after each piece of work, and at its end FOLDER/gpu.md. Work
that does not begin in time is left out, and named. Without a GPU everything runs on the CPU alone;
`--tiny` is for the script's own test.
"""

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

# whole loops in one CPU kernel, as the command line has it; a GPU does not look at it
FUSE = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1000000000"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FUSE}".strip()
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # so that peaks mean something
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import lrnn_jax as lrnn

PRECISIONS = ("float64", "float32", "float32 highest")
"""float32 by the device's own products of matrices, which may round to fewer bits, and by full
ones."""


def cast(tree, precision):
    """Floating arrays of a tree in the dtype of a precision."""
    dtype = jnp.dtype(precision.split()[0])

    def one(x):
        return x.astype(dtype) if hasattr(x, "dtype") and x.dtype.kind == "f" else x

    return jax.tree.map(one, tree)


def products(precision):
    """The context in which matrices are multiplied at a precision."""
    return jax.default_matmul_precision("highest" if "highest" in precision else None)


def filter_task(steps):
    return lrnn.ExponentialFilter(0.2, 0.05, steps)


def linear(n):
    return lrnn.LowRankRNN.normalised(n, dt=0.05, key=jr.key(0))


def bent(n, dt):
    return lrnn.LowRankRNN.normalised(n, dt=dt, key=jr.key(0), activation=lrnn.Erf())


def dense(n, dt=1.0):
    keys = jr.split(jr.key(1), 3)
    return lrnn.DenseRNN(
        jr.normal(keys[0], (n, n)) / n,
        jr.normal(keys[1], (n, 1)),
        jr.normal(keys[2], (1, n)) / n,
        dt=dt,
        activation=lrnn.Tanh(),
    )


def works(tiny):
    """What is learned: name → a function that makes model, objective, method, epochs, sizes."""
    n, wide, steps, trials = (8, 12, 10, 2) if tiny else (500, 4000, 400, 10)
    long, short, epochs, few = (60, 60, 4, 2) if tiny else (800, 200, 500, 10)
    dt, nodes = (0.1, 16) if tiny else (0.025, 192)

    def theory(method):
        return lrnn.reduce(linear(n)), filter_task(steps), method, epochs, {"T": steps}

    def network(n):
        return linear(n), filter_task(steps), lrnn.Descent(5e-3), few, {"N": n, "T": steps}

    def erf(model, epochs=few, batch=trials, **sizes):
        task = lrnn.FlipFlop(dt=dt, steps=long, batch=batch)
        sizes |= {"T": long, "trials": batch}
        return model(bent(2 * n, dt)), task, lrnn.Descent(5e-2), epochs, sizes

    def loop():
        task = lrnn.ClosedLoop(lrnn.KIntegrator(2), steps // 8 + 2, batch=trials * 10)
        sizes = {"N": n // 4, "T": task.horizon, "trials": trials * 10}
        return dense(n // 4), task, lrnn.Training(optax.adam(1e-3)), few, sizes

    def large():
        task = lrnn.FlipFlop(0.1, short, trials * 10)
        sizes = {"N": 2 * n, "T": short, "trials": trials * 10}
        return dense(2 * n, 0.1), task, lrnn.Descent(5e-2), 3, sizes

    def population(net):
        return lrnn.population(net, nodes, key=jr.key(2))

    def same(net):
        return net

    return {
        "theory, closed form": lambda: theory(lrnn.Descent(5e-3)),
        # within reach of float32
        "theory, gradient flow": lambda: theory(lrnn.Flow(5e-3, rtol=1e-5, atol=1e-6)),
        "network": lambda: network(n),
        "wide network": lambda: network(wide),
        "erf network": lambda: erf(same, N=2 * n),
        "erf network, many trials": lambda: erf(same, 3, trials * 20, N=2 * n),
        "closure": lambda: erf(lrnn.reduce),
        "population": lambda: erf(population, nodes=nodes),
        "closed loop, dense": loop,
        "dense network, wide": large,
    }


def timed(run, seconds):
    """(result, seconds of a later call, seconds of the first call more than that)."""
    start = time.perf_counter()
    result = jax.block_until_ready(run())
    first, rounds = time.perf_counter() - start, []
    while not rounds or (sum(rounds) < seconds and len(rounds) < 20):
        start = time.perf_counter()
        result = jax.block_until_ready(run())
        rounds.append(time.perf_counter() - start)
    later = float(np.median(rounds))
    return result, later, max(first - later, 0.0)


def learned(work, precision, device, seconds):
    """One piece of work on one device: its losses, and a row."""
    model, task, method, epochs, sizes = work
    batches = None
    if task.stochastic:  # the same trials everywhere: a key draws others in other precisions
        drawn = [task.sample(jr.fold_in(jr.key(3), e)) for e in range(epochs)]
        batches = jax.tree.map(lambda *a: jnp.stack(a), *drawn)
    with jax.default_device(device), products(precision):
        placed = jax.device_put((model, task, batches), device)
        model, task, batches = cast(placed, precision)
        options = {"epochs": epochs, "record": epochs, "throw": False, "batches": batches}
        curve, later, compiling = timed(lambda: lrnn.learn(model, task, method, **options), seconds)
        losses = np.asarray(curve.loss, float)
    row = {"ms_per_epoch": 1e3 * later / epochs, "compile_s": compiling, "epochs": epochs}
    return losses, row | {"sizes": sizes}


def rate(cells, epochs, precision, device):
    """Network-epochs per second of a sweep of the closed form, by one of its chunks."""
    with jax.enable_x64(precision == "float64"), jax.default_device(device):

        def run(key, number):
            task = filter_task(400)
            net = lrnn.LowRankRNN.normalised(50, dt=0.05, key=key)
            options = {"epochs": epochs, "record": epochs, "throw": False}
            curve = lrnn.learn(lrnn.reduce(net), task, lrnn.Descent(5e-3), **options)
            return {"loss": curve.loss[-1]}

        sweep = lrnn.Sweep({"number": np.arange(cells)}, run, key=jr.key(0))
        (plan,) = sweep.plan(devices=[device], measure=True)
    return {
        "cells": cells,
        "chunk": plan.chunk,
        "working_MB": plan.working_bytes / 1e6,
        "million_network_epochs_per_s": cells * epochs / plan.seconds / 1e6,
    }


def memory(tiny, way, device):
    """Bytes that a gradient of a long simulation needs, as planned and as seen."""
    n, steps, trials, dt = (12, 60, 2, 0.1) if tiny else (1000, 10_000, 10, 0.025)
    with jax.default_device(device):
        net, task = bent(n, dt), lrnn.FlipFlop(dt=dt, steps=steps, batch=trials)
        data = task.sample(jr.key(1))
        wrap = lrnn.networks.CheckpointedRNN if way == "in blocks" else (lambda net: net)
        program = jax.jit(jax.grad(lambda net: task.loss(wrap(net), data))).lower(net).compile()
        start = time.perf_counter()
        jax.block_until_ready(program(net))
        seconds = time.perf_counter() - start
    plan, seen = program.memory_analysis(), device.memory_stats() or {}
    return {
        "sizes": {"N": n, "T": steps, "trials": trials},
        "planned_MB": plan.temp_size_in_bytes / 1e6 if plan else None,
        "peak_MB_so_far": seen["peak_bytes_in_use"] / 1e6 if "peak_bytes_in_use" in seen else None,
        "seconds": seconds,
    }


def places():
    """The devices that are compared: the first one, and the CPU."""
    first, cpu = jax.devices()[0], jax.devices("cpu")[0]
    return {first.platform: first, cpu.platform: cpu}


def jobs(tiny):
    """All work, what says most first: (kind, name, precision, place, function)."""
    there, seconds = places(), 0.0 if tiny else 1.0
    reference = {}

    def learn_on(name, precision, place):
        with jax.default_device(there["cpu"]):  # built there: both devices get the same numbers
            losses, row = learned(works(tiny)[name](), precision, there[place], seconds)
        if precision == "float64" and place == "cpu":
            reference[name] = losses
        if name in reference:
            gap = np.abs(losses - reference[name]).max()
            row["error"] = float(gap / np.abs(reference[name]).max())
        return row

    for name in works(True):
        for precision in PRECISIONS:
            for place in reversed(there):
                if place != "cpu" or "highest" not in precision:  # a CPU has but one product
                    yield "learn", name, precision, place, learn_on
    sizes = (16, 64) if tiny else (10**3, 10**4, 10**5, 10**6)
    for cells in sizes:
        for precision in PRECISIONS[:2]:
            for place in there:
                yield (
                    *("sweep", f"{cells} cells", precision, place),
                    lambda n, p, at, c=cells: rate(c, 3 if tiny else 200, p, there[at]),
                )
    for way in ("all states", "in blocks"):
        for place in there:
            yield (
                *("memory", way, "float64", place),
                lambda n, p, at: memory(tiny, n, there[at]),
            )


def table(found):
    """The results as Markdown: a line for each work and precision, places beside each other."""
    there, rows = found["places"], found["rows"]
    value = {
        "learn": lambda r: f"{r['ms_per_epoch']:.3g} ms, error {r.get('error', np.nan):.0e}",
        "sweep": lambda r: f"{r['million_network_epochs_per_s']:.3g}·10⁶/s, {r['chunk']} at a time",
        "memory": lambda r: f"{r['planned_MB'] or np.nan:.3g} MB, {r['seconds']:.3g} s",
    }
    lines = [f"{', '.join(there.values())}; jax {found['jax']}, {found['machine']}.", ""]
    lines += ["| work | precision | " + " | ".join(there) + " |", "| --- " * (2 + len(there)) + "|"]
    for what in dict.fromkeys((r["kind"], r["name"], r["precision"]) for r in rows):
        here = {r["place"]: r for r in rows if (r["kind"], r["name"], r["precision"]) == what}
        cells = [value[what[0]](here[p]) if p in here else "–" for p in there]
        sizes = next(iter(here.values())).get("sizes", {})
        name = ", ".join([what[1], *(f"{k} {v}" for k, v in sizes.items())])
        lines.append(f"| {name} | {what[2]} | {' | '.join(cells)} |")
    for text in found["left_out"]:
        lines.append(f"\nLeft out: {text}.")
    return "\n".join(lines) + "\n"


def main(arguments=None):
    """Do what fits into the time, and write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(".benchmarks"))
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--only", default="", help="work whose kind or name has this word")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    start, longest = time.perf_counter(), 0.0
    found = {
        "jax": jax.__version__,
        "machine": f"{os.cpu_count()} CPU cores, Python {platform.python_version()}",
        "places": {name: device.device_kind for name, device in places().items()},
        "rows": [],
        "left_out": [],
    }
    for kind, name, precision, place, function in jobs(options.tiny):
        label = f"{kind} {name}, {precision}, {place}"
        if options.only not in label:
            continue
        begun = time.perf_counter()
        if begun - start + longest > 60 * options.minutes:
            found["left_out"].append(f"{label}: no time")
            continue
        try:
            row = function(name, precision, place)
        except Exception as error:  # a device's own: the others are worth having
            found["left_out"].append(f"{label}: {type(error).__name__} {str(error)[:200]}")
            continue
        longest = max(longest, time.perf_counter() - begun)
        asked = {"kind": kind, "name": name, "precision": precision, "place": place}
        found["rows"].append(asked | row)
        print(label, {k: v for k, v in row.items() if k != "sizes"}, flush=True)
        (options.out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
    found["seconds"] = time.perf_counter() - start
    (options.out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.out / "gpu.md").write_text(table(found))
    return found


if __name__ == "__main__":
    main()

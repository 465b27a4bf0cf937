"""What this machine can do at most, and the least time that the heaviest work needs for it.

    python benchmarks/roofline.py

prints rates of the operations that an epoch is made of, on one device of the CPU and on two at
once, and from these the floors of three epochs in the tables: nothing but these operations.
"""

import sys
from pathlib import Path
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P

sys.path.insert(0, str(Path(__file__).parent))

from lrnn_jax import setup_jax
from lrnn_jax.networks import Erf, recurrent_drive

N, BATCH, STEPS = 100, 100, 50  # controllers
WIDE, TRIALS, LONG = 1000, 10, 800  # erf network


def seconds(function, *arguments):
    """Median seconds of one call, compiled before."""
    run = jax.jit(function)
    jax.block_until_ready(run(*arguments))
    times = []
    for _ in range(15):
        start = perf_counter()
        jax.block_until_ready(run(*arguments))
        times.append(perf_counter() - start)
    return float(np.median(times))


def on(devices, function):
    """The function on as many devices at once, each with the same arguments."""
    mesh = Mesh(np.array(jax.devices()[:devices]), ("d",), axis_types=(AxisType.Auto,))

    def one(*arguments):
        return jax.tree.map(lambda a: a[None], function(*arguments))

    return jax.shard_map(one, mesh=mesh, in_specs=P(), out_specs=P("d"), check_vma=False)


def each(devices, step, *arguments, times=200):
    """Seconds of one `step` in a compiled loop, while as many devices do the same."""

    def loop(x, *rest):
        return jax.lax.fori_loop(0, times, lambda _, y: step(y, *rest), x)

    return seconds(on(devices, loop), *arguments) / times


def gradient(w, h):
    """One step of the sum Σ δ hᵀ of a weight gradient, δ = h."""
    return w + jax.vjp(lambda w: recurrent_drive(w, h), w)[1](h + w[0, 0])[0]


def main():
    """Measure and print."""
    setup_jax(cache=False, devices=2)
    rng = np.random.default_rng(0)
    big = jnp.asarray(rng.normal(size=(2000, 2000)))
    w = jnp.asarray(rng.normal(size=(N, N)) / N)
    for devices in (1, 2):
        h = jnp.asarray(rng.normal(size=(BATCH // devices, N)))
        states = jnp.asarray(rng.normal(size=(WIDE * TRIALS // devices,)))
        flops = 2 * N * N * len(h)
        product = each(devices, lambda h, w: h @ w.T, h, w)
        weights = each(devices, gradient, w, h)
        entry = {
            "tanh": each(devices, lambda h: jnp.tanh(h) + 0.1, h) / h.size,
            "exp": each(devices, lambda x: jnp.exp(-x), states) / states.size,
            "erf": each(devices, lambda x: Erf()(x) + 0.1, states) / states.size,
        }
        large = 2 * 2000**3 / seconds(on(devices, lambda a: a @ a), big) * devices
        array = jnp.zeros(2**23)  # 67 MB, read and written
        bandwidth = devices * 2 * array.nbytes / each(devices, lambda a: a + 1, array, times=20)
        rates = ", ".join(f"{name} {1e10 * x:.1f} µs" for name, x in entry.items())
        print(f"{devices} device(s) at once, float64:")
        print(f"  2000×2000 products {large / 1e9:.0f} GFLOP/s, memory {bandwidth / 1e9:.1f} GB/s")
        print(
            f"  {len(h)}×{N} by {N}×{N}: {1e6 * product:.1f} µs, "
            f"{devices * flops / product / 1e9:.0f} GFLOP/s; weight gradient "
            f"{1e6 * weights:.1f} µs, {devices * flops / weights / 1e9:.0f} GFLOP/s"
        )
        print(f"  on each, 10⁴ numbers: {rates}")
        tanh = entry["tanh"] * h.size
        loop = STEPS * (2 * product + weights + tanh)
        teacher = STEPS * (product + tanh)
        work = LONG * states.size
        erf = work * (entry["exp"] + entry["erf"])
        moved = 4 * 8 * LONG * WIDE * TRIALS / bandwidth  # φ and φ' written and read
        print(
            f"  floors of an epoch: dense controller {1e3 * loop:.1f} ms, open-loop student "
            f"{1e3 * (loop + teacher):.1f} ms, erf network {1e3 * erf:.0f} ms of exp and erf and "
            f"{1e3 * moved:.0f} ms of memory"
        )


if __name__ == "__main__":
    main()

"""Time of an epoch under learning rules: a reduction, many of them, a network of 500 neurons.

    python benchmarks/rules.py [epochs]

Rank 1, the filter of T = 400 steps, float64; k = 5 vectors with the feedback's. PyTorch, where it
is installed, has RFLO written for this task: no graph, errors filtered once, one product for each
vector. The first call compiles; the best of the others counts. With the command line's flag:

    XLA_FLAGS=--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1000000000 \
        python benchmarks/rules.py
"""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from measure import DT, exponential, network

import lrnn_jax as lrnn

jax.config.update("jax_enable_x64", True)
N, LR, ROUNDS, CELLS = 500, 5e-3, 4, 1000
TASK = exponential()
F = np.random.default_rng(0).normal(size=(N, 1))


def best(run):
    """Seconds of the best of some calls, seconds of compiling, and the result."""
    seconds = []
    for _ in range(1 + ROUNDS):
        start = time.perf_counter()
        result = jax.block_until_ready(run())
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:]), seconds[0] - min(seconds[1:]), result


def learns(model, rule, epochs):
    """A compiled run of a model, of which the loss before each update is returned."""
    method = lrnn.Descent(LR, rule=rule)

    @jax.jit
    def run(model):
        return lrnn.learn(model, TASK, method, epochs=epochs, throw=False).loss[:-1]

    return lambda: run(model)


def many(reduction, rule, epochs):
    """The same for a thousand rates at once."""

    @jax.jit
    @jax.vmap
    def run(lr):
        method = lrnn.Descent(lr, rule=rule)
        options = {"epochs": epochs, "record": epochs, "throw": False}
        return lrnn.learn(reduction, TASK, method, **options).loss

    rates = jnp.linspace(1e-3, LR, CELLS)
    return lambda: run(rates)


def torch_rflo(net, epochs):
    """Losses by RFLO in PyTorch."""
    import torch

    torch.set_num_threads(1)
    z, v, m, u = (torch.tensor(np.array(x[:, 0])) for x in (net.z, net.v, net.m, net.u))
    f, target = torch.tensor(F[:, 0]), torch.tensor(np.array(TASK.samples).ravel())
    steps, keep = len(target), 1 - DT
    with torch.no_grad():
        losses = []
        for _ in range(epochs):
            h, v_s, u_s = torch.empty(steps, N, dtype=z.dtype), v / N, DT * u
            h[0], kappa = m, torch.empty(steps, dtype=z.dtype)
            for t in range(1, steps):
                kappa[t - 1] = torch.dot(v_s, h[t - 1])
                torch.add(keep * h[t - 1], u_s * kappa[t - 1], out=h[t])
            miss = h @ z / N - target
            losses.append(float(DT * torch.dot(miss, miss)))
            e = (2 * DT * miss).numpy()
            back = np.empty(steps)
            total = 0.0
            for t in range(steps - 1, -1, -1):
                total = e[t] + keep * total
                back[t] = total
            a = torch.tensor(back)
            toward = torch.dot(u, f) / N
            z = z - LR * (h.T @ torch.tensor(e))
            v = v - LR * DT * toward * (h[:-1].T @ a[1:])
            m = m - LR * a[0] * f
            u = u - LR * DT * torch.dot(a[1:], kappa[:-1]) * f
    return np.array(losses)


def main(epochs):
    net, rflo = network(N), lrnn.RFLO(F)
    theory = lrnn.reduce(net, feedback=F)
    cases = {
        "reduction, gradient": learns(theory, lrnn.Gradient(), epochs),
        "reduction, RFLO": learns(theory, rflo, epochs),
        "reduction, e-prop": learns(theory, lrnn.EProp(), epochs),
        "reduction, RFLO online": learns(theory, lrnn.Online(rflo), epochs),
        f"{CELLS} reductions, RFLO": many(theory, rflo, epochs),
        f"network, N = {N}, gradient": learns(net, lrnn.Gradient(), epochs),
        f"network, N = {N}, RFLO": learns(net, rflo, epochs),
    }
    print(f"{'':28}{'us/epoch':>10}{'compile s':>11}{'1/s':>11}")
    for name, run in cases.items():
        cells = CELLS if name.startswith(str(CELLS)) else 1
        seconds, compiling, result = best(run)
        each = seconds / (epochs * cells)
        print(f"{name:28}{1e6 * each:10.2f}{compiling:11.2f}{1 / each:11.3g}", flush=True)
        if name == f"network, N = {N}, RFLO":
            expected = np.asarray(result)
    try:
        start = time.perf_counter()
        found = torch_rflo(net, epochs)
        each = (time.perf_counter() - start) / epochs
        off = np.abs(found / expected - 1).max()
        print(
            f"{'PyTorch, N = 500, RFLO':28}{1e6 * each:10.2f}{'':11}{1 / each:11.3g}  off {off:.0e}"
        )
    except ImportError:
        print("PyTorch is not installed: no peer.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)

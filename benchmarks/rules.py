"""Time of an epoch under learning rules: a reduction, many of them, a network of 500 neurons.

    python benchmarks/rules.py [epochs]

Rank 1, the filter of T = 400 steps, float64; k = 5 vectors with the feedback's. PyTorch, where it
is installed, has RFLO written for this task: no graph, errors filtered once, one product for each
vector. The first call compiles; the best of the others counts. With the command line's flag:

    XLA_FLAGS=--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1000000000 \
        python benchmarks/rules.py
"""

import os
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from measure import DT, best, exponential, network

import lrnn_jax as lrnn

jax.config.update("jax_enable_x64", True)
N, LR, ROUNDS = 500, 5e-3, 8
DEVICES, CELLS = 2, 8
TASK = exponential()
F = np.random.default_rng(0).normal(size=(N, 1))


def learns(model, rule, epochs):
    """A compiled run of a model, of which the loss before each update is returned."""
    method = lrnn.Descent(LR, rule=rule)

    @jax.jit
    def run(model):
        return lrnn.learn(model, TASK, method, epochs=epochs, throw=False).loss[:-1]

    return lambda: run(model)


def many(epochs):
    """Prints the rate of reductions that learn by RFLO with different rates, on two devices."""
    theory, rflo = lrnn.reduce(network(N), feedback=F), lrnn.RFLO(F)

    def run(lr):
        method, options = lrnn.Descent(lr, rule=rflo), {"epochs": epochs, "record": epochs}
        return lrnn.learn(theory, TASK, method, throw=False, **options).loss

    rates = jnp.linspace(1e-3, LR, DEVICES * CELLS).reshape(DEVICES, CELLS)
    compiled = jax.pmap(jax.vmap(run))
    seconds, compiling, _ = best(lambda: compiled(rates), ROUNDS)
    row(f"{DEVICES} × {CELLS} reductions, RFLO", seconds / (epochs * rates.size), compiling)


def row(name, each, compiling=None, more=""):
    """Prints a row of the table."""
    first = "" if compiling is None else f"{compiling:.2f}"
    print(f"{name:28}{1e6 * each:10.2f}{first:>11}{1 / each:11.3g}{more}", flush=True)


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
        f"network, N = {N}, gradient": learns(net, lrnn.Gradient(), epochs),
        f"network, N = {N}, RFLO": learns(net, rflo, epochs),
    }
    print(f"{'':28}{'us/epoch':>10}{'compile s':>11}{'1/s':>11}")
    for name, run in cases.items():
        seconds, compiling, result = best(run, ROUNDS)
        row(name, seconds / epochs, compiling)
        if name == f"network, N = {N}, RFLO":
            expected = np.asarray(result)
    devices = f"--xla_force_host_platform_device_count={DEVICES}"
    flags = f"{os.environ.get('XLA_FLAGS', '')} {devices}".strip()
    several = [sys.executable, __file__, str(2 * epochs), "many"]
    subprocess.run(several, env=os.environ | {"XLA_FLAGS": flags}, check=True)
    try:
        start = time.perf_counter()
        found = torch_rflo(net, epochs)
        each = (time.perf_counter() - start) / epochs
        row("PyTorch, N = 500, RFLO", each, more=f"  off {np.abs(found / expected - 1).max():.0e}")
    except ImportError:
        print("PyTorch is not installed: no peer.")


if __name__ == "__main__":
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    (many if sys.argv[2:] == ["many"] else main)(epochs)

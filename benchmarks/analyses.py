"""Time of what is done with curves and networks: overlaps from a curve, fixed points; with SciPy.

    python benchmarks/analyses.py [starts]

Inference: the loss of the ten overlaps over 300 epochs, every tenth of them seen with 1 % noise;
`infer` from so many starts at once, and SciPy's least squares in log-Cholesky coordinates around
the same learning in PyTorch (the formula for the response over all times), from one start, with
finite differences. Fixed points: of a network of 1000 neurons and rank 2, from 50 starts; SciPy's
`root` solves the same two equations with their derivatives in NumPy. The first call compiles; the
best of three others counts. A pair of the audit is timed in parts by `test_peers_loops.py`.
"""

import sys
import time
from functools import partial

import jax
import jax.random as jr
import numpy as np
from measure import DT, LR, best, exponential, network
from scipy import optimize

import lrnn_jax as lrnn
from lrnn_jax import inference

jax.config.update("jax_enable_x64", True)
EPOCHS, EVERY, NOISE, ROUNDS = 300, 10, 0.01, 3
SEEN = np.arange(0, EPOCHS, EVERY)
ROW = "{:44}{:>10}{:>12}  {}"


def row(name, seconds, compiling, note):
    """Prints a row of the table."""
    first = "–" if compiling is None else f"{compiling:.2f}"
    print(ROW.format(name, f"{seconds:.3g}", first, note), flush=True)


def curve():
    """The network's reduction, its losses at the epochs seen, and σ."""
    theory, task = lrnn.reduce(network()), exponential()
    loss = np.asarray(lrnn.learn(theory, task, lrnn.Descent(LR), epochs=EPOCHS).loss)[SEEN]
    noise = NOISE * loss.max()
    return theory, loss + noise * np.random.default_rng(0).normal(size=loss.shape), noise


def inferred(starts):
    theory, loss, noise = curve()
    data = inference.Observations(inference.Loss(), loss, epochs=SEEN.tolist(), noise=noise)

    def run():
        options = {"model": theory, "starts": starts, "key": jr.key(1)}
        found = inference.infer(data, exponential(), lrnn.Descent(LR), **options)
        return found.chi2, found.fits.cost

    seconds, compiling, (chi2, cost) = best(run, ROUNDS)
    agree = int(np.sum(np.asarray(cost) < np.min(cost) + 1))
    note = f"χ² {float(chi2):.1f} of {len(loss)} numbers; {agree} of {len(cost)} starts agree"
    row(f"infer, {starts} starts and more if none agree", seconds, compiling, note)


def by_least_squares():
    """One start of SciPy's least squares around PyTorch."""
    import torch
    from peers.torch_theory import train

    torch.set_num_threads(1)
    _, loss, noise = curve()
    target = np.asarray(exponential().samples).ravel()
    rows, columns = np.tril_indices(4, -1)
    pairs = np.triu_indices(4)
    calls = 0

    def gram(x):
        low = np.diag(np.exp(x[:4]))
        low[rows, columns] = x[4:]
        return low @ low.T

    def errors(x):
        nonlocal calls
        calls += 1
        q = gram(x)
        found, _ = train(q, target, dt=DT, lr=LR, epochs=EPOCHS, formula=True)
        return np.append((found[SEEN] - loss) / noise, ((q - np.eye(4)) / 2)[pairs])

    x = np.random.default_rng(1).normal(size=10) / 3
    start = time.perf_counter()
    found = optimize.least_squares(errors, x, x_scale="jac")
    seconds = time.perf_counter() - start
    chi2 = float(np.sum(found.fun[: len(loss)] ** 2))
    row(
        "SciPy least_squares around PyTorch, one start",
        seconds,
        None,
        f"χ² {chi2:.1f}, {calls} runs",
    )


def bistable(n=1000, rank=2):
    """A tanh network with several fixed points: v is twice u, and noise."""
    z, noise, m, u = np.random.default_rng(0).normal(size=(4, n, rank))
    z, m = z[:, :1], m[:, :1]
    return lrnn.LowRankRNN(z, 2 * u + noise, m, u, dt=DT, activation=lrnn.Tanh())


def solved(starts=50):
    net = bistable()
    find = partial(lrnn.fixed_points, net, key=jr.key(1), starts=starts)
    seconds, compiling, found = best(find, ROUNDS)
    row(f"fixed_points, {starts} starts", seconds, compiling, str(found))
    u, v, scale = (np.asarray(x) for x in (net.u, net.v, net.scale))

    def drift(kappa):
        return v.T @ np.tanh(u @ kappa) / scale - kappa

    def slope(kappa):
        bent = 1 - np.tanh(u @ kappa) ** 2
        return (v.T * bent) @ u / scale - np.eye(len(kappa))

    begin = np.random.default_rng(0).normal(size=(starts, u.shape[1])) * 2

    def run():
        ends = [optimize.root(drift, x, jac=slope, method="lm", tol=1e-12) for x in begin]
        return np.array([end.x for end in ends if np.abs(end.fun).max() < 1e-9])

    seconds, _, ends = best(run, ROUNDS)
    first = [np.abs(ends[:i] - end).max(axis=1).min(initial=1) > 1e-5 for i, end in enumerate(ends)]
    note = f"{sum(first)} fixed points"
    row("SciPy root in NumPy, one after another", seconds, None, note)


if __name__ == "__main__":
    print(ROW.format("", "s", "compile s", ""))
    inferred(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    try:
        by_least_squares()
    except ImportError:
        print("PyTorch is not installed: no peer.")
    solved()

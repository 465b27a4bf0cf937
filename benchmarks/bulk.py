"""Time and memory of an epoch over a random bulk: the limit of words, and networks of N neurons.

    python benchmarks/bulk.py [epochs]

Rank 1, one input and output (k = 4), T = 40 steps, float64, as in notebooks/bulk.md. The first call
compiles; the best of the others counts.
"""

import sys
import time
from typing import Any

import jax
import jax.random as jr

import lrnn_jax as lrnn
from lrnn_jax import reduced

jax.config.update("jax_enable_x64", True)
DT, STEPS, G = 0.2, 40, 0.6
TASK = lrnn.ExponentialFilter(0.2, DT, STEPS)
DESCENT = lrnn.Descent(0.01)
ROUNDS = 4


def timed(network, epochs):
    """Seconds per epoch, seconds of compiling, and the loss at the end."""

    @jax.jit
    def run(network):
        return lrnn.learn(network, TASK, DESCENT, epochs=epochs, record=epochs, throw=False).loss

    seconds = []
    for _ in range(1 + ROUNDS):
        start = time.perf_counter()
        loss = jax.block_until_ready(run(network))
        seconds.append(time.perf_counter() - start)
    best = min(seconds[1:])
    used: Any = run.lower(network).compile().memory_analysis()
    return best / epochs, seconds[0] - best, float(loss[-1]), used.temp_size_in_bytes


def main(epochs):
    q = lrnn.overlaps.random_overlaps(key=jr.key(0))
    cases = {
        f"words to {d}{'' if turns is None else f', {turns} turns'}": reduced.word_limit(
            q, G, reduced.Words(d, turns=turns, tolerance=1.0), dt=DT
        ).network
        for d, turns in ((6, None), (8, None), (8, 2), (10, None))
    }
    for n in (250, 1000):
        bulk = lrnn.RandomBulk(G, key=jr.key(1))
        net = lrnn.LowRankRNN.with_overlaps(q, n, dt=DT, key=jr.key(2), bulk=bulk)
        cases[f"network, N = {n}"] = net
    print(f"{'':22}{'neurons':>8}{'ms/epoch':>10}{'compile s':>10}{'MB':>7}{'loss':>10}")
    for name, network in cases.items():
        each, compiling, loss, used = timed(network, epochs)
        size = network.state_size
        print(f"{name:22}{size:8}{1e3 * each:10.3f}{compiling:10.2f}{used / 1e6:7.1f}{loss:10.2e}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)

"""Memory and time of one gradient of a long simulation, with and without checkpoints.

    python benchmarks/memory.py [erf|linear]

prints one line a way: what XLA plans for intermediate results, the process's peak above what it
took before, and the time. Each way runs in a process of its own, for its own peak.
"""

import resource
import subprocess
import sys
import time

N, STEPS, BATCH = 1000, 10_000, 10


def peak() -> float:
    """The process's largest resident memory so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one(kind: str, checkpoint: bool) -> None:
    """One gradient, in this process."""
    import jax
    import jax.random as jr

    import lrnn_jax as lrnn

    phi = lrnn.Erf() if kind == "erf" else lrnn.Identity()
    net = lrnn.LowRankRNN.normalised(N, dt=0.025, key=jr.key(0), activation=phi)
    task = lrnn.FlipFlop(dt=0.025, steps=STEPS, batch=BATCH)
    data = jax.block_until_ready(task.sample(jr.key(1)))

    def loss(net):
        return task.loss(lrnn.networks.CheckpointedRNN(net) if checkpoint else net, data)

    run = jax.jit(jax.grad(loss)).lower(net).compile()
    plan, before = run.memory_analysis(), peak()
    jax.block_until_ready(run(net))
    start = time.perf_counter()
    jax.block_until_ready(run(net))
    seconds, state = time.perf_counter() - start, N * BATCH * 8
    assert plan is not None
    print(
        f"{kind}, N {N}, T {STEPS}, {BATCH} trials, "
        f"{'in blocks of √T steps' if checkpoint else 'all at once'}: planned "
        f"{plan.temp_size_in_bytes / 1e6:.1f} MB = {plan.temp_size_in_bytes / state:.0f} states of "
        f"{state / 1e3:.0f} kB, peak +{peak() - before:.0f} MB, {seconds:.2f} s",
        flush=True,
    )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        from lrnn_jax import setup_jax

        setup_jax(cache=False)
        one(sys.argv[1], sys.argv[2] == "True")
    else:
        for kind in sys.argv[1:] or ("erf", "linear"):
            for checkpoint in (False, True):
                subprocess.run([sys.executable, __file__, kind, str(checkpoint)], check=True)

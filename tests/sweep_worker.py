# ruff: noqa: E402
"""A sweep in its own process: `sweep_worker.py STORE [devices] [shard] [coordinator]`."""

import os
import sys
import time

defaults = ["", "1", "", ""]
store, devices, shard, coordinator = [*sys.argv[1:], *defaults[len(sys.argv) - 1 :]]
compiled_fast = "--xla_backend_optimization_level=0"
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices} {compiled_fast}"

import jax
import jax.random as jr

jax.config.update("jax_enable_x64", True)
if coordinator:
    address, number = coordinator.split("/")
    jax.distributed.initialize(address, num_processes=2, process_id=int(number))

import lrnn_jax as lrnn
from lrnn_jax.sweeps import Store


def run(key, lr, rate, number=0, steps=20):
    del number  # counts repetitions
    net = lrnn.LowRankRNN.normalised(12, dt=0.1, key=key)
    task = lrnn.ExponentialFilter(rate, 0.1, steps, evaluation=lrnn.Evaluation.ROLLOUT)
    return lrnn.learn(lrnn.reduce(net), task, lrnn.Descent(lr), epochs=30, record=10, throw=False)


def slowly(write):
    """Writing of chunks that takes a while, so that a kill finds some of them."""

    def pause(*arguments):
        time.sleep(float(os.environ.get("SWEEP_PAUSE", "0")))
        write(*arguments)

    return pause


if __name__ == "__main__":
    Store.write = slowly(Store.write)
    cells = {"lr": [0.01, 0.02, 0.03], "rate": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]}
    if repeats := int(os.environ.get("SWEEP_REPEATS", "0")):
        cells["number"] = list(range(repeats))
    sweep = lrnn.Sweep(cells, run, key=jr.key(0), chunk=2, store=store)
    part = tuple(map(int, shard.split("/"))) if shard else None
    data = sweep.run(resume=True, shard=part)
    print("done", int((data.result >= 0).sum()), len(jax.local_devices()))

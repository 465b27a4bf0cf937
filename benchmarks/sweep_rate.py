"""Sweeps at full size: rate and memory over the number of cells.

    python benchmarks/sweep_rate.py [DEVICES [DTYPE]]

prints one line a sweep. Rates include everything but compiling: data in and out, the store too.
"""

import resource
import subprocess
import sys
import tempfile
import time

STEPS = 400
SIZES = {1000: 2000, 10_000: 2000, 16_384: 2000, 100_000: 2000, 1_000_000: 50}
"""Epochs by number of cells; the last one is there for its memory, its chunks mostly write."""


def one(cells: int, epochs: int, devices: int) -> None:
    """A sweep of closed-form learning over random networks, in this process; prints its rate."""
    import jax.random as jr
    import numpy as np

    import lrnn_jax as lrnn
    from lrnn_jax.sweeps import Store, summarise

    def run(key, number):
        net = lrnn.LowRankRNN.normalised(50, dt=0.05, key=key)
        task = lrnn.ExponentialFilter(0.2, 0.05, STEPS)
        options = {"epochs": epochs, "record": epochs, "throw": False}
        return summarise(lrnn.learn(lrnn.reduce(net), task, lrnn.Descent(5e-3), **options))

    with tempfile.TemporaryDirectory() as folder:
        sweep = lrnn.Sweep({"number": np.arange(cells)}, run, key=jr.key(0), store=folder)
        plan = sweep.plan(devices=devices)[0]
        data = sweep.run(devices=devices, progress=False)
        codes = np.asarray(data.result)
        markers = sorted(Store(folder).done().values(), key=lambda marker: marker["time"])
    # from the end of the first step to that of the last: without compiling
    seconds = markers[-1]["time"] - markers[devices - 1]["time"]
    counted = cells - sum(marker["cells"] for marker in markers[:devices])
    busy = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{cells} cells × {epochs} epochs, {devices} device(s): {seconds:.2f} s, "
        f"{counted * epochs / seconds / 1e6:.2f} million network-epochs/s, peak {peak:.0f} MB, "
        f"{plan.chunk} at a time, {(codes == 0).mean():.1%} successful, "
        f"processor time {busy:.1f} s in all",
        flush=True,
    )


def main(devices: str, dtype: str) -> None:
    """Each size in a process of its own, for its own peak of memory."""
    for cells in SIZES:
        subprocess.run([sys.executable, __file__, devices, dtype, str(cells)], check=True)


if __name__ == "__main__":
    count, dtype, *size = [*sys.argv[1:], *("2", "float64")[len(sys.argv) - 1 :]]
    if size:
        from lrnn_jax import setup_jax

        setup_jax(dtype, cache=False, devices=int(count))
        one(int(size[0]), SIZES[int(size[0])], int(count))
    else:
        main(count, dtype)

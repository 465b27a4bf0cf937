"""What a scheduler asks of a command: to find its peers, to stop in time, to say how it ended."""

import contextlib
import os
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import jax

RESUME = 75
"""Exit code of work that was stopped and can go on: EX_TEMPFAIL of sysexits.h, "try again"."""
SIGNALS = ("SIGTERM", "SIGUSR1")
"""What schedulers send some time before they kill."""


def join_processes(coordinator: str | None, part: tuple[int, int] | None, alone: bool) -> None:
    """Take part in `jax.distributed`, before JAX starts.

    Arguments:
        coordinator, part: address of the first process, and (i, n) for this one; without them
            JAX reads both off what launched several processes: srun of SLURM, mpirun, or an
            indexed job of Kubernetes.
        alone: whether this process has its share by other means, and no peers.
    """
    if coordinator is not None and part is not None:
        jax.distributed.initialize(coordinator, part[1], part[0])
    elif not alone and (launcher := _launcher(os.environ)):
        jax.distributed.initialize(cluster_detection_method=launcher)


def _launcher(environment: Any) -> str | None:
    """What launched several processes of this kind, as JAX calls it; None for a single one."""
    mpi = "mpi4py" if find_spec("mpi4py") else None

    def several(name: str) -> bool:
        return int(environment.get(name, "1")) > 1

    if several("OMPI_COMM_WORLD_SIZE"):
        return "ompi" if "OMPI_MCA_orte_hnp_uri" in environment else mpi
    if several("SLURM_STEP_NUM_TASKS"):
        return "slurm"
    if several("PMI_SIZE"):
        return mpi
    indexed = {"KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"} <= environment.keys()
    return "k8s" if indexed and find_spec("kubernetes") else None


@contextlib.contextmanager
def stop_signals() -> Iterator[Any]:
    """Take a scheduler's signals as a wish to stop soon.

    Yields: a function that says whether one came.
    """
    came: list[int] = []
    numbers = [signal.Signals[name] for name in SIGNALS if name in signal.Signals.__members__]
    before = {number: signal.signal(number, lambda n, _: came.append(n)) for number in numbers}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

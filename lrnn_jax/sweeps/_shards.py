"""Shards of a sweep as jobs, for anything that takes a function and gives what to wait for."""

import contextlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import jax

from lrnn_jax._checks import extra, shown, whole
from lrnn_jax._setup import has_started, set_flags
from lrnn_jax.sweeps._pipeline import progress_bar

BORN = os.getpid()
"""The process that imported this module: any other one that finds it here was forked from it."""
SETTINGS: dict[str, Callable[[Any], Any]] = {
    "jax_enable_x64": jax.enable_x64,
    "jax_default_matmul_precision": jax.default_matmul_precision,
    "jax_default_prng_impl": jax.default_prng_impl,
    "jax_threefry_partitionable": jax.threefry_partitionable,
    "jax_numpy_dtype_promotion": jax.numpy_dtype_promotion,
    "jax_numpy_rank_promotion": jax.numpy_rank_promotion,
}
"""JAX's settings that decide numbers, and what sets each for one thread and for a while."""
FORKED = (
    "JAX hangs in processes that were forked from one that uses it, and `executor` forks: make it "
    'with mp_context=multiprocessing.get_context("spawn").'
)


class Parcel(NamedTuple):
    """What a job gets: JAX's settings and compiler flags where it was made, and the sweep with the
    options of its `run` as cloudpickle's bytes, which are opened under these settings."""

    settings: dict[str, Any]
    flags: str
    content: bytes


def scatter(
    sweep: Any, executor: Any, shards: Any, options: Mapping[str, Any], progress: bool
) -> None:
    """Let an executor compute a sweep in n jobs, and wait for all of them.

    Arguments:
        sweep: with a store.
        executor: `executor.submit(function, *arguments)` begins a job; what it returns has a
            `result()` that waits for its end.
        shards: n.
        options: of the sweep's `run`, in each job.
        progress: show on a terminal how much is done.

    Errors: ValueError for an executor that forks or has no `submit`; ImportError naming the extra
    without cloudpickle; what the first failed job raised, once all have ended.
    """
    count, submit = whole(shards, "shards"), _submit(executor)
    parcel, total, errors = _parcel((sweep, dict(options))), sweep.design.size, []
    futures = [submit(work, parcel, (i, count)) for i in range(count)]
    with progress_bar(total, progress) as advance:
        for i, future in enumerate(futures):
            try:
                future.result()
            except Exception as error:  # whatever ended the job: the others go on
                errors.append(error)
            advance(total * (i + 1) // count - total * i // count)
    if errors:
        errors[0].add_note(
            f"{len(errors)} of {count} jobs failed, this one first; what is complete is kept in "
            f"{sweep.store}: go on with resume=True."
        )
        raise errors[0]


def work(parcel: Parcel, shard: tuple[int, int]) -> None:
    """Compute one shard of a sweep: what a job does, in whatever process or thread.

    Errors: those of `Sweep.run`; ValueError in a forked process, and in one where JAX has started
    with other compiler flags.
    """
    if os.getpid() != BORN:
        raise ValueError(FORKED)
    _take_flags(parcel.flags)
    with contextlib.ExitStack() as settings:
        for name, value in parcel.settings.items():
            settings.enter_context(SETTINGS[name](value))
        sweep, options = extra("cloudpickle", "Jobs need").loads(parcel.content)
        sweep.run(**options, shard=shard, progress=False)


def _parcel(content: Any) -> Parcel:
    settings = {name: getattr(jax.config, name) for name in SETTINGS}
    flags, cloudpickle = os.environ.get("XLA_FLAGS", ""), extra("cloudpickle", "Jobs need")
    try:
        return Parcel(settings, flags, cloudpickle.dumps(content))
    except Exception as error:  # whatever an object says that cannot be copied
        raise ValueError(
            f"The `function` and `cells` of this sweep cannot travel to jobs ({error}): let them "
            f"hold no open files, locks or devices."
        ) from error


def _submit(executor: Any) -> Callable[..., Any]:
    """The executor's `submit`, seen to be safe."""
    if isinstance(executor, ProcessPoolExecutor):
        context: Any = executor._mp_context
        if context.get_start_method() == "fork":
            raise ValueError(FORKED)
    try:
        return executor.submit
    except AttributeError:
        raise ValueError(
            f'`executor` must be such as ProcessPoolExecutor(mp_context=get_context("spawn")), '
            f"with a method `submit`; got {shown(executor)}."
        ) from None


def _take_flags(flags: str) -> None:
    """Give this process the compiler flags of the one that sent a job."""
    here = os.environ.get("XLA_FLAGS", "")
    if here.split() == flags.split():
        return
    if has_started():
        raise ValueError(
            f"JAX has started in this process of `executor` with XLA_FLAGS={here!r}, and the sweep "
            f"was made with {flags!r}: set them before the executor's processes start."
        )
    set_flags(flags)

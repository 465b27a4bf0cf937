"""How the command line and notebooks set up JAX; the library never does by itself."""

import os
import platform
import re
import warnings
from pathlib import Path
from typing import Any

import jax

from lrnn_jax._checks import flag, shown, whole

FUSE_LOOPS = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1000000000"
"""Compiles whole loops into one CPU kernel: epochs of a reduction cost a fifth, and those of a
full network two thirds, of what they cost otherwise (see benchmarks/README.md)."""

KEPT = 10**9
"""Bytes of compiled programs that the user's cache folder holds; the least used go first."""


def setup_jax(
    dtype: str = "float64",
    *,
    cache: bool | str | Path = True,
    devices: int | None = None,
    fuse_loops: bool = True,
) -> None:
    """Set up JAX for this process as the command line does: call it before any array is made.

    In float64 theory and simulation agree to rounding. Loops over epochs become one CPU kernel
    each (an XLA flag; JAX's default takes two to ten times as long for a reduction). Compiled
    programs are kept, and what was compiled once starts in a fraction of the time in the next
    session. Nothing here is needed: each is a setting of JAX, and the library makes none itself.

    Arguments:
        dtype: "float64" or "float32".
        cache: True: in the user's cache folder, up to 1 GB, unless JAX has a folder already
            (`JAX_COMPILATION_CACHE_DIR`); a path: in that folder; False: none is kept.
        devices: into how many a CPU is divided, for sweeps and `learn(…, devices=…)`; None leaves
            it as it is.
        fuse_loops: whether each loop becomes one kernel. XLA shares an operation of a loop among
            cores only where it is a kernel of its own: wide networks that learn one at a time want
            False, or `devices` to share their trials.

    Errors: ValueError for other values, a folder that cannot be made, and `devices` after JAX's
        first computation; a warning when it is too late for fast loops.

    Source: ours (benchmarks/README.md has the times).

    >>> lrnn.setup_jax()  # beside the imports
    >>> jnp.ones(3).dtype
    dtype('float64')
    """
    if dtype not in ("float64", "float32"):
        raise ValueError(f'`dtype` must be "float64" or "float32"; got {shown(dtype)}.')
    given = "xla_backend_extra_options" in os.environ.get("XLA_FLAGS", "")
    wanted = [FUSE_LOOPS] if flag(fuse_loops, "fuse_loops") and not given else []
    if devices is not None:
        count = whole(devices, "devices")
        wanted.append(f"--xla_force_host_platform_device_count={count}")
    folder = _folder(cache)
    _add_flags(wanted, devices)
    jax.config.update("jax_enable_x64", dtype == "float64")
    if folder is not None:
        jax.config.update("jax_compilation_cache_dir", str(folder.resolve()))
        # runs have a hundred programs of a few hundredths of a second
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _add_flags(wanted: list[str], devices: int | None) -> None:
    """Give XLA the flags that it does not have yet, if it still reads them."""
    flags = os.environ.get("XLA_FLAGS", "").split()
    missing = [flag for flag in wanted if flag not in flags]
    if not has_started():
        set_flags(" ".join([*flags, *missing]))
        return
    if not missing:
        return
    late = "JAX has computed in this process already, and divides and compiles as it did"
    if devices is not None and len(jax.local_devices(backend="cpu")) != devices:
        raise ValueError(f"{late}: start afresh, with setup_jax(devices={devices}) first.")
    if FUSE_LOOPS in missing:
        warnings.warn(
            f"{late}: results are the same, loops take longer. For fast ones start afresh, and "
            f"call setup_jax() beside the imports.",
            stacklevel=3,
        )


def set_flags(flags: str) -> None:
    """Give XLA these flags, before JAX has started; and a thread more than the devices into which
    they divide the CPU: where as many wait for parts of their work as there are threads, all wait
    for ever."""
    os.environ["XLA_FLAGS"] = flags
    devices = re.findall(r"--xla_force_host_platform_device_count=(\d+)", flags)
    if devices and int(devices[-1]) >= _cores() and "NPROC" not in os.environ:
        os.environ.setdefault("PJRT_NPROC", f"{int(devices[-1]) + 1}")


def _cores() -> int:
    """How many this process may use: so many threads has XLA."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def has_started() -> bool:
    """Whether JAX has looked for devices, and so read XLA's flags: it takes no other number of
    devices from then on."""
    config: Any = jax.config
    count = config.jax_num_cpu_devices
    try:
        config.update("jax_num_cpu_devices", count + 2)
    except RuntimeError:
        return True
    config.update("jax_num_cpu_devices", count)
    return False


def _folder(cache: bool | str | Path) -> Path | None:
    """Where compiled programs are kept; None: where JAX keeps them, if it does."""
    if not isinstance(cache, (bool, str, Path)):
        raise ValueError(f"`cache` must be True, False or a folder; got {shown(cache)}.")
    if isinstance(cache, bool):
        return _user_cache() if cache else None
    folder = Path(cache)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"`cache` = {folder} cannot be made: {error.strerror}.") from None
    return folder


def _user_cache() -> Path | None:
    """The user's folder of compiled programs, with a bounded size; None where JAX has one already,
    or none can be written.

    One for each machine: programs use what its processor can, and home folders are shared.
    """
    import platformdirs

    folder = platformdirs.user_cache_path("lrnn_jax") / "compiled" / platform.node()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    if jax.config.values["jax_compilation_cache_dir"] or not os.access(folder, os.W_OK):
        return None
    jax.config.update("jax_compilation_cache_max_size", KEPT)
    # who did not ask for a cache is not told that a killed run left half a program in it, or that
    # the disk is full: such a program is compiled
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
    return folder

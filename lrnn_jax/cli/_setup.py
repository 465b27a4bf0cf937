"""How the command line sets up JAX; the library itself never does."""

import os
import platform
import warnings
from pathlib import Path

import jax

FUSE_LOOPS = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1000000000"
"""Compiles whole loops into one CPU kernel: epochs of a reduction cost a fifth, and those of a
full network two thirds, of what they cost otherwise (see benchmarks/README.md)."""

KEPT = 10**9
"""Bytes of compiled programs that the user's cache folder holds; the least used go first."""


def setup_jax(
    dtype: str = "float64", cache: Path | None = None, devices: int | None = None
) -> None:
    """Set precision and CPU compilation for this process, before any array is made.

    Arguments:
        dtype: "float64" or "float32".
        cache: folder that keeps compiled programs from run to run; None: none is kept.
        devices: into how many a CPU is divided; None leaves it as it is.
    """
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_backend_extra_options" not in flags:
        flags = f"{flags} {FUSE_LOOPS}".strip()
    if devices is not None:
        flags = f"{flags} --xla_force_host_platform_device_count={devices}".strip()
    os.environ["XLA_FLAGS"] = flags
    jax.config.update("jax_enable_x64", dtype == "float64")
    if cache is not None:
        jax.config.update("jax_compilation_cache_dir", str(cache.resolve()))
        # runs have a hundred programs of a few hundredths of a second
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def user_cache() -> Path | None:
    """The user's folder of compiled programs, with a bounded size; None where JAX has one already,
    or none can be written.

    One for each machine: programs use what its processor can, and home folders are shared.
    """
    import platformdirs  # an extra, like all that the command line needs

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

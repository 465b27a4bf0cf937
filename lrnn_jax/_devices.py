"""The devices that share a computation: one mesh, one way to map over it."""

import contextlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lrnn_jax._checks import whole


def free_memory() -> int:
    """Bytes of memory that are free, as the operating system says, or the limit of a container."""
    free = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with contextlib.suppress(OSError):  # no such file, or no limit, here and below
        line = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
        free += [1024 * int(line[1])] if line else []
    group = Path("/sys/fs/cgroup")
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):
            free.append(int((group / limit).read_text()) - int((group / used).read_text()))
    return max(min(free), 1)


def local_devices(devices: Any = None) -> list[Any]:
    """Local devices: all (None), so many, or the given ones.

    Errors: ValueError when there are not as many.
    """
    there = jax.local_devices()
    if devices is None:
        return there
    if isinstance(devices, (list, tuple)):
        if not devices or not all(isinstance(device, jax.Device) for device in devices):
            raise ValueError(f"`devices` lists devices of jax.devices(); got {devices!r}.")
        return list(devices)
    count = whole(devices, "devices")
    if count > len(there):
        raise ValueError(
            f"`devices` = {count}, but there are {len(there)}. A CPU counts as one, unless "
            f"lrnn.setup_jax(devices={count}) divides it before JAX's first computation."
        )
    return there[:count]


def device_mesh(devices: Sequence[Any], axis: str) -> Mesh:
    """Devices in a row along one named axis.

    Its type is Auto: with JAX's default, Explicit, diffrax fails under `jit`.
    """
    return Mesh(np.array(devices), (axis,), axis_types=(AxisType.Auto,))


def along(mesh: Mesh) -> NamedSharding:
    """The layout of arrays whose first axis is shared out over a mesh of one axis."""
    return NamedSharding(mesh, P(*mesh.axis_names))


def share_out(
    function: Callable[..., Any], mesh: Mesh, whole_arguments: int, *, gathered: bool
) -> Callable[..., Any]:
    """function(*arguments) on each device of a mesh of one axis.

    Arguments:
        function: of one device's part.
        mesh: the devices.
        whole_arguments: how many of the first arguments every device gets whole; the others are
            shared out along their first axes.
        gathered: whether results are put together along their first axes; otherwise they must be
            the same on all devices (after a sum over `mesh.axis_names`).
    """

    def call(*arguments: Any) -> Any:
        part, same = P(*mesh.axis_names), P()
        takes = tuple(same if i < whole_arguments else part for i in range(len(arguments)))
        # without check_vma=False a scan whose carry starts from a constant is refused
        mapped = jax.shard_map(
            function,
            mesh=mesh,
            in_specs=takes,
            out_specs=part if gathered else same,
            check_vma=False,
        )
        return mapped(*arguments)

    return call

"""One compiled program for a group of cells, on any number of devices, within a memory budget."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.extend.core import jaxpr_as_fun
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lrnn_jax.sweeps._outputs import Spec, variables

_NEEDS_NUMBER = (jax.errors.ConcretizationTypeError, jax.errors.TracerIntegerConversionError)
SHARE = 0.5
"""The share of the available memory that a sweep plans to use."""
LARGEST = {"cpu": 256, "gpu": 65_536, "tpu": 65_536}
"""Cells at a time on one device, at most: beyond, a CPU's caches overflow (see benchmarks)."""


@dataclass(frozen=True)
class Traced:
    """A sweep's function, traced once for one cell of a group.

    Arguments:
        jaxpr: its program, from (key, numbers…) to the values of `specs`.
        specs: the variables it returns, by name.
        names: the numerical parameters, in the order in which the program takes them.
        structs: their shapes and dtypes.
        digest: a hash of the program with all its constants: it changes when the computation does.
    """

    jaxpr: Any
    specs: dict[str, Spec]
    names: tuple[str, ...]
    structs: tuple[jax.ShapeDtypeStruct, ...]
    digest: str


def trace(
    function: Callable[..., Any],
    statics: Mapping[str, Any],
    numbers: Mapping[str, np.ndarray],
    *,
    takes_key: bool,
) -> Traced:
    """Trace the function for one cell; nothing is computed.

    Arguments:
        function: called as function(key=…, **statics, **numbers), `key` where it takes one.
        statics: parameters that it gets as they are.
        numbers: parameters that are traced, each with its values along the axis, shape (size, …).

    Errors: ValueError that names the numerical parameters when one of them was needed as a number.
    """
    names = tuple(numbers)
    structs = tuple(jax.ShapeDtypeStruct(x.shape[1:], default_dtype(x)) for x in numbers.values())
    specs: dict[str, Spec] = {}

    def flat(key: Any, *values: Any) -> list[Any]:
        keyed = {"key": key} if takes_key else {}
        found = variables(function(**keyed, **statics, **dict(zip(names, values))))
        specs.update({name: Spec.of(variable) for name, variable in found.items()})
        return [variable.value for variable in found.values()]

    try:
        jaxpr = jax.make_jaxpr(flat)(jax.eval_shape(lambda: jr.key(0)), *structs)
    except TypeError as error:
        if not isinstance(error, _NEEDS_NUMBER) and "concrete" not in str(error):
            raise
        raise ValueError(
            f"One of the parameters {', '.join(names)} decides a shape or a branch, but numbers "
            f"vary within one compiled program. Name it in `static`, e.g. static=({names[0]!r},)."
        ) from error
    return Traced(jaxpr, specs, names, structs, _digest(jaxpr))


def default_dtype(values: np.ndarray) -> Any:
    """JAX's current dtype for numbers of this kind."""
    kinds: dict[str, type] = {"f": float, "i": int, "u": int, "b": bool}
    return jnp.result_type(kinds[values.dtype.kind])


def _digest(jaxpr: Any) -> str:
    text = re.sub(r"0x[0-9a-fX]+", "", str(jaxpr))  # addresses of Python functions
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for constant in _constants(jaxpr):
        array = np.asarray(constant)
        digest.update(
            f"{array.shape}{array.dtype}".encode() + np.ascontiguousarray(array).tobytes()
        )
    return digest.hexdigest()


def _constants(jaxpr: Any) -> list[Any]:
    """All arrays that a program holds, those of the programs inside it included."""
    found = [
        jr.key_data(c) if jnp.issubdtype(c.dtype, jax.dtypes.prng_key) else c
        for c in getattr(jaxpr, "consts", ())
        if hasattr(c, "dtype")
    ]
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        for parameter in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")
        ):
            if hasattr(parameter, "eqns"):
                found += _constants(parameter)
    return found


@dataclass(frozen=True)
class Compiled:
    """A group's program for one batch of cells on each of several devices.

    Arguments:
        call: from (base key data, words, numbers…) for batch × devices cells to all variables.
        batch: cells on each device.
        mesh: the devices.
        bytes: memory that one device needs, with one result waiting to be written.
    """

    call: Any
    batch: int
    mesh: Mesh
    bytes: int

    def __call__(self, key: Any, words: np.ndarray, numbers: Sequence[np.ndarray]) -> list[Any]:
        """Start the computation; returns arrays that may not be there yet."""
        where = NamedSharding(self.mesh, P("cell"))
        return self.call(key, *(jax.device_put(x, where) for x in (words, *numbers)))


def fit(
    traced: Traced,
    devices: Sequence[Any],
    parameters: int,
    batch: int,
    budget: int,
    *,
    fixed: bool,
) -> Compiled:
    """Compile for a batch of cells, smaller ones until the program fits into memory.

    Usually that is one compilation: its need is read off the compiled program.

    Arguments:
        traced: the group's program.
        devices: what it runs on.
        parameters: number of parameters that a cell's key depends on.
        batch: cells on each device, to begin with.
        budget: bytes that each device may use.
        fixed: refuse instead of taking a smaller batch.

    Errors: ValueError when one cell, or the fixed batch, does not fit.
    """
    while True:
        compiled = _compile(traced, devices, parameters, batch)
        if compiled.bytes <= budget:
            return compiled
        if batch == 1 or fixed:
            cells = "one cell" if batch == 1 else f"a chunk of {batch} cells"
            raise ValueError(
                f"{cells} needs {readable(compiled.bytes)}, but {readable(budget)} may be used on "
                f"each device. Record less (record=n, summarise), take a smaller chunk, or raise "
                f"`memory`."
            )
        batch = max(1, min(batch // 2, int(batch * budget / compiled.bytes)))


def _compile(traced: Traced, devices: Sequence[Any], parameters: int, batch: int) -> Compiled:
    mesh = Mesh(np.array(devices), ("cell",), axis_types=(AxisType.Auto,))
    one = jaxpr_as_fun(traced.jaxpr)

    def many(key_data: Any, words: Any, *numbers: Any) -> list[Any]:
        base = jr.wrap_key_data(key_data)
        return jax.vmap(lambda w, *x: one(cell_key(base, w), *x))(words, *numbers)

    cells = batch * len(devices)
    where = NamedSharding(mesh, P("cell"))
    shapes = [((parameters, 4), jnp.uint32), *((s.shape, s.dtype) for s in traced.structs)]
    arguments = [jax.ShapeDtypeStruct((cells, *s), d, sharding=where) for s, d in shapes]
    key = jax.eval_shape(lambda: jr.key_data(jr.key(0)))
    specs = (P(), *[P("cell")] * len(arguments))
    sharded = jax.shard_map(many, mesh=mesh, in_specs=specs, out_specs=P("cell"), check_vma=False)
    call = jax.jit(sharded).lower(key, *arguments).compile()
    need = call.memory_analysis()
    assert need is not None
    once = need.argument_size_in_bytes + need.output_size_in_bytes
    size = need.temp_size_in_bytes + need.generated_code_size_in_bytes + 2 * once
    return Compiled(call, batch, mesh, size)


def cell_key(base: Any, words: Any) -> Any:
    """A cell's key: the sweep's key folded with names and values of the cell's parameters."""
    for word in words.reshape(-1):
        base = jr.fold_in(base, word)
    return base


def available(devices: Sequence[Any]) -> int:
    """Bytes that are free for each device: read from the device, or from the operating system."""
    stats = [device.memory_stats() or {} for device in devices]
    if all("bytes_limit" in s for s in stats):
        return min(s["bytes_limit"] - s.get("bytes_in_use", 0) for s in stats)
    return _host_memory() // len(devices)


def _host_memory() -> int:
    """Free bytes of this machine, or of the container it is."""
    import os

    free = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        found = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text())
        free += [1024 * int(found[1])] if found else []
    group = Path("/sys/fs/cgroup")
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            free.append(int((group / limit).read_text()) - int((group / used).read_text()))
        except (OSError, ValueError):  # no such limit here
            continue
    return max(min(free), 1)


def readable(size: int) -> str:
    """A number of bytes for people."""
    shown = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if shown < 1000:
            return f"{shown:.3g} {unit}"
        shown /= 1000
    return f"{shown:.3g} TB"

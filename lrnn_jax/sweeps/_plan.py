"""The plan of a sweep: each group of cells traced once, compiled for chunks that fit in memory."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jax.sharding import Mesh
from jaxtyping import Array, PRNGKeyArray

from lrnn_jax._checks import known_beforehand
from lrnn_jax._devices import along, device_mesh, free_memory, share_out
from lrnn_jax.sweeps._grid import Design
from lrnn_jax.sweeps._groups import in_groups
from lrnn_jax.sweeps._identity import program_digest
from lrnn_jax.sweeps._outputs import Spec, check_names, variables

_NEEDS_NUMBER = (jax.errors.ConcretizationTypeError, jax.errors.TracerIntegerConversionError)
SHARE = 0.5
"""The share of the available memory that a sweep plans to use."""
LEAST_CHUNKS = 8
"""On a CPU a group is cut into this many chunks at least: work for devices, points to resume."""
LARGEST = {"cpu": 512, "gpu": 65_536, "tpu": 65_536}
"""Cells of a chunk at most, unless told: what a killed sweep may lose, and writes at once."""


@dataclass(frozen=True)
class GroupPlan:
    """What one group of cells will take: cells, cells per chunk, bytes while computing (on each
    device), bytes of results, and seconds, where a chunk was timed."""

    statics: dict[str, Any]
    cells: int
    chunk: int
    working_bytes: int
    result_bytes: int
    seconds: float | None


@dataclass(frozen=True)
class Traced:
    """A sweep's function, traced once for one cell of a group: a program from (key, numbers…) to
    the values of `specs`, with shapes and dtypes of the numbers, in its order, the count of
    parameters that a cell's key depends on, and a digest that changes when the computation does."""

    program: ClosedJaxpr
    specs: dict[str, Spec]
    numbers: dict[str, jax.ShapeDtypeStruct]
    parameters: int
    digest: str

    @property
    def bytes(self) -> int:
        """Size of one cell's results."""
        specs = (spec for spec in self.specs.values() if not spec.coordinate)
        return sum(math.prod(spec.shape) * np.dtype(spec.dtype).itemsize for spec in specs)


def trace(
    function: Callable[..., Any], design: Design, statics: Mapping[str, Any], *, takes_key: bool
) -> Traced:
    """Trace function(key=…, **statics, **numbers) for one cell, with the other parameters of the
    design as numbers, and without `key` where it takes none; nothing is computed.

    Errors: ValueError that names the numerical parameters when one of them was needed as a number,
    and for outputs with the names of axes.
    """
    kinds: dict[str, type] = {"f": float, "i": int, "u": int, "b": bool}
    columns = {name: c.values for name, c in design.columns.items() if name not in statics}
    numbers = {
        name: jax.ShapeDtypeStruct(x.shape[1:], jnp.result_type(kinds[x.dtype.kind]))
        for name, x in columns.items()
    }
    specs: dict[str, Spec] = {}

    def flat(key: Any, values: Mapping[str, Any]) -> list[Any]:
        keyed = {"key": key} if takes_key else {}
        with known_beforehand(list(values.values()), list(columns.values())):
            outputs = variables(function(**keyed, **statics, **values))
        specs.update({name: Spec.of(variable) for name, variable in outputs.items()})
        return [variable.value for variable in outputs.values()]

    try:
        program = jax.make_jaxpr(lambda key, *x: flat(key, dict(zip(numbers, x))))(
            jax.eval_shape(lambda: jr.key(0)), *numbers.values()
        )
    except (TypeError, ValueError) as error:
        words = ("concrete", "Tracer", "Traced")  # of our own checks, too
        if not isinstance(error, _NEEDS_NUMBER) and not any(word in str(error) for word in words):
            raise
        raise ValueError(
            f"One of the parameters {', '.join(numbers)} decides a shape or a branch, but numbers "
            f"vary within one compiled program. Name it in `static`, e.g. static="
            f"({next(iter(numbers))!r},)."
        ) from error
    check_names(specs, design.names)
    return Traced(program, specs, numbers, len(design.columns), program_digest(program))


@dataclass(frozen=True)
class Compiled:
    """A group's program for one batch of cells on each of several devices, from (base key data,
    words, numbers…) to all variables, and the bytes that one device needs, with one result waiting
    to be written."""

    call: jax.stages.Compiled
    batch: int
    mesh: Mesh
    bytes: int


def fit(
    traced: Traced, devices: Sequence[Any], bytes_each: int, cells: int, wanted: int | None
) -> Compiled:
    """Compile for the batch of cells that is wanted on each device, or (None) as many as are of
    use, smaller ones until the program fits into the bytes that may be used on each.

    Usually that is one compilation: its need is read off the compiled program.

    Errors: ValueError when one cell, or the batch that is wanted, does not fit.
    """
    platform = devices[0].platform
    most = -(-cells // LEAST_CHUNKS) if platform == "cpu" else cells
    batch = wanted or min(most, LARGEST.get(platform, LARGEST["cpu"]))
    while (compiled := _compile(traced, devices, batch)).bytes > bytes_each:
        if batch == 1 or wanted is not None:
            what = "one cell" if batch == 1 else f"a chunk of {batch} cells"
            raise ValueError(
                f"{what} needs {readable(compiled.bytes)}, but {readable(bytes_each)} may be used "
                f"on each device. Record less (record=n, summarise), take a smaller chunk, or "
                f"raise `memory`."
            )
        batch = max(1, min(batch // 2, int(batch * bytes_each / compiled.bytes)))
    return compiled


def _compile(traced: Traced, devices: Sequence[Any], batch: int) -> Compiled:
    mesh, cell = device_mesh(devices, "cell"), jaxpr_as_fun(traced.program)

    def part(key_data: Array, words: Array, *numbers: Array) -> list[Array]:
        base = jr.wrap_key_data(key_data)

        def one(word: Array, *x: Array) -> list[Any]:
            return cell(cell_key(base, word), *x)

        return in_groups(one, words, *numbers, platform=devices[0].platform)

    cells, layout = batch * len(devices), along(mesh)
    words = jax.ShapeDtypeStruct((traced.parameters, 4), jnp.uint32)
    arguments = [
        jax.ShapeDtypeStruct((cells, *x.shape), x.dtype, sharding=layout)
        for x in (words, *traced.numbers.values())
    ]
    key = jax.eval_shape(lambda: jr.key_data(jr.key(0)))
    call = jax.jit(share_out(part, mesh, 1, gathered=True)).lower(key, *arguments).compile()
    size, need = 0, call.memory_analysis()
    if need is not None:
        once = need.argument_size_in_bytes + need.output_size_in_bytes
        size = need.temp_size_in_bytes + need.generated_code_size_in_bytes + 2 * once
    return Compiled(call, batch, mesh, size)


def cell_key(base: PRNGKeyArray, words: Array | np.ndarray) -> PRNGKeyArray:
    """A cell's key: the sweep's key folded with names and values of the cell's parameters."""
    for word in words.reshape(-1):
        base = jr.fold_in(base, word)
    return base


def budget(devices: Sequence[Any], memory: int | None) -> int:
    """Bytes that may be used on each device; by default a share of what is free there, as the
    device or the operating system says."""
    if memory is not None:
        return memory
    stats = [device.memory_stats() or {} for device in devices]
    if all("bytes_limit" in s for s in stats):
        return int(SHARE * min(s["bytes_limit"] - s.get("bytes_in_use", 0) for s in stats))
    return int(SHARE * free_memory()) // len(devices)


def readable(size: int | float) -> str:
    """A number of bytes for people.

    >>> sweeps.readable(3 * 2**30)
    '3.22 GB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"

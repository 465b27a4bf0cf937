"""Which optimisers are exact on overlaps: read off the program of their updates.

Θ_t = Θ_0 T_t holds as long as updates are linear in weights and gradients, with coefficients that
neither depend on these nor on the number of neurons. Whether they are is decided for all updates
at once, however late an optimiser starts to move: each operation of its program maps kinds of
arrays to kinds, and what it remembers is followed until nothing changes.
"""

import enum
import functools
import re
from abc import ABC, abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.extend.core import ClosedJaxpr, Literal

from lrnn_jax._types import is_key, is_traced

NEURONS = 61, 67, 71, 73, 79, 83, 89
"""Rows of the weights on which optimisers are read: two of these, as many as no columns are."""


class Kind(enum.IntFlag):
    """What an array depends on; the kind of a sum is the union."""

    ZERO = 0  # nothing: zeros
    FIXED = 1  # neither weights nor gradients, the same for every neuron
    LINEAR = 2  # rows are turned, or mapped by any matrix, as those of weights and gradients are
    OTHER = 3


SUMS = ("add", "add_any", "sub")
ROW_BY_ROW = (
    "neg", "copy", "reduce_precision", "broadcast_in_dim", "reshape", "squeeze", "reduce_sum",
    "optimization_barrier",
)  # fmt: skip
"""Linear operations on each row, as long as rows stay the first axis."""
ELEMENTWISE = (
    *SUMS, "mul", "div", "neg", "max", "min", "pow", "integer_pow", "square", "sqrt", "rsqrt",
    "exp", "log", "abs", "sign", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not",
    "select_n", "convert_element_type", "broadcast_in_dim", "copy",
)  # fmt: skip
"""Operations that treat all neurons alike."""
ALSO_LOCAL = (
    "reduce_max", "reduce_min", "reduce_prod", "tanh", "logistic", "erf", "exp2", "expm1", "log1p",
    "sin", "cos", "cbrt", "floor", "ceil", "round", "clamp", "rem",
)  # fmt: skip
"""Operations on each row that are not linear."""


Columns = dict[str, int | None]
"""How many columns the weights have, by family; None for as many as rows: both are neurons."""


def obstacle(optimiser: optax.GradientTransformation, columns: Columns) -> str | None:
    """Why an optimiser is not exact on overlaps, or None where it is.

    Arguments:
        optimiser: any.
        columns: of the weights.
    """
    few, many, *_ = (rows for rows in NEURONS if rows not in columns.values())
    programs = _programs(optimiser, columns, few)
    if _text(programs, few) != _text(_programs(optimiser, columns, many), many):
        return "its numbers depend on the number of neurons, which a reduction does not have"
    change, why = _changes(LinearReader(few), programs, len(columns))
    if any(kind & Kind.FIXED for kind in change):
        why = f"`{why}` is not" if why else "every neuron gets the same"
        return f"its updates are not linear in weights and gradients ({why})"
    return None


def mixing(optimiser: optax.GradientTransformation, columns: Columns) -> str | None:
    """The first operation of an optimiser that takes several neurons together, or None.

    Without one, the change of a neuron is a function of what that neuron has seen.
    """
    few, *_ = (rows for rows in NEURONS if rows not in columns.values())
    change, why = _changes(LocalReader(few), _programs(optimiser, columns, few), len(columns))
    return why if Kind.OTHER in change else None


def _changes(reader: "AbstractReader", programs: Any, n: int) -> tuple[list[Kind], str | None]:
    """Kinds of the changes of n families, and the first operation that is of no better kind."""
    start, step = programs
    kept = reader.read(start, [Kind.LINEAR] * n)
    while True:
        change = reader.read(step, [*kept, *[Kind.LINEAR] * (2 * n), Kind.FIXED])
        after = [reader.join(a, b) for a, b in zip(kept, change[n:], strict=True)]
        if after == kept:
            return change[:n], reader.why
        kept = after


def _programs(
    optimiser: optax.GradientTransformation, columns: Columns, rows: int
) -> tuple[ClosedJaxpr, ClosedJaxpr]:
    """weights → memory, and (memory, weights, gradients, loss) → (update, memory)."""
    weights = {f: jax.ShapeDtypeStruct((rows, c or rows), float) for f, c in columns.items()}
    loss = jax.ShapeDtypeStruct((), float)
    with jax.numpy_dtype_promotion("standard"):
        start, memory = jax.make_jaxpr(optimiser.init, return_shape=True)(weights)
        step = jax.make_jaxpr(lambda *x: updated(optimiser, *x))(memory, weights, weights, loss)
    return start, step


def updated(optimiser: Any, memory: Any, weights: Any, slope: Any, loss: Any) -> tuple[Any, Any]:
    """An optimiser's change; those that ask for the loss and its gradient are given them.

    Errors: ValueError for line searches, which ask for the loss as a function.
    """
    update = optax.with_extra_args_support(optimiser).update
    try:
        return update(slope, memory, weights, value=loss, grad=slope)
    except TypeError as error:
        if "value_fn" not in str(error):
            raise
        raise ValueError(
            "This `optimiser` searches along a line, for which it asks for the loss as a function "
            "(`value_fn`): Training takes optimisers that go by the loss and its gradient."
        ) from None


def _text(programs: tuple[ClosedJaxpr, ClosedJaxpr], rows: int) -> list[str]:
    """Programs and their constants in words, in which the number of rows has no number."""
    constants = [x for p in programs for x in p.consts if not is_traced(x)]
    return [re.sub(rf"\b{rows}(?=[,)\]])", "N", str(x)) for x in (*programs, *constants)]


class AbstractReader(ABC):
    """Follows kinds through a program; remembers the first operation that has a result of OTHER."""

    def __init__(self, rows: int):
        self.rows = rows
        self.why: str | None = None

    @abstractmethod
    def join(self, a: Kind, b: Kind) -> Kind:
        """The kind of what is of one of two kinds."""

    @abstractmethod
    def result(self, equation: Any, kinds: list[Kind], out: Any) -> Kind:
        """The kind of one result of a single operation."""

    @abstractmethod
    def chosen(self, which: Kind, cases: Any) -> Kind:
        """The kind of one of several arrays, by a number of some kind."""

    def read(self, program: ClosedJaxpr, kinds: list[Kind]) -> list[Kind]:
        """Kinds of the results, from those of the arguments."""
        constants = [self._constant(x) for x in program.consts]
        known = dict(zip([*program.jaxpr.constvars, *program.jaxpr.invars], [*constants, *kinds]))

        def kind(x: Any) -> Kind:
            return self._constant(x.val) if isinstance(x, Literal) else known[x]

        for equation in program.jaxpr.eqns:
            given = [kind(x) for x in equation.invars]
            found = self._results(equation, given)
            if self.why is None and Kind.OTHER in found:
                self.why = equation.primitive.name
            known |= dict(zip(equation.outvars, found))
        return [kind(x) for x in program.jaxpr.outvars]

    def _results(self, equation: Any, kinds: list[Kind]) -> list[Kind]:
        name, given, inner = equation.primitive.name, equation.invars, _inner(equation)
        if inner is not None:
            return self.read(inner, kinds)
        if name == "cond":
            branches = [self.read(branch, kinds[1:]) for branch in equation.params["branches"]]
            return [self.chosen(kinds[0], cases) for cases in zip(*branches)]
        if name == "is_finite" or (name in ("eq", "ne") and given[0] is given[1]):
            # whether numbers are finite: learning stops where they are not
            return [Kind.FIXED for _ in equation.outvars]
        return [self.result(equation, kinds, out.aval) for out in equation.outvars]

    def of_fixed(self, name: str, out: Any) -> Kind:
        """The kind of a result of what is FIXED."""
        return Kind.OTHER if self.rows in out.shape and name not in ELEMENTWISE else Kind.FIXED

    def _constant(self, x: Any) -> Kind:
        if self.rows in np.shape(x):
            return Kind.OTHER
        known = not isinstance(x, jax.Array) or not (is_traced(x) or is_key(x))
        return Kind.ZERO if known and not np.any(np.asarray(x)) else Kind.FIXED


class LinearReader(AbstractReader):
    """Whether results are linear in weights and gradients, the same for all neurons."""

    def join(self, a: Kind, b: Kind) -> Kind:
        return a | b

    def result(self, equation: Any, kinds: list[Kind], out: Any) -> Kind:
        name, given = equation.primitive.name, equation.invars
        union = functools.reduce(self.join, kinds, Kind.ZERO)
        if not union and name in (*SUMS, *ROW_BY_ROW, "mul", "select_n", "convert_element_type"):
            return Kind.ZERO
        if (name == "mul" and Kind.ZERO in kinds) or (name == "div" and not kinds[0]):
            return Kind.ZERO
        if union <= Kind.FIXED:
            return self.of_fixed(name, out)
        if name in SUMS:
            return union
        if name == "select_n":
            return self.chosen(kinds[0], kinds[1:])
        if kinds in ([Kind.LINEAR, Kind.FIXED], [Kind.FIXED, Kind.LINEAR]) and name == "mul":
            return Kind.LINEAR
        if kinds == [Kind.LINEAR, Kind.FIXED] and name == "div":
            return Kind.LINEAR
        if name == "convert_element_type" and jnp.issubdtype(out.dtype, jnp.floating):
            return kinds[0]
        if name == "integer_pow" and equation.params["y"] == 1:
            return kinds[0]
        if name in ROW_BY_ROW and self._keeps_neurons(given[0].aval.shape, out.shape):
            return kinds[0]
        return Kind.OTHER

    def _keeps_neurons(self, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
        """Whether the first axis stays; of a square array, whose axes both are neurons, all do."""
        return before == after if before == (self.rows,) * 2 else before[:1] == after[:1]

    def chosen(self, which: Kind, cases: Any) -> Kind:
        joined = functools.reduce(self.join, cases)
        return Kind.OTHER if which & Kind.LINEAR and joined else joined


class LocalReader(AbstractReader):
    """Whether results are functions, neuron by neuron, of its weights and gradients: LINEAR means
    any such function here, and OTHER what takes several neurons together."""

    def join(self, a: Kind, b: Kind) -> Kind:
        return max(a, b)

    def result(self, equation: Any, kinds: list[Kind], out: Any) -> Kind:
        name = equation.primitive.name
        most = max(kinds, default=Kind.ZERO)
        if most <= Kind.FIXED:
            return self.of_fixed(name, out)
        of_neurons = [x.aval for x, kind in zip(equation.invars, kinds) if kind == Kind.LINEAR]
        local = all(x.shape[:1] == (self.rows,) for x in (out, *of_neurons))
        local &= name in (*ELEMENTWISE, *ROW_BY_ROW, *ALSO_LOCAL)
        return most if local else Kind.OTHER

    def chosen(self, which: Kind, cases: Any) -> Kind:
        return max(which, *cases)


def _inner(equation: Any) -> ClosedJaxpr | None:
    """The program that an operation calls once, with its own arguments."""
    if equation.primitive.name in ("scan", "while"):
        return None
    for name in ("jaxpr", "call_jaxpr"):
        if (inner := equation.params.get(name)) is not None:
            return inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ())
    return None

"""What each column of the stacked loading vectors Θ = [Z | V | M | U] is, and what it is called."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from lrnn_jax._checks import component, flag, whole

LETTERS = "zvmubhfcgo"
"""The families of vectors in the order of their columns: read-out, reading, input, writing, biases,
initial state; then what a learning rule holds fixed: feedback f of the outputs, and c, g of the
recurrent weights; ones."""
FIXED = "fcgo"
"""Families that never learn."""
_NAME = re.compile(rf"([{LETTERS}])(\d*)([{LETTERS}])(\d*)")


class UnknownOverlap(KeyError, ValueError):
    """A name that is no overlap, loading vector or family of this network.

    >>> try:
    ...     net.overlaps["xy"]
    ... except overlaps.UnknownOverlap as error:
    ...     print(str(error).split("Known: ")[1])
    ...
    zm, zu, vm, vu, mu, zv, mm, uu, vv, zz.
    """

    def __str__(self) -> str:
        return self.args[0]


@dataclass(frozen=True)
class Roles:
    """The columns of Θ = [Z | V | M | U], then b, h, f, c, g and 1 where there are such: k of them.

    Arguments:
        outputs: d_out, columns of Z (read-out).
        rank: r, columns of V (read from the recurrent dynamics) and of U (write into them).
        inputs: d_in, columns of M (input weights).
        bias: whether there is a column b of biases, which writes like an input of 1.
        start: whether there is a column h of initial states, which writes like an input whose
            latent is 1 at the start and decays.
        means: whether there is a last column of ones, "o", which never learns: its overlaps are the
            means of the other vectors, e.g. zo = Σ_i z_i / s.
        feedback: columns of F, fixed vectors that a rule sends errors back by: 0, or one an output.
        through: columns of each of C and G, fixed vectors by which a rule carries errors back in
            time, C Gᵀ in the place of V Uᵀ; 0: none.

    Errors: ValueError unless the first three are at least 1; UnknownOverlap, with suggestions, by
    all methods that take names.

    >>> roles = overlaps.Roles(rank=2)
    >>> len(roles.names), roles.names[:3]  # k(k+1)/2 of them, k = 6
    (21, ('zm', 'zu1', 'zu2'))
    """

    outputs: int = 1
    rank: int = 1
    inputs: int = 1
    bias: bool = False
    start: bool = False
    means: bool = False
    feedback: int = 0
    through: int = 0

    def __post_init__(self) -> None:
        for name in ("outputs", "rank", "inputs"):
            object.__setattr__(self, name, whole(getattr(self, name), name))
        for name in ("bias", "start", "means"):
            object.__setattr__(self, name, flag(getattr(self, name), name))
        for name in ("feedback", "through"):
            object.__setattr__(self, name, whole(getattr(self, name), name, 0))

    @property
    def sizes(self) -> dict[str, int]:
        """Number of columns of each family."""
        sizes = {"z": self.outputs, "v": self.rank, "m": self.inputs, "u": self.rank}
        more = {"b": self.bias, "h": self.start, "f": self.feedback}
        more |= {"c": self.through, "g": self.through, "o": self.means}
        return sizes | {family: int(size) for family, size in more.items() if size}

    @property
    def size(self) -> int:
        """k, the number of columns of Θ."""
        return sum(self.sizes.values())

    @property
    def left(self) -> int:
        """Columns of [Z V], the side of Θ that reads."""
        return self.outputs + self.rank

    @property
    def right(self) -> int:
        """End of the columns of [M U b h], the side of Θ that writes: left … right − 1."""
        return self.left + self.inputs + self.rank + self.bias + self.start

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where each family stands in Θ."""
        out, start = {}, 0
        for family, size in self.sizes.items():
            out[family] = slice(start, start + size)
            start += size
        return out

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """One label a column: the family's letter, numbered from 1 where it has several columns."""
        return tuple(
            family if size == 1 else f"{family}{i + 1}"
            for family, size in self.sizes.items()
            for i in range(size)
        )

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The k(k+1)/2 distinct entries of Q, in canonical order.

        S (row by row), then R and P off the diagonal, then the squared norms of M, U, V, Z: for
        rank 1 zm, zu, vm, vu, mu, zv, mm, uu, vv, zz. Then those with fixed vectors, and the means,
        where there are such.
        """
        k, left, right = self.size, self.left, self.right
        s = [(i, j) for i in range(left) for j in range(left, right)]
        r = [(i, j) for i in range(left, right) for j in range(i + 1, right)]
        p = [(i, j) for i in range(left) for j in range(i + 1, left)]
        order = (f for f in "mubhvz" if f in self.sizes)
        norms = [(i, i) for f in order for i in range(*self.slices[f].indices(k))]
        fixed = [(i, j) for j in range(right, k - self.means) for i in range(j + 1)]
        means = [(i, k - 1) for i in range(k)] if self.means else []
        return tuple(s + r + p + norms + fixed + means)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the distinct overlaps in the order of `pairs`: "vu", or "v1u2" for rank 2."""
        return tuple(self.labels[i] + self.labels[j] for i, j in self.pairs)

    @cached_property
    def latex(self) -> tuple[str, ...]:
        """The same names as LaTeX symbols σ with the two vectors as subscripts; means as μ."""

        symbols = [label[0] + f"_{{{label[1:]}}}" * (len(label) > 1) for label in self.labels]

        def overlap(i: int, j: int) -> str:
            mean = self.means and i < j == self.size - 1
            return rf"$\mu_{{{symbols[i]}}}$" if mean else rf"$\sigma_{{{symbols[i]}{symbols[j]}}}$"

        return tuple(overlap(i, j) for i, j in self.pairs)

    def columns(self, name: str, argument: str = "") -> list[int]:
        """Column numbers of a family ("u"), of one vector ("u2") or of several families ("mu")."""
        component(name, str, argument or "name", '"u", "u2" or "mu"')
        if name and all(letter in self.sizes for letter in name):
            return [i for f in name for i in range(*self.slices[f].indices(self.size))]
        if name in self.labels:
            return [self.labels.index(name)]
        if len(name) == 2 and name[1] == "1" and name[0] in self.labels:
            return [self.labels.index(name[0])]
        where = f"`{argument}`: unknown" if argument else "Unknown"
        known = [*self.sizes, *self.labels]
        raise UnknownOverlap(self._unknown(name, known, f"{where} loading vector"))

    def locate(self, name: str) -> tuple[list[int], list[int]]:
        """Rows and columns of Q that an overlap's name stands for, e.g. "vu", "uv" or "v1u2"."""
        match = _NAME.fullmatch(component(name, str, "name", '"vu" or "v1u2"'))
        if match:
            first, second = match[1] + match[2], match[3] + match[4]
            try:
                return self.columns(first), self.columns(second)
            except UnknownOverlap:
                pass
        raise UnknownOverlap(self._unknown(name, list(self.names), "Unknown overlap"))

    def entry(self, name: str) -> tuple[int, int]:
        """Row and column of the single entry of Q with this name; a block is refused."""
        rows, columns = self.locate(name)
        if len(rows) * len(columns) != 1:
            block = [self.labels[i] + self.labels[j] for i in rows for j in columns]
            raise UnknownOverlap(f"{name!r} is a block of overlaps: name one of {block}.")
        return rows[0], columns[0]

    def per_column(
        self, values: Mapping[str, Any], default: Any = 1.0, argument: str = "rates"
    ) -> list[Any]:
        """One value a column, from values by family ("m") or column ("u2", which goes first)."""
        out: list[Any] = [default] * self.size
        for name in sorted(values, key=lambda name: len(name) > 1):
            for column in self.columns(name, argument):
                out[column] = values[name]
        return out

    def frozen_columns(self, frozen: tuple[str, ...]) -> list[bool]:
        """Whether each column is frozen, from names of families or columns; what is fixed is."""
        fixed = [family for family in FIXED if family in self.sizes]
        return self.per_column(dict.fromkeys((*frozen, *fixed), True), False, "frozen")

    def split(self, theta: Float[Array, "*axes k"]) -> dict[str, Float[Array, "..."]]:
        """The columns of each family of vectors that can learn."""
        return {f: theta[..., s] for f, s in self.slices.items() if f not in FIXED}

    def join(self, blocks: Mapping[str, Float[Array, "..."]]) -> Float[Array, "*axes k"]:
        """A change of all columns from those of each family; fixed columns do not change."""
        parts = [blocks[f] for f in self.sizes if f not in FIXED]
        fixed = sum(size for f, size in self.sizes.items() if f in FIXED)
        if fixed:
            parts.append(jnp.zeros((*parts[0].shape[:-1], fixed), parts[0].dtype))
        return jnp.concatenate(parts, axis=-1)

    @property
    def own(self) -> "Roles":
        """Those of the network's own vectors: without what a rule holds fixed."""
        return replace(self, feedback=0, through=0)

    def describe(self) -> str:
        """ "rank 1, 1 input, 1 output", for messages."""

        inputs = f"{self.inputs} input{'s' * (self.inputs > 1)}"
        outputs = f"{self.outputs} output{'s' * (self.outputs > 1)}"
        more = ", biases" * self.bias + ", initial state" * self.start + ", means" * self.means
        more += ", feedback" * (self.feedback > 0) + ", feedback in time" * (self.through > 0)
        return f"rank {self.rank}, {inputs}, {outputs}{more}"

    def _unknown(self, name: str, known: list[str], kind: str) -> str:
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.3)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        listed = ", ".join(dict.fromkeys(known))
        return f"{kind} {name!r} in a network of {self.describe()}.{hint} Known: {listed}."

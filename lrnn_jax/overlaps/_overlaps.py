"""The overlaps of a network's loading vectors: its Gram matrix, with names."""

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import (
    as_columns,
    as_float,
    component,
    flag,
    number,
    real_array,
    same_dtype,
    shown,
)
from lrnn_jax._readable import AbstractReadable
from lrnn_jax._types import Gram, is_traced
from lrnn_jax.overlaps._geometry import check_gram
from lrnn_jax.overlaps._roles import Roles

Same = TypeVar("Same", bound="AbstractOverlapModel")


class AbstractOverlapModel(AbstractReadable):
    """What has overlaps that learning moves: a network, its reduction, or bare `Overlaps`.

    Fields:
        overlaps: Q, shape (k, k), of all neurons together, with names.
        roles: what each of the k columns of Q is.
        frozen: vectors that do not learn, by family or column.
        linear: whether φ is linear, so that the overlap theory is exact, where there is no bulk.
        bulk: recurrent weights that do not learn, beside the low rank; None for most.

    >>> [isinstance(x, overlaps.AbstractOverlapModel) for x in (net, net.overlaps, dense)]
    [True, True, False]
    >>> net.linear, net.frozen
    (True, ())
    """

    overlaps: eqx.AbstractVar["Overlaps"]
    roles: eqx.AbstractVar[Roles]
    frozen: eqx.AbstractVar[tuple[str, ...]]
    linear: eqx.AbstractVar[bool]
    bulk: ClassVar[Any] = None

    @abstractmethod
    def moved_to(self: Same, overlaps: "Overlaps") -> Same:
        """The same with other overlaps; of loading vectors, the nearest that have them.

        Errors: ValueError where Q does not determine the model.
        """

    def multipliers(self, rates: Mapping[str, Any] | None = None) -> tuple[float, ...]:
        """D: one learning-rate multiplier a column, 0 for what is frozen and for fixed columns.

        Errors: ValueError for traced rates and for what is no mapping; UnknownOverlap for names.
        """
        rates = component({} if rates is None else rates, Mapping, "rates", '{"m": 0.0}')
        if is_traced(rates):
            raise ValueError("`rates` decide which symmetries hold: pass them untraced.")
        given = {name: float(number(x, "rates", 0)) for name, x in rates.items() if name != "c"}
        frozen = self.roles.frozen_columns(tuple(name for name in self.frozen if name != "c"))
        return tuple(0.0 if f else d for f, d in zip(frozen, self.roles.per_column(given)))


class Overlaps(AbstractOverlapModel):
    """All scalar products of a network's loading vectors, Q = ΘᵀΘ/s with Θ = [Z | V | M | U].

    Networks with biases have a column b more; where means matter (a closure with biases or an
    activation that is not odd), a column of ones comes last: q["zo"] is the mean of z.

    `q["vu"]` is one overlap (in either order, "uv" too), `q["v1u2"]` one of a higher-rank network,
    where `q["vu"]` is the whole block VᵀU/s. Leading axes (epochs, cells) are allowed everywhere.
    This constructor takes Q as it is; `from_gram` and `from_vectors` check what they are given.
    As a model they stand for a linear network in which everything learns.

    Arguments:
        gram: Q, shape (..., k, k), symmetric positive semidefinite; no unit (activity is
            dimensionless, time is in membrane time constants).
        roles: what each of the k columns is.

    Source: [LR] sec. 2; blocks S, R, P as in the theory: S = [Z V]ᵀ[M U]/s is what a linear
    network's output depends on, R = [M U]ᵀ[M U]/s and P = [Z V]ᵀ[Z V]/s.

    >>> q = net.overlaps
    >>> q.names
    ('zm', 'zu', 'vm', 'vu', 'mu', 'zv', 'mm', 'uu', 'vv', 'zz')
    >>> bool(jnp.isclose(q["vu"], (net.v * net.u).sum() / 40))
    True
    """

    gram: Float[Array, "*batch k k"]
    roles: Roles = eqx.field(static=True)
    linear = True
    frozen = ()

    def __init__(self, gram: Float[ArrayLike, "*batch k k"], roles: Roles):
        self.gram = as_float(gram, "gram")
        self.roles = component(roles, Roles, "roles", "Roles(outputs=1, rank=1, inputs=1)")
        _check_shape(self.gram, roles, "gram")

    @property
    def overlaps(self) -> "Overlaps":
        return self

    def moved_to(self, overlaps: "Overlaps") -> "Overlaps":
        return overlaps

    @classmethod
    def from_vectors(
        cls,
        *,
        z: ArrayLike,
        v: ArrayLike,
        m: ArrayLike,
        u: ArrayLike,
        b: ArrayLike | None = None,
        h: ArrayLike | None = None,
        scale: ArrayLike,
        means: bool = False,
    ) -> "Overlaps":
        """Q = ΘᵀΘ/s from loading vectors.

        Arguments:
            z, v, m, u: columns, shapes (N, d_out), (N, r), (N, d_in), (N, r); (N,) is one column.
            b, h: biases and initial states, shape (N,), or None.
            scale: s; N for vectors with entries of order 1 [LR], 1 for order 1/√N [CL].
            means: add the column of ones.

        Errors: ValueError for arrays that do not fit each other.
        """
        theta, roles = stack(z=z, v=v, m=m, u=u, b=b, h=h, means=means)
        s = number(scale, "scale", 0, open_start=True).astype(theta.dtype)
        return cls(theta.T @ theta / s, roles)

    @classmethod
    def from_gram(
        cls,
        matrix: ArrayLike,
        rank: int = 1,
        inputs: int = 1,
        outputs: int = 1,
        *,
        bias: bool = False,
        start: bool = False,
        means: bool = False,
    ) -> "Overlaps":
        """Overlaps from a Gram matrix, columns in the order Z, V, M, U (then b, h and ones).

        Arguments:
            matrix: Q, shape (..., k, k), k = outputs + 2 rank + inputs (+ bias + start
                + means).
            rank, inputs, outputs: r, d_in, d_out.
            bias, start, means: whether there is a column of biases, of initial states, of ones.

        Errors: ValueError when the shape does not fit the roles, an entry is not finite, or Q is
        asymmetric or not positive semidefinite (then no vectors have these overlaps).
        """
        roles = Roles(outputs, rank, inputs, bias=bias, start=start, means=means)
        gram = real_array(matrix, "matrix")
        _check_shape(gram, roles, "matrix")
        return cls(check_gram(gram), roles)

    @classmethod
    def from_values(
        cls, rank: int = 1, inputs: int = 1, outputs: int = 1, **values: ArrayLike
    ) -> "Overlaps":
        """Overlaps from their names, all k(k+1)/2 of them: `Overlaps.from_values(zm=0.1, …)`.

        Errors: UnknownOverlap for a wrong name; ValueError for a missing one or an unrealisable Q.
        """
        roles = Roles(outputs=outputs, rank=rank, inputs=inputs)
        vector = _by_name(roles, values, range(roles.size))
        return cls.from_gram(from_vector(vector, roles), rank, inputs, outputs)

    @classmethod
    def from_visible(
        cls, rank: int = 1, inputs: int = 1, outputs: int = 1, **values: ArrayLike
    ) -> "Overlaps":
        """Overlaps whose visible part is given, and whose invisible part is as small as it can be.

            P = S R⁻¹ Sᵀ        Z and V then lie in the span of M and U

        Arguments:
            rank, inputs, outputs: r, d_in, d_out.
            values: all entries of S and R by name: rank 1: zm, zu, vm, vu, mm, mu, uu.

        Errors: UnknownOverlap for a wrong name; ValueError for a missing entry, one of P, or an R
        that is not positive definite.
        """
        roles = Roles(outputs=outputs, rank=rank, inputs=inputs)
        columns = range(roles.left, roles.size)
        whole = from_vector(_by_name(roles, values, columns), roles)
        s, r = whole[: roles.left, roles.left :], whole[roles.left :, roles.left :]
        p = s @ jnp.linalg.solve(check_gram(r), s.T)
        whole = whole.at[: roles.left, : roles.left].set((p + p.T) / 2)
        return cls.from_gram(whole, rank, inputs, outputs)

    def __getitem__(self, name: str) -> Float[Array, "..."]:
        """One overlap by name, or the block of two families: shape (...,) or (..., a, b)."""
        rows, columns = self.roles.locate(name)
        block = _submatrix(self.gram, rows, columns)
        return block[..., 0, 0] if len(rows) * len(columns) == 1 else block

    def block(self, rows: str, columns: str) -> Float[Array, "*batch a b"]:
        """The block of Q between families or vectors, e.g. `block("zv", "mu")` = S."""
        return _submatrix(self.gram, self.roles.columns(rows), self.roles.columns(columns))

    def with_means(self, **means: ArrayLike) -> "Overlaps":
        """The same second moments and given means of the vectors: the column of ones added.

        Arguments: `means` by vector, e.g. `z=0.3, u=-0.1`; zero where left out.

        Errors: ValueError when there are means already, or no vectors have these ones (the squared
        mean exceeds the mean square); UnknownOverlap for a wrong name.
        """
        if self.roles.means:
            raise ValueError("These overlaps have means already; use `replace(zo=…)`.")
        roles, dtype = dataclasses.replace(self.roles, means=True), self.gram.dtype
        column = self.roles.per_column(self._fitting(means), 0, "means")
        mean = jnp.stack([jnp.asarray(x, dtype) for x in [*column, 1]])
        mean = jnp.broadcast_to(mean, (*self.gram.shape[:-2], roles.size))
        gram = jnp.concatenate([self.gram, mean[..., None, :-1]], axis=-2)
        return type(self)(check_gram(jnp.concatenate([gram, mean[..., None]], axis=-1)), roles)

    @property
    def S(self) -> Float[Array, "*batch a b"]:
        """[Z V]ᵀ[M U]/s: what the output of a linear network depends on."""
        return self.gram[..., : self.roles.left, self.roles.left : self.roles.right]

    @property
    def R(self) -> Float[Array, "*batch b b"]:
        """[M U]ᵀ[M U]/s: the Gram matrix of the vectors that span the activity."""
        write = slice(self.roles.left, self.roles.right)
        return self.gram[..., write, write]

    @property
    def P(self) -> Float[Array, "*batch a a"]:
        """[Z V]ᵀ[Z V]/s: the Gram matrix of the vectors that read the activity."""
        return self.gram[..., : self.roles.left, : self.roles.left]

    @property
    def mean(self) -> Float[Array, "*batch k"]:
        """Means of the vectors, the overlaps with the column of ones; zeros where there is none."""
        if self.roles.means:
            return self.gram[..., -1]
        return jnp.zeros(self.gram.shape[:-1], self.gram.dtype)

    @property
    def covariance(self) -> Gram:
        """Q − μμᵀ, of the vectors' entries over neurons (in the scaling s = N)."""
        mean = self.mean
        return self.gram - mean[..., :, None] * mean[..., None, :]

    @property
    def own(self) -> "Overlaps":
        """Those of the network's own vectors: without what a rule holds fixed."""
        if self.roles.own == self.roles:
            return self
        ones = [self.roles.size - 1] * self.roles.means
        kept = [*range(self.roles.right), *ones]
        return Overlaps(_submatrix(self.gram, kept, kept), self.roles.own)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the distinct overlaps, in the order of `vector`."""
        return self.roles.names

    def vector(self) -> Float[Array, "*batch overlap"]:
        """The distinct overlaps as a vector."""
        return _entries(self.gram, *np.array(self.roles.pairs).T)

    def replace(self, **values: ArrayLike) -> "Overlaps":
        """The same overlaps with some set to new values.

        Errors: UnknownOverlap for a wrong name; ValueError when the result is not realisable.
        """
        return type(self)(check_gram(self.with_entries(**values)), self.roles)

    def with_entries(self, **values: ArrayLike) -> Gram:
        """Q with some entries, by name, set to new values; not checked for being realisable.

        Errors: UnknownOverlap for a wrong name.
        """
        gram = self.gram
        for name, value in self._fitting(values).items():
            i, j = self.roles.entry(name)
            gram = gram.at[..., i, j].set(value).at[..., j, i].set(value)
        return gram

    def _fitting(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """Numbers by name, one each or one for each member of the batch."""
        found = {name: real_array(x, name) for name, x in values.items()}
        for name, x in found.items():
            if x.shape not in ((), self.gram.shape[:-2]):
                raise ValueError(
                    f"`{name}` is one number, or one a member of the batch {self.gram.shape[:-2]}; "
                    f"got {shown(x)}."
                )
        return {name: x.astype(self.gram.dtype) for name, x in found.items()}

    def __str__(self) -> str:
        head = f"Overlaps of {self.roles.describe()}"
        if self.gram.ndim != 2:
            return f"{head}, batch {self.gram.shape[:-2]}"
        values = ", ".join(f"{n} {float(x):.4g}" for n, x in zip(self.names, self.vector()))
        return f"{head}: {values}"


def from_vector(vector: Float[Array, "*batch overlap"], roles: Roles) -> Gram:
    """Q from its distinct entries in the order of `roles.names` (the inverse of `vector()`).

    >>> q = net.overlaps
    >>> bool(jnp.allclose(overlaps.from_vector(q.vector(), q.roles), q.gram))
    True
    """
    index = np.zeros((roles.size, roles.size), int)
    for position, (i, j) in enumerate(roles.pairs):
        index[i, j] = index[j, i] = position
    return vector[..., index]


def one_set(overlaps: Any, name: str = "overlaps") -> Overlaps:
    """The overlaps themselves, of one set of vectors.

    Errors: ValueError for anything else, also for those of a batch.

    >>> q = net.overlaps
    >>> overlaps.one_set(q) is q
    True
    """
    component(overlaps, Overlaps, name, "Overlaps.from_gram(matrix), or network.overlaps")
    if overlaps.gram.ndim != 2:
        raise ValueError(
            f"`{name}` is one Gram matrix, not a batch of them, of shape {overlaps.gram.shape}: "
            f"take one, or use jax.vmap."
        )
    return overlaps


def _check_shape(gram: Array, roles: Roles, name: str) -> None:
    if gram.ndim < 2 or gram.shape[-2:] != (roles.size, roles.size):
        raise ValueError(
            f"`{name}`, a Gram matrix for {roles.describe()}, has shape ({roles.size}, "
            f"{roles.size}) (columns {', '.join(roles.labels)}); got {gram.shape}."
        )


def _by_name(
    roles: Roles, values: Mapping[str, ArrayLike], columns: range
) -> Float[Array, " overlap"]:
    """The distinct overlaps from values for those with these columns of Q; zero for the others."""
    numbers = same_dtype(*(number(x, name) for name, x in values.items())) if values else []
    given = dict(zip((tuple(sorted(roles.entry(name))) for name in values), numbers))
    names = {tuple(sorted(pair)): name for pair, name in zip(roles.pairs, roles.names)}
    wanted = [pair for pair in names if pair[1] in columns]
    if missing := [names[pair] for pair in wanted if pair not in given]:
        raise ValueError(f"Every overlap needs a value; missing: {', '.join(missing)}.")
    if extra := [names[pair] for pair in given if pair not in wanted]:
        raise ValueError(f"The others follow from these: leave out {', '.join(extra)}.")
    zero = jnp.zeros((), numbers[0].dtype)
    return jnp.stack([given.get(pair, zero) for pair in names])


def _submatrix(gram: Gram, rows: list[int], columns: list[int]) -> Float[Array, "*batch a b"]:
    return _entries(gram, np.array(rows)[:, None], np.array(columns)[None, :])


@jax.jit
def _entries(gram: Gram, rows: Any, columns: Any) -> Float[Array, "..."]:
    """Entries of Q; one program for all of as many."""
    return gram[..., rows, columns]


def stack(
    *,
    z: ArrayLike,
    v: ArrayLike,
    m: ArrayLike,
    u: ArrayLike,
    b: ArrayLike | None = None,
    h: ArrayLike | None = None,
    means: bool = False,
) -> tuple[Float[Array, "n k"], Roles]:
    """Θ = [Z | V | M | U], then b, h and ones where asked for, and its roles.

    >>> vectors, roles = overlaps.stack(z=net.z, v=net.v, m=net.m, u=net.u)
    >>> vectors.shape, roles == net.roles
    ((40, 4), True)
    """
    given = {"z": z, "v": v, "m": m, "u": u}
    given |= {f: x for f, x in (("b", b), ("h", h)) if x is not None}
    parts = dict(zip(given, same_dtype(*(as_columns(x, f) for f, x in given.items()))))
    shapes = ", ".join(f"{f} {x.shape}" for f, x in parts.items())
    if len({x.shape[0] for x in parts.values()}) > 1:
        raise ValueError(
            f"`z`, `v`, `m`, `u` (and `b`) need one entry per neuron each; got {shapes}."
        )
    if parts["v"].shape[1] != parts["u"].shape[1]:
        raise ValueError(f"`v` and `u` need one column per rank, equally many; got {shapes}.")
    if any(parts[f].shape[1] != 1 for f in "bh" if f in parts):
        raise ValueError(f"`b` and `h` hold one number per neuron, a single column; got {shapes}.")
    counts = (parts[f].shape[1] for f in "zvm")
    roles = Roles(*counts, bias="b" in parts, start="h" in parts, means=flag(means, "means"))
    if means:
        parts["o"] = jnp.ones_like(parts["z"][:, :1])
    return jnp.concatenate(list(parts.values()), axis=1), roles

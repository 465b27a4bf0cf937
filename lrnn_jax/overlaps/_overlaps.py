"""The overlaps of a network's loading vectors: its Gram matrix, with names."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._types import Gram, as_columns, as_float, as_scale, check_finite
from lrnn_jax.overlaps._geometry import check_gram
from lrnn_jax.overlaps._roles import Roles


class Overlaps(eqx.Module):
    """All scalar products of a network's loading vectors, Q = ΘᵀΘ/s with Θ = [Z | V | M | U].

    `q["vu"]` is one overlap (in either order, "uv" too), `q["v1u2"]` one of a higher-rank network,
    where `q["vu"]` is the whole block VᵀU/s. Leading axes (epochs, cells) are allowed everywhere.
    This constructor takes Q as it is; `from_gram` and `from_vectors` check what they are given.

    Arguments:
        gram: Q, shape (..., k, k), symmetric positive semidefinite; no unit (activity is
            dimensionless, time is in membrane time constants).
        roles: what each of the k columns is.

    Source: [LR] sec. 2; blocks S, R, P as in the theory: S = [Z V]ᵀ[M U]/s is what a linear
    network's output depends on, R = [M U]ᵀ[M U]/s and P = [Z V]ᵀ[Z V]/s.
    """

    gram: Float[Array, "*batch k k"]
    roles: Roles = eqx.field(static=True)

    @classmethod
    def from_vectors(
        cls, *, z: ArrayLike, v: ArrayLike, m: ArrayLike, u: ArrayLike, scale: ArrayLike
    ) -> "Overlaps":
        """Q = ΘᵀΘ/s from loading vectors.

        Arguments:
            z, v, m, u: columns, shapes (N, d_out), (N, r), (N, d_in), (N, r); (N,) is one column.
            scale: s; N for vectors with entries of order 1 [LR], 1 for order 1/√N [CL].

        Errors: ValueError when the numbers of rows, or the columns of v and u, differ.
        """
        theta, roles = stack(z=z, v=v, m=m, u=u)
        return cls(theta.T @ theta / as_scale(scale).astype(theta.dtype), roles)

    @classmethod
    def from_gram(
        cls, matrix: ArrayLike, rank: int = 1, inputs: int = 1, outputs: int = 1
    ) -> "Overlaps":
        """Overlaps from a Gram matrix, columns in the order Z, V, M, U.

        Arguments:
            matrix: Q, shape (..., k, k), k = outputs + 2 rank + inputs.
            rank, inputs, outputs: r, d_in, d_out.

        Errors: ValueError when the shape does not fit the roles, an entry is not finite, or Q is
        asymmetric or not positive semidefinite (then no vectors have these overlaps).
        """
        roles, gram = Roles(outputs=outputs, rank=rank, inputs=inputs), as_float(matrix)
        if gram.ndim < 2 or gram.shape[-2:] != (roles.size, roles.size):
            raise ValueError(
                f"A Gram matrix for {roles.describe()} has shape ({roles.size}, {roles.size}) "
                f"(columns {', '.join(roles.labels)}); got {gram.shape}."
            )
        check_finite(gram, "matrix")
        return cls(check_gram(gram), roles)

    @classmethod
    def from_values(
        cls, rank: int = 1, inputs: int = 1, outputs: int = 1, **values: ArrayLike
    ) -> "Overlaps":
        """Overlaps from their names, all k(k+1)/2 of them: `Overlaps.from_values(zm=0.1, …)`.

        Errors: UnknownOverlap for a wrong name; ValueError for a missing one or an unrealisable Q.
        """
        roles = Roles(outputs=outputs, rank=rank, inputs=inputs)
        entries = {frozenset(roles.entry(name)): value for name, value in values.items()}
        missing = [n for n, p in zip(roles.names, roles.pairs) if frozenset(p) not in entries]
        if missing:
            raise ValueError(f"Every overlap needs a value; missing: {', '.join(missing)}.")
        vector = jnp.stack([as_float(entries[frozenset(pair)]) for pair in roles.pairs])
        return cls.from_gram(from_vector(vector, roles), rank, inputs, outputs)

    def __getitem__(self, name: str) -> Float[Array, "..."]:
        """One overlap by name, or the block of two families: shape (...,) or (..., a, b)."""
        rows, columns = self.roles.locate(name)
        block = _submatrix(self.gram, rows, columns)
        return block[..., 0, 0] if len(rows) * len(columns) == 1 else block

    def block(self, rows: str, columns: str) -> Float[Array, "*batch a b"]:
        """The block of Q between families or vectors, e.g. `block("zv", "mu")` = S."""
        return _submatrix(self.gram, self.roles.columns(rows), self.roles.columns(columns))

    @property
    def S(self) -> Float[Array, "*batch a b"]:
        """[Z V]ᵀ[M U]/s: what the output of a linear network depends on."""
        return self.gram[..., : self.roles.left, self.roles.left :]

    @property
    def R(self) -> Float[Array, "*batch b b"]:
        """[M U]ᵀ[M U]/s: the Gram matrix of the vectors that span the activity."""
        return self.gram[..., self.roles.left :, self.roles.left :]

    @property
    def P(self) -> Float[Array, "*batch a a"]:
        """[Z V]ᵀ[Z V]/s: the Gram matrix of the vectors that read the activity."""
        return self.gram[..., : self.roles.left, : self.roles.left]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the distinct overlaps, in the order of `vector`."""
        return self.roles.names

    def vector(self) -> Float[Array, "*batch overlap"]:
        """The distinct overlaps as a vector, ordered and labelled by `names`."""
        rows, columns = np.array(self.roles.pairs).T
        return self.gram[..., rows, columns]

    def replace(self, **values: ArrayLike) -> "Overlaps":
        """The same overlaps with some set to new values.

        Errors: UnknownOverlap for a wrong name; ValueError when the result is not realisable.
        """
        gram = self.gram
        for name, value in values.items():
            i, j = self.roles.entry(name)
            value = as_float(value).astype(gram.dtype)
            gram = gram.at[..., i, j].set(value).at[..., j, i].set(value)
        return type(self)(check_gram(gram), self.roles)

    def __str__(self) -> str:
        head = f"Overlaps of {self.roles.describe()}"
        if self.gram.ndim != 2:
            return f"{head}, batch {self.gram.shape[:-2]}"
        values = ", ".join(f"{n} {float(x):.4g}" for n, x in zip(self.names, self.vector()))
        return f"{head}: {values}"


def from_vector(vector: Float[Array, "*batch overlap"], roles: Roles) -> Gram:
    """Q from its distinct entries in the order of `roles.names` (the inverse of `vector()`)."""
    index = np.zeros((roles.size, roles.size), int)
    for position, (i, j) in enumerate(roles.pairs):
        index[i, j] = index[j, i] = position
    return vector[..., index]


def _submatrix(gram: Gram, rows: list[int], columns: list[int]) -> Float[Array, "*batch a b"]:
    return gram[..., np.array(rows)[:, None], np.array(columns)]


def stack(
    *, z: ArrayLike, v: ArrayLike, m: ArrayLike, u: ArrayLike
) -> tuple[Float[Array, "n k"], Roles]:
    """Θ = [Z | V | M | U] and its roles.

    Errors: ValueError when the numbers of rows, or the columns of v and u, differ.
    """
    parts = {f: as_columns(x, f) for f, x in zip("zvmu", (z, v, m, u))}
    shapes = ", ".join(f"{f} {x.shape}" for f, x in parts.items())
    if len({x.shape[0] for x in parts.values()}) > 1:
        raise ValueError(f"Loading vectors need one entry per neuron, all of them; got {shapes}.")
    if parts["v"].shape[1] != parts["u"].shape[1]:
        raise ValueError(f"v and u need one column per rank, equally many; got {shapes}.")
    roles = Roles(outputs=parts["z"].shape[1], rank=parts["v"].shape[1], inputs=parts["m"].shape[1])
    return jnp.concatenate(list(parts.values()), axis=1), roles

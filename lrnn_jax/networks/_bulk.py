"""Recurrent weights that do not learn, beside those that do: the random bulk of a network."""

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import scipy
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from lrnn_jax._checks import flag, number, one_key, real_array, shown, whole
from lrnn_jax._readable import AbstractReadable
from lrnn_jax._types import cast, is_traced


class BulkLaw(NamedTuple):
    """The law of a random matrix gJ, as far as infinitely many neurons see it.

    Fields: g, strength; symmetric, whether J = Jᵀ.

    >>> law = over.bulk.law()
    >>> bool(abs(law.g - 0.5) < 0.1), law.symmetric
    (True, False)
    """

    g: Any
    symmetric: bool


class AbstractBulk(AbstractReadable):
    """Recurrent weights gJ of a network that do not learn, given by what they do to rates.

        h_{t+1} = h_t + dt (−h_t + g J φ(h_t) + (1/s) U Vᵀ φ(h_t) + M x_t)

    Class variable:
        few: whether the neurons of its network stand for more of them, so that only rules that
            commute with linear maps of the neurons are exact on it.

    >>> bulk = lrnn.RandomBulk(0.5, key=key)
    >>> isinstance(bulk, networks.AbstractBulk), bulk.few
    (True, False)
    """

    few: ClassVar[bool] = False

    @abstractmethod
    def made(self, n: int, dtype: Any) -> "AbstractBulk":
        """The bulk of n neurons, with weights of this dtype: drawn now, where it was not yet.

        Errors: ValueError for one of another number of neurons.
        """

    @abstractmethod
    def product(self, rates: Float[Array, "*batch n"]) -> Float[Array, "*batch n"]:
        """g J r of every trial."""

    @abstractmethod
    def law(self) -> BulkLaw:
        """What infinitely many neurons see of it.

        Errors: ValueError, with the reason, for a matrix that is no draw of a law that is known.
        """


class SparseMatrix(eqx.Module):
    """A square matrix by its entries other than zero; A.T and x @ A are as for an array.

    Arguments:
        values: of the entries, shape (entry,).
        places: row and column of each, shape (entry, 2).
        size: N.

    >>> diagonal = networks.SparseMatrix(np.ones(3), np.array([[0, 0], [1, 1], [2, 2]]), 3)
    >>> print(jnp.arange(3.0) @ diagonal.T)
    [0. 1. 2.]
    """

    values: Float[Array, " entry"]
    places: Int[Array, "entry 2"]
    size: int = eqx.field(static=True)

    def __init__(self, values: ArrayLike, places: ArrayLike, size: int):
        self.values, self.size = real_array(values, "values"), whole(size, "size")
        given = real_array(places, "places", 0, self.size - 1)
        self.places = given.astype(jnp.int32)
        whole_numbers = is_traced(given) or bool((given == self.places.astype(given.dtype)).all())
        if given.shape != (*self.values.shape, 2) or not whole_numbers:
            raise ValueError(
                f"`places` holds row and column, below {self.size}, of each of the "
                f"{self.values.size} values, shape ({self.values.size}, 2); got {shown(places)}."
            )

    def __len__(self) -> int:
        return self.size

    @property
    def T(self) -> "SparseMatrix":
        """Aᵀ."""
        return eqx.tree_at(lambda a: a.places, self, self.places[:, ::-1])

    def __rmatmul__(self, x: Float[Array, "*batch n"]) -> Float[Array, "*batch n"]:
        from jax.experimental import sparse  # here and below: it takes long to import

        transposed = sparse.BCOO((self.values, self.T.places), shape=(self.size, self.size))
        return (transposed @ x.reshape(-1, self.size).T).T.reshape(x.shape)


def as_matrix(j: Any) -> Float[Array, "n n"] | SparseMatrix:
    """J as a square array, or sparse where it is given so (of scipy, or BCOO of JAX)."""
    from jax.experimental import sparse

    if isinstance(j, SparseMatrix):
        return j
    if scipy.sparse.issparse(j):
        given = j.tocoo()
        values, places, shape = given.data, np.stack([given.row, given.col], axis=1), given.shape
    elif isinstance(j, sparse.BCOO) and j.n_batch == j.n_dense == 0:
        values, places, shape = j.data, j.indices, j.shape
    else:
        values = real_array(j, "j", advice="draw it again, or look for missing data")
        places, shape = None, values.shape
    if len(shape) != 2 or shape[0] != shape[1] or 0 in shape:
        raise ValueError(f"`j` must be a square matrix, shape (N, N); got shape {tuple(shape)}.")
    return values if places is None else SparseMatrix(real_array(values, "j"), places, shape[0])


def on_host(j: Float[Array, "n n"] | SparseMatrix) -> Any:
    """J as a matrix of scipy.sparse."""
    if not isinstance(j, SparseMatrix):
        return scipy.sparse.csr_matrix(np.asarray(j))
    places = tuple(np.asarray(j.places).T)
    return scipy.sparse.coo_matrix((np.asarray(j.values), places), (j.size, j.size)).tocsr()


def looks_random(matrix: Any, symmetric: bool) -> bool:
    """Whether it is symmetric; a matrix of scipy.sparse.

    Errors: ValueError for one that cannot be a draw of independent entries, symmetric or not.
    """
    n, spread = matrix.shape[0], np.linalg.norm(matrix.data) / matrix.shape[0] ** 0.5
    if not spread:
        return symmetric
    alike = float(matrix.multiply(matrix.T).sum()) / (n * spread**2)
    own = float(matrix.diagonal().sum()) / (n * spread)
    x = np.random.default_rng(0).normal(size=n)
    for _ in range(30):  # towards the largest singular value
        x = matrix.T @ (matrix @ (x / np.linalg.norm(x)))
    largest = float(np.linalg.norm(x)) ** 0.5 / spread
    symmetric = symmetric or bool(alike > 1 - 1e-6)
    fits = symmetric or abs(alike) < 10 / n
    if not fits or abs(own) > 10 / n or largest > 2.2 + 8 * n ** (-2 / 3):
        raise ValueError(
            f"`network` has a limit of infinitely many neurons over a bulk, or from a W_0, of "
            f"independent entries, symmetric or not; this one has correlation {alike:.2g} with its "
            f"transposed, a trace of {own:.2g} N and a largest singular value of {largest:.3g} (at "
            f"most 2 if random) in units of its spread: let the network learn by simulation."
        )
    return symmetric


class RandomBulk(AbstractBulk):
    """A random matrix gJ that stays as it is, beside the low rank that learns.

        W = g J + (1/s) U Vᵀ,      J_ij ~ N(0, 1/N) independent, or of J = Jᵀ (i < j)

    The eigenvalues of gJ fill a disc of radius g; of a symmetric one, the interval of ±2g. J is
    drawn when the network is made, in the dtype of its weights. What infinitely many neurons do
    over it, learning included, says `reduce(network, words=…)`.

    Arguments:
        g: strength, at least 0.
        j: J itself in place of a draw, entries of variance 1/N, shape (N, N): an array; or sparse
            (`scipy.sparse`, or `BCOO` of JAX), multiplied without its zeros.
        key: draws it.
        symmetric: whether J = Jᵀ.

    Errors: ValueError for g < 0, both or neither of `j` and `key`, a J that is not square or
    finite, or not symmetric where it is said to be; when the network is made, for another N.

    Source: Sompolinsky, Crisanti & Sommers 1988; with a low rank, Mastrogiuseppe & Ostojic 2018.

    >>> bulk = lrnn.RandomBulk(0.6, key=key)
    >>> drawn = lrnn.LowRankRNN(net.z, net.v, net.m, net.u, bulk=bulk, dt=0.1)
    >>> drawn.bulk.j.shape
    (40, 40)
    """

    g: Float[Array, ""]
    j: Float[Array, "n n"] | SparseMatrix | None
    key: PRNGKeyArray | None
    symmetric: bool = eqx.field(static=True)

    def __init__(
        self,
        g: ArrayLike,
        j: Any = None,
        *,
        key: PRNGKeyArray | None = None,
        symmetric: bool = False,
    ):
        self.g, self.symmetric = number(g, "g", 0), flag(symmetric, "symmetric")
        if (j is None) == (key is None):
            came = "neither" if j is None else "both"
            raise ValueError(
                f"`j` is the matrix, shape (N, N), or `key` draws it: give one of the two; got "
                f"{came}."
            )
        self.key = None if key is None else one_key(key)
        self.j = None if j is None else as_matrix(j)
        if self.j is None or not self.symmetric or is_traced(self.j):
            return
        matrix = on_host(self.j)
        size, apart = (np.linalg.norm(x.data) for x in (matrix, matrix - matrix.T))
        if apart > 1e-6 * size:
            raise ValueError(
                f"`j` must be symmetric where `symmetric` is true; got ‖J − Jᵀ‖ = {apart:.3g} with "
                f"‖J‖ = {size:.3g}: give (J + J.T) / 2**0.5, or leave `symmetric` out."
            )

    def made(self, n: int, dtype: Any) -> "RandomBulk":
        if self.j is None:
            assert self.key is not None
            x = jr.normal(self.key, (n, n), dtype)
            j = (x + x.T) / (2 * n) ** 0.5 if self.symmetric else x / n**0.5
            return RandomBulk(self.g, j.astype(dtype), symmetric=self.symmetric)
        if (size := len(self.j)) != n:
            raise ValueError(
                f"`bulk` has a J of {size} neurons, and the loading vectors have {n}: give one of "
                f"shape ({n}, {n}), or a `key` that draws it."
            )
        return eqx.tree_at(lambda x: x.j, self, cast(self.j, dtype))

    def product(self, rates: Float[Array, "*batch n"]) -> Float[Array, "*batch n"]:
        assert self.j is not None, "a network makes its bulk"
        return self.g.astype(rates.dtype) * (rates @ self.j.T)

    def law(self) -> BulkLaw:
        """g ‖J‖/√N (Frobenius), and whether it is symmetric; the matrix has to look random."""
        assert self.j is not None, "a network makes its bulk"
        values = jax.tree.leaves(self.j)[0]
        n = np.sqrt(len(self.j)).astype(values.dtype)
        g = self.g.astype(values.dtype) * jnp.linalg.norm(values) / n
        if is_traced(self.j):
            return BulkLaw(g, self.symmetric)
        return BulkLaw(g, looks_random(on_host(self.j), self.symmetric))

    def matrix(self, n: int, dtype: Any = None) -> Float[Array, "n n"]:
        """g J of n neurons: what a `DenseRNN` may start from.

        Arguments: N; the dtype, JAX's default one if left out.
        """
        kind = jnp.result_type(float if dtype is None else dtype)
        return self.made(whole(n, "n"), kind).product(jnp.eye(n, dtype=kind)).T

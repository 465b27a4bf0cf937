"""What gradient flow conserves: the memory that training cannot erase."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, overload

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lrnn_jax._checks import component
from lrnn_jax._readable import AbstractReadable
from lrnn_jax._types import Gram, is_traced
from lrnn_jax.overlaps._geometry import root
from lrnn_jax.overlaps._overlaps import AbstractOverlapModel, Overlaps
from lrnn_jax.overlaps._roles import Roles


class MatrixInvariant(eqx.Module):
    """What gradient flow conserves of a dense network: a whole matrix, neuron by neuron.

    Arguments:
        matrix: K, shape (N, N).
        conserved: whether every task's gradient flow conserves it.
        why: one line that says why it holds or not.

    >>> found = lrnn.invariants(dense)
    >>> found.matrix.shape, found.conserved, float(found.drift(found))
    ((3, 3), True, 0.0)
    """

    matrix: Float[Array, "*batch n n"]
    conserved: bool = eqx.field(static=True)
    why: str = eqx.field(static=True)

    def drift(self, other: "MatrixInvariant") -> Float[Array, "*batch"]:
        """Largest absolute change of an entry against `other`; 0 when nothing is conserved."""
        change = jnp.max(jnp.abs(self.matrix - other.matrix), axis=(-2, -1))
        return change if self.conserved else jnp.zeros_like(change)


class AbstractMatrixModel(AbstractReadable):
    """What has neurons, and recurrent weights between all of them.

    >>> [isinstance(model, overlaps.AbstractMatrixModel) for model in (dense, net)]
    [True, False]
    """

    @abstractmethod
    def matrix_invariant(self, rates: Mapping[str, float]) -> MatrixInvariant:
        """What gradient flow conserves, with rates by array of weights.

        Errors: ValueError for rates of other names.
        """


class Invariants(eqx.Module):
    """Functions of the overlaps that gradient flow conserves, and whether it does so here.

    Arguments:
        spectrum: eigenvalues of J D⁻¹ Q, ascending, shape (..., k); J = diag(+1 on Z V, −1 on M U),
            D the learning rates of the columns. NaN when a column is frozen.
        matrix: J D⁻¹ Q, which moves by similarity, shape (..., k, k).
        balance: UᵀU/(s d_u) − VᵀV/(s d_v), shape (..., r, r) (rank 1: uu − vv).
        spectrum_conserved: whether every task's gradient flow conserves the spectrum.
        balance_conserved: likewise for the balance.
        why: one line a kind of invariant, saying why it holds or not.

    >>> found = lrnn.invariants(net)
    >>> found.spectrum_conserved, found.balance_conserved
    (True, True)
    """

    spectrum: Float[Array, "*batch k"]
    matrix: Float[Array, "*batch k k"]
    balance: Float[Array, "*batch r r"]
    spectrum_conserved: bool = eqx.field(static=True)
    balance_conserved: bool = eqx.field(static=True)
    why: tuple[str, str] = eqx.field(static=True)

    @eqx.filter_jit
    def drift(self, other: "Invariants") -> Float[Array, "*batch"]:
        """Largest absolute change, against `other`, of what is conserved (0 when nothing is)."""
        with jax.numpy_rank_promotion("allow"):
            spectrum = jnp.max(jnp.abs(self.spectrum - other.spectrum), axis=-1)
        return self._largest(spectrum, other)

    @eqx.filter_jit
    def missed(self, other: "Invariants") -> Float[Array, "*batch"]:
        """What J D⁻¹ Q and the balance would have to change by to be as in `other`.

            max_i σ_min(J D⁻¹ Q − λ_i),      λ: the other's spectrum

        At most the drift, and of the order of an error of Q also where J D⁻¹ Q is defective: its
        eigenvalues then move by the square root of any error, rounding too.
        """
        eye = jnp.eye(self.matrix.shape[-1], dtype=self.matrix.dtype)
        with jax.numpy_rank_promotion("allow"):
            shifted = self.matrix[..., None, :, :] - other.spectrum[..., None, None] * eye
        smallest = jnp.linalg.svd(shifted, compute_uv=False)[..., -1]
        return self._largest(jnp.max(smallest, axis=-1), other)

    def _largest(self, spectrum: Float[Array, "*batch"], other: "Invariants") -> Array:
        """The larger one of two changes, as far as these are conserved."""
        with jax.numpy_rank_promotion("allow"):
            balance = jnp.max(jnp.abs(self.balance - other.balance), axis=(-2, -1))
        largest = jnp.zeros_like(balance)
        largest = jnp.maximum(largest, spectrum) if self.spectrum_conserved else largest
        return jnp.maximum(largest, balance) if self.balance_conserved else largest


@overload
def invariants(
    model: AbstractOverlapModel, *, rates: Mapping[str, float] | None = None
) -> Invariants: ...
@overload
def invariants(
    model: AbstractMatrixModel, *, rates: Mapping[str, float] | None = None
) -> MatrixInvariant: ...
def invariants(
    model: AbstractOverlapModel | AbstractMatrixModel,
    *,
    rates: Mapping[str, float] | None = None,
) -> Invariants | MatrixInvariant:
    """The conserved quantities of gradient flow on any loss of the output.

    For linear φ, JΓ = −ΓJ with J = diag(+1 on [Z V], −1 on [M U]), so X = J D⁻¹ Q moves by
    similarity and its k eigenvalues are constant:

        dX/dt = −J D⁻¹ (D Γ Q + Q Γ D) = Γ D X − X Γ D.

    For D = I they are the non-zero eigenvalues (over s) of K = [Z V][Z V]ᵀ − [M U][M U]ᵀ. For any
    φ the output is unchanged by U → UC, V → VC⁻ᵀ, so UᵀU/d_u − VᵀV/d_v is constant. Finite steps
    break the first kind at O(η²) per step; weight decay, momentum, noise and Adam break both.
    Which are conserved does not depend on the task: any deterministic loss of the output will do.

    The output of a linear dense network is unchanged by W → GWG⁻¹, W_in → GW_in, W_out → W_outG⁻¹,
    for any invertible G, so that all N×N entries are constant, at any rank, of

        K = (WWᵀ − WᵀW)/d_w + W_in W_inᵀ/d_in − W_outᵀ W_out/d_out + bbᵀ/d_b + h_0h_0ᵀ/d_h

    Arguments:
        model: a network, a reduction, or bare `Overlaps` (linear, all trainable). Its frozen
            columns have d = 0 and destroy the invariants they take part in; likewise frozen arrays
            of a dense network.
        rates: learning-rate multipliers by family or column (default 1), as in `Descent`; by array
            for a dense network.

    Returns: `Invariants`, with leading axes of the overlaps; `MatrixInvariant` of a dense network.

    Source: ours (the rank-1 balance: [LR]).

    >>> flow = lrnn.learn(reduction, task, lrnn.Flow(0.05), epochs=20)
    >>> before, after = lrnn.invariants(net).spectrum, lrnn.invariants(flow.model).spectrum
    >>> bool(abs(after - before).max() < 1e-7)
    True
    """
    kinds = AbstractOverlapModel, AbstractMatrixModel
    component(model, kinds, "model", "a network, a reduction, or Overlaps")
    rates = component({} if rates is None else rates, Mapping, "rates", '{"m": 0.0}')
    if isinstance(model, AbstractMatrixModel):
        return model.matrix_invariant(rates)
    bulk = model.bulk is not None
    return invariants_of(model.overlaps, rates, model.frozen, linear=model.linear, bulk=bulk)


def invariants_of(
    overlaps: Overlaps,
    rates: Mapping[str, float],
    frozen: tuple[str, ...],
    *,
    linear: bool,
    bulk: bool = False,
) -> Invariants:
    """`invariants` from what they depend on: overlaps, rates, frozen columns, linearity, a bulk.

    >>> found = overlaps.invariants_of(net.overlaps, {"u": 0.5}, (), linear=True)
    >>> found.spectrum.shape
    (4,)
    """
    overlaps = overlaps.own
    roles = overlaps.roles
    if is_traced(rates):
        raise ValueError("`rates` decide which quantities are conserved: pass them untraced.")
    d = np.array(roles.per_column(rates), float)
    d[np.array(roles.frozen_columns(frozen))] = 0.0
    trainable, balanced, reasons = _holds(roles, d, linear, bulk)
    safe = np.where(d > 0, d, 1.0)
    d_v, d_u = float(safe[roles.slices["v"]][0]), float(safe[roles.slices["u"]][0])
    spectrum, matrix, balance = _conserved(overlaps.gram, roles, safe, (d_v, d_u))
    return Invariants(
        spectrum=spectrum if trainable else jnp.full_like(spectrum, jnp.nan),
        matrix=matrix,
        balance=balance,
        spectrum_conserved=linear and trainable and not bulk,
        balance_conserved=balanced,
        why=reasons,
    )


@partial(jax.jit, static_argnames="roles")
def _conserved(
    gram: Gram, roles: Roles, rates: Any, of_vu: tuple[Any, Any]
) -> tuple[Array, Array, Array]:
    """The spectrum of J D⁻¹ Q, this matrix, and the balance; rates d, and those of V and of U."""
    v, u = (gram[..., s, s] for s in (roles.slices["v"], roles.slices["u"]))
    sign = (_sign(roles) / rates).astype(gram.dtype)
    matrix = jnp.einsum("i,...ij->...ij", sign, gram)
    return signed_spectrum(gram, roles, rates), matrix, u / of_vu[1] - v / of_vu[0]


def signed_spectrum(
    gram: Gram, roles: Roles, rates: Float[Array | np.ndarray, " k"]
) -> Float[Array, "*batch k"]:
    """Eigenvalues of J D⁻¹ Q, ascending: those of the symmetric A J D⁻¹ Aᵀ with AᵀA = Q."""
    a = root(gram)
    weights = jnp.diag((_sign(roles) / rates).astype(a.dtype))
    return jnp.linalg.eigvalsh(a @ weights @ jnp.swapaxes(a, -1, -2))


def _sign(roles: Roles) -> Float[np.ndarray, " k"]:
    """The diagonal of J."""
    return np.where(np.arange(roles.size) < roles.left, 1.0, -1.0)


def _holds(
    roles: Roles, d: Float[np.ndarray, " k"], linear: bool, bulk: bool
) -> tuple[bool, bool, tuple[str, str]]:
    """Whether all columns learn, whether the balance holds, and the reasons."""
    frozen = [label for label, rate in zip(roles.labels, d) if rate <= 0]
    if not linear:
        first = "spectrum of J D⁻¹ Q: lost, the activation is not linear (Γ couples M U to itself)"
    elif bulk:
        first = "spectrum of J D⁻¹ Q: lost, a bulk that does not learn (its trace is conserved)"
    elif frozen:
        first = f"spectrum of J D⁻¹ Q: lost, frozen columns ({', '.join(frozen)})"
    else:
        first = "spectrum of J D⁻¹ Q: conserved, linear activation and every column learns"
    d_v, d_u = d[roles.slices["v"]], d[roles.slices["u"]]
    balanced = bool((d_v == d_v[0]).all() and (d_u == d_u[0]).all() and min(d_v[0], d_u[0]) > 0)
    second = "UᵀU/d_u − VᵀV/d_v: " + (
        "conserved, the output is unchanged by U → UC, V → VC⁻ᵀ"
        if balanced
        else "lost, columns of U or V are frozen or learn at different rates"
    )
    return not frozen, balanced, (first, second)


def conserved_weights(
    vectors: Float[Array, "n k"], left: int, scale: Any = 1.0
) -> Float[Array, "n n"]:
    """K = ([Z V][Z V]ᵀ − [M U][M U]ᵀ)/s: what gradient flow conserves neuron by neuron.

    Its non-zero eigenvalues are those of JQ.

    Arguments:
        vectors: Θ = [Z | V | M | U] of a linear network, shape (N, k).
        left: how many of the columns are of Z and V.
        scale: s.

    Source: [LR] sec. 3.

    >>> vectors = jnp.eye(6)[:, :4]
    >>> print(jnp.diag(overlaps.conserved_weights(vectors, 2)))
    [ 1.  1. -1. -1.  0.  0.]
    """
    read, write = vectors[:, :left], vectors[:, left:]
    return (read @ read.T - write @ write.T) / scale

"""What label noise does to the overlaps: their mean and covariance over learning."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lrnn_jax._types import small_matmul
from lrnn_jax.learning._checks import check_counts
from lrnn_jax.learning._coordinates import GramCoordinates
from lrnn_jax.learning._descent import Descent
from lrnn_jax.overlaps import Overlaps, Roles, from_vector
from lrnn_jax.reduced import ReducedRNN
from lrnn_jax.tasks import AbstractFilter, impulse_response


class NoiseDrift(eqx.Module):
    """Mean and covariance of the overlaps of many runs with independent label noise.

    Arguments:
        epochs: recorded epochs, shape (record,); 0, n, 2n, … and the last.
        mean: μ, shape (record, overlap), ordered as `names`.
        covariance: P, shape (record, overlap, overlap).
        derivative: A of the last epoch, shape (overlap, overlap).
        roles: the columns of Q.
    """

    epochs: Int[Array, " record"]
    mean: Float[Array, "record overlap"]
    covariance: Float[Array, "record overlap overlap"]
    derivative: Float[Array, "overlap overlap"]
    roles: Roles = eqx.field(static=True)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the overlaps, in the order of the last axes."""
        return self.roles.names

    @property
    def overlaps(self) -> Overlaps:
        """The mean overlaps over epochs, with names."""
        return Overlaps(from_vector(self.mean, self.roles), self.roles)

    @property
    def stiffest(self) -> float:
        """The lowest eigenvalue of A: what an epoch does to the overlap that learns fastest.

        At −1 learning becomes unstable. Near it (below about −0.5) fluctuations along the way
        change how stable it is, are not Gaussian, and exceed the theory's.
        """
        return float(np.linalg.eigvals(np.asarray(self.derivative)).real.min())

    def __getitem__(self, name: str) -> Float[Array, "..."]:
        """The mean of one overlap over the recorded epochs, by name."""
        return self.overlaps[name]

    @property
    def std(self) -> Float[Array, "record overlap"]:
        """Standard deviation of each overlap over runs."""
        return jnp.sqrt(jnp.maximum(jnp.diagonal(self.covariance, axis1=-2, axis2=-1), 0))


def noise_drift(
    reduction: ReducedRNN,
    task: AbstractFilter,
    method: Descent,
    *,
    epochs: int,
    record: int = 1,
) -> NoiseDrift:
    """The drift of overlaps under label noise, by moment closure, without a single noisy run.

    One step takes q to u(q, g), exact and quadratic in the loss gradient g = ∂L/∂S, which label
    noise ξ makes random: g = ḡ(q) + g_ξ, E g_ξ g_ξᵀ = C = 4 dt² σ² Σ_t ∂y_t ∂y_tᵀ. Hence

        F(q) = E u = u(q, ḡ) + ½ ∂²u/∂g² : C                      (exact: η² E[ΓQΓ] is in it)
        μ' = F(μ) + ½ ∂²F : P,      P' = A P Aᵀ + B C Bᵀ,      A = ∂F, B = ∂u/∂g

    all at μ. On a manifold of solutions the noise does not average out: without P even the signs
    of some drifts are wrong. The order in P is the leading one; it is not enough near the edge of
    stability (`NoiseDrift.stiffest`).

    Arguments:
        reduction: linear, at epoch 0.
        task: a filter task with label noise σ.
        method: `Descent`; its lr (also a schedule), rates and weight decay.
        epochs: number of updates.
        record: keep every n-th epoch (and always the last).

    Returns: `NoiseDrift`, to be compared with many runs of
    `learn(reduction, task, method, key=…)`.

    Errors: ValueError for a nonlinear reduction, a task without label noise, and a method with
    momentum or clipping.

    Source: ours.
    """
    if not isinstance(task, AbstractFilter) or task.label_noise is None:
        raise ValueError("`task` must be a filter task with label noise, e.g. label_noise=0.1.")
    if not reduction.activation.linear:
        raise ValueError("The noise theory is for linear networks; this reduction is nonlinear.")
    if not isinstance(method, Descent) or method.momentum is not None or method.clip is not None:
        raise ValueError(
            f"The noise theory follows Descent without momentum and clipping; got {method}."
        )
    check_counts(epochs=(epochs, 0), record=(record, 1))
    task.check(reduction)
    return _drift(_Step(reduction, task, method), epochs, record)


@eqx.filter_jit
def _drift(step: "_Step", epochs: int, record: int) -> NoiseDrift:
    """All epochs as one program."""
    start = step.reduction.overlaps.vector()
    moments = start, jnp.zeros((start.size, start.size), start.dtype)

    def advance(moments: _Moments, epoch: Array) -> tuple[_Moments, _Moments]:
        return step.moments(*moments, epoch), moments

    def keep(moments: _Moments, first: Array) -> tuple[_Moments, _Moments]:
        end, _ = jax.lax.scan(advance, moments, first + jnp.arange(record))
        return end, moments

    whole, rest = divmod(epochs, record)
    moments, history = jax.lax.scan(keep, moments, record * jnp.arange(whole))
    parts = [history]
    if rest:
        parts.append(jax.tree.map(lambda a: a[None], moments))
        moments, _ = jax.lax.scan(advance, moments, whole * record + jnp.arange(rest))
    parts.append(jax.tree.map(lambda a: a[None], moments))
    mean, covariance = jax.tree.map(lambda *a: jnp.concatenate(a), *parts)
    recorded = jnp.minimum(jnp.arange(mean.shape[0]) * record, epochs)
    derivative = jax.jacfwd(lambda q: step.expected(q, epochs))(mean[-1])
    return NoiseDrift(recorded, mean, covariance, derivative, step.reduction.roles)


_Moments = tuple[Float[Array, " overlap"], Float[Array, "overlap overlap"]]


class _Step(eqx.Module):
    """One epoch of noisy descent, as a map of the overlap vector q; g is ∂L/∂S as a vector."""

    reduction: ReducedRNN
    task: AbstractFilter
    method: Descent

    def moments(
        self, mean: Float[Array, " overlap"], p: Float[Array, "overlap overlap"], epoch: Any
    ) -> _Moments:
        """μ and P one epoch later."""

        def expected(q: Array) -> Array:
            return self.expected(q, epoch)

        def along(direction: Array, image: Array) -> tuple[Array, Array]:
            """A e_j and ∂²F[e_j, P e_j]."""
            return jax.jvp(lambda q: jax.jvp(expected, (q,), (direction,))[1], (mean,), (image,))

        columns, curvature = jax.vmap(along)(jnp.eye(mean.size, dtype=mean.dtype), p)
        a = columns.T
        slope, covariance = self.gradient(mean)
        b = jax.jacfwd(lambda g: self.update(mean, g, epoch))(slope)
        diffusion = b @ covariance @ b.T
        return expected(mean) + jnp.sum(curvature, axis=0) / 2, a @ p @ a.T + diffusion

    def expected(self, q: Float[Array, " overlap"], epoch: Any) -> Float[Array, " overlap"]:
        """F(q) = E u."""
        slope, covariance = self.gradient(q)
        hessian = jax.jacfwd(jax.jacfwd(lambda g: self.update(q, g, epoch)))(slope)
        kick = jnp.einsum("iab,ab->i", hessian, covariance) / 2
        return self.update(q, slope, epoch) + kick

    def update(
        self, q: Float[Array, " overlap"], slope: Float[Array, " visible"], epoch: Any
    ) -> Float[Array, " overlap"]:
        """u(q, g): the overlaps after one step along the gradient g."""
        gram, roles = self.model(q).overlaps.gram, self.reduction.roles
        left, right = roles.left, roles.size - roles.left
        block = slope.reshape(left, right)
        gamma = jnp.zeros_like(gram).at[:left, left:].set(block).at[left:, :left].set(block.T)
        where = GramCoordinates(self.reduction.with_gram(gram))
        x, _ = self.method.update(where, where.start, gamma, None, epoch, None)
        return Overlaps(small_matmul(x.T, small_matmul(gram, x)), roles).vector()

    def gradient(
        self, q: Float[Array, " overlap"]
    ) -> tuple[Float[Array, " visible"], Float[Array, "visible visible"]]:
        """ḡ = 2 dt Σ ∂Y (Y − F) and C = 4 dt² σ² Σ ∂Y ∂Yᵀ, over steps, inputs and outputs."""
        model, task = self.model(q), self.task
        gram, left = model.overlaps.gram, model.roles.left

        def output(s: Array) -> tuple[Array, Array]:
            block = s.reshape(left, -1)
            other = gram.at[:left, left:].set(block).at[left:, :left].set(block.T)
            y = impulse_response(model.with_gram(other), task.duration).ravel()
            return y, y

        slopes, y = jax.jacfwd(output, has_aux=True)(model.overlaps.S.ravel())
        assert task.label_noise is not None
        dt, noise = model.dt.astype(q.dtype), task.label_noise.astype(q.dtype)
        error = y - task.samples.astype(q.dtype).ravel()
        return 2 * dt * (error @ slopes), (2 * dt * noise) ** 2 * (slopes.T @ slopes)

    def model(self, q: Float[Array, " overlap"]) -> ReducedRNN:
        return self.reduction.with_gram(from_vector(q, self.reduction.roles))

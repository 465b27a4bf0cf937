"""What label noise does to the overlaps: their mean, covariance and skewness over learning."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lrnn_jax._checks import component, flag, shown, whole
from lrnn_jax._results import LearningError
from lrnn_jax._scan import record as record_every
from lrnn_jax._scan import recorded
from lrnn_jax._types import is_traced, small_matmul
from lrnn_jax.learning._descent import Descent
from lrnn_jax.learning._law import Law, nodes, symmetric, third_moment
from lrnn_jax.learning._method import Step
from lrnn_jax.overlaps import Overlaps, Roles, from_vector
from lrnn_jax.reduced import GramSpace, ReducedRNN
from lrnn_jax.rules import Gradient
from lrnn_jax.tasks import AbstractFilter, impulse_response


class NoiseDrift(eqx.Module):
    """Mean, covariance and skewness of the overlaps of many runs with independent label noise.

    Arguments:
        epochs: recorded epochs, shape (record,); 0, n, 2n, … and the last.
        mean: μ, shape (record, overlap), ordered as `names`.
        covariance: P, shape (record, overlap, overlap).
        third: third central moment of each overlap, shape (record, overlap).
        derivative: A of the last epoch, shape (overlap, overlap).
        roles: the columns of Q.

    >>> noisy = lrnn.ExponentialFilter(0.2, 0.1, 20, label_noise=0.1)
    >>> drift = lrnn.noise_drift(reduction, noisy, descent, epochs=5, directions=0)
    >>> drift.mean.shape, drift["uu"].shape
    ((6, 10), (6,))
    """

    epochs: Int[Array, " record"]
    mean: Float[Array, "record overlap"]
    covariance: Float[Array, "record overlap overlap"]
    third: Float[Array, "record overlap"]
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
        change how stable it is and are skewed: `directions=0` is not enough there. NaN where the
        theory diverged.
        """
        a = np.asarray(self.derivative)
        return float(np.linalg.eigvals(a).real.min()) if np.isfinite(a).all() else float("nan")

    def __getitem__(self, name: str) -> Float[Array, "..."]:
        """The mean of one overlap over the recorded epochs, by name."""
        return self.overlaps[name]

    @property
    def std(self) -> Float[Array, "record overlap"]:
        """Standard deviation of each overlap over runs."""
        return jnp.sqrt(jnp.maximum(jnp.diagonal(self.covariance, axis1=-2, axis2=-1), 0))

    @property
    def skewness(self) -> Float[Array, "record overlap"]:
        """Third central moment over std³ of each overlap over runs; 0 where nothing varies."""
        varies = self.std > 0
        return jnp.where(varies, self.third / jnp.where(varies, self.std, 1) ** 3, 0)


def noise_drift(
    reduction: ReducedRNN,
    task: AbstractFilter,
    method: Descent,
    *,
    epochs: int,
    record: int = 1,
    directions: int = 4,
    throw: bool = True,
) -> NoiseDrift:
    """The drift of overlaps under label noise, by moment closure, without a single noisy run.

    One step takes q to u(q, g), exact and quadratic in the loss gradient g = ∂L/∂S, which label
    noise ξ makes random: g = ḡ(q) + g_ξ, E g_ξ g_ξᵀ = C = 4 dt² σ² Σ_t ∂y_t ∂y_tᵀ. Given q, the
    mean F, covariance D and third cumulant T of u are exact (η² E[ΓQΓ] is in F). Over runs,

        μ' = E F,    P' = cov(F) + E D,    κ' = κ(F) + 3 sym cov(F, D) + E T

    over the law of q, which is closed by its first three cumulants μ, P, κ: a Gaussian bent by a
    quadratic map, on (directions + 1)! nodes along the principal axes of P. Everything else
    enters to leading order, and with `directions=0` everything does:

        μ' = F(μ) + ½ ∂²F : P,    P' = A P Aᵀ + D,    A = ∂F, all at μ

    On a manifold of solutions the noise does not average out: without P even the signs of some
    drifts are wrong. The leading order is enough for small σ² and far from the edge of stability
    (`NoiseDrift.stiffest`).

    Arguments:
        reduction: linear, at epoch 0.
        task: a filter task with label noise σ.
        method: `Descent`; its lr (also a schedule), rates and weight decay.
        epochs: number of updates.
        record: keep every n-th epoch (and always the last).
        directions: in which the law is followed beyond the leading order, 0 … 6: (directions + 1)!
            nodes. As many as the loss and the drift have (rank 1: 3 + 1) are enough.
        throw: whether to raise when the theory diverges.

    Returns: `NoiseDrift`, to be compared with many runs of
    `learn(reduction, task, method, key=…)`.

    Errors: ValueError for a nonlinear reduction, a task without label noise, a method with
    momentum or clipping, and more than 6 directions; LearningError (with the drift as `curve`)
    when the theory diverges (outside a trace).

    Source: ours.

    >>> noisy = lrnn.ExponentialFilter(0.2, 0.1, 20, label_noise=0.1)
    >>> drift = lrnn.noise_drift(reduction, noisy, descent, epochs=5, directions=0)
    >>> bool((drift.std[-1] > 0).all())
    True
    """
    _check_arguments(reduction, task, method, directions)
    epochs, every, throw = whole(epochs, "epochs", 0), whole(record, "record"), flag(throw, "throw")
    drift = _drift(NoisyStep(reduction, task, method, directions), epochs, every)
    if throw and not is_traced(drift):
        _raise_divergence(drift)
    return drift


def _check_arguments(reduction: Any, task: Any, method: Any, directions: int) -> None:
    if not isinstance(reduction, ReducedRNN):
        raise ValueError(
            f"`reduction` must be a ReducedRNN, e.g. reduce(network); got {shown(reduction)}."
        )
    if not isinstance(task, AbstractFilter) or task.label_noise is None:
        raise ValueError("`task` must be a filter task with label noise, e.g. label_noise=0.1.")
    if not reduction.activation.linear:
        raise ValueError("`reduction` must be linear for the noise theory; this one is nonlinear.")
    if reduction.c is not None:
        raise ValueError(
            "`reduction` has a bias c of the read-out, which learns beside the overlaps and is not "
            "followed by the noise theory: take it off the targets."
        )
    if not isinstance(method, Descent) or method.momentum is not None or method.clip is not None:
        raise ValueError(
            f"`method` must be Descent without momentum and clipping, which the noise theory "
            f"follows; got {shown(method)}."
        )
    component(method.rule, Gradient, "method.rule", "Gradient(), which the noise theory follows")
    whole(directions, "directions", 0, 6)
    task.check(reduction)


def _raise_divergence(drift: NoiseDrift) -> None:
    """Raise LearningError for a theory that diverges."""
    fine = np.isfinite(np.asarray(drift.covariance)).all(axis=(1, 2))
    if not fine.all():
        last = int(np.flatnonzero(fine)[-1])
        raise LearningError(
            f"The noise theory diverges after epoch {int(drift.epochs[last])}: fluctuations grow "
            f"without bound, or leave the reach of three cumulants. Use a smaller learning rate "
            f"or less label noise. Single runs of `learn` may still be stable.",
            drift,
        )


@eqx.filter_jit
def _drift(step: "NoisyStep", epochs: int, every: int) -> NoiseDrift:
    """All epochs as one program."""

    def advance(state: tuple[Law, Array]) -> tuple[tuple[Law, Array], None]:
        law, epoch = state
        return (step.advance(law, epoch), epoch + 1), None

    def keep(state: tuple[Law, Array], seen: None = None) -> tuple[Array, Array, Array]:
        law, _ = state
        return law.mean, law.covariance, jnp.einsum("iii->i", law.third)

    state = Law.certain(step.reduction.overlaps.vector()), jnp.zeros((), int)
    state, history = record_every(advance, keep, state, epochs, every)
    mean, covariance, third = jax.tree.map(
        lambda a, last: jnp.concatenate([a, last[None]]), history, keep(state)
    )
    derivative = jax.jacfwd(lambda q: step.given(q, epochs).mean)(mean[-1])
    roles = step.reduction.roles
    return NoiseDrift(recorded(epochs, every), mean, covariance, third, derivative, roles)


class NoisyStep(eqx.Module):
    """One epoch of noisy descent, as a map of the overlap vector q; g is ∂L/∂S as a vector.

    >>> noisy = lrnn.ExponentialFilter(0.2, 0.1, 20, label_noise=0.1)
    >>> step = learning.NoisyStep(reduction, noisy, descent, 0)
    >>> after = step.given(net.overlaps.vector(), 0)  # the law of the next epoch's overlaps
    >>> after.mean.shape
    (10,)
    """

    reduction: ReducedRNN
    task: AbstractFilter
    method: Descent
    directions: int = eqx.field(static=True)

    def advance(self, law: Law, epoch: Any) -> Law:
        """The law of q one epoch later."""
        q, w, rest = nodes(law, self.directions)
        f, d, t = jax.vmap(lambda q: self.given(q, epoch))(q)
        mean, covariance = w @ f, jnp.einsum("n,nij->ij", w, d)
        f, d = f - mean[None], d - covariance[None]
        third = third_moment(f, w) + jnp.einsum("n,nijl->ijl", w, t)
        third = third + symmetric(jnp.einsum("n,nij,nl->ijl", w, d, f))
        covariance = covariance + f.T @ (w[:, None] * f)

        def along(direction: Array, image: Array) -> tuple[Array, Array]:
            """A e and ∂²F[e, P e], for the rest of P."""

            def slope(q: Array) -> Array:
                return jax.jvp(lambda q: self.given(q, epoch).mean, (q,), (direction,))[1]

            return jax.jvp(slope, (law.mean,), (image,))

        columns, curvature = jax.vmap(along)(jnp.eye(q.shape[-1], dtype=q.dtype), rest)
        mean = mean + jnp.sum(curvature, axis=0) / 2
        return Law(mean, covariance + columns.T @ rest @ columns, third)

    def given(self, q: Float[Array, " overlap"], epoch: Any) -> Law:
        """F, D and T: the law of the next overlaps over label noise, for given ones."""
        slope, covariance = self.gradient(q)

        def update(g: Array) -> Array:
            return self.update(q, g, epoch)

        b, h = jax.jacfwd(update)(slope), jax.jacfwd(jax.jacfwd(update))(slope)
        bc, hc = b @ covariance, h @ covariance
        spread = bc @ b.T + jnp.einsum("iab,jba->ij", hc, hc) / 2
        third = symmetric(jnp.einsum("ia,jb,lab->ijl", bc, bc, h))
        third = third + jnp.einsum("iab,jbc,lca->ijl", hc, hc, hc)
        return Law(update(slope) + jnp.einsum("iaa->i", hc) / 2, spread, third)

    def update(
        self, q: Float[Array, " overlap"], slope: Float[Array, " visible"], epoch: Any
    ) -> Float[Array, " overlap"]:
        """u(q, g): the overlaps after one step along the gradient g."""
        gram, roles = self.model(q).overlaps.gram, self.reduction.roles
        left, right = roles.left, roles.size - roles.left
        block = slope.reshape(left, right)
        gamma = jnp.zeros_like(gram).at[:left, left:].set(block).at[left:, :left].set(block.T)
        space = GramSpace(self.reduction.with_gram(gram))
        t, _ = self.method.update(space, Step(space.start, gamma, None, epoch, None))
        return Overlaps(small_matmul(t.T, small_matmul(gram, t)), roles).vector()

    def gradient(
        self, q: Float[Array, " overlap"]
    ) -> tuple[Float[Array, " visible"], Float[Array, "visible visible"]]:
        """ḡ = 2 dt Σ ∂Y (Y − F) and C = 4 dt² σ² Σ ∂Y ∂Yᵀ, over steps, inputs and outputs."""
        model, task = self.model(q), self.task
        gram, left = model.overlaps.gram, model.roles.left

        def output(s: Array) -> tuple[Array, Array]:
            block = s.reshape(left, -1)
            other = gram.at[:left, left:].set(block).at[left:, :left].set(block.T)
            y = impulse_response(model.with_gram(other), task.steps).ravel()
            return y, y

        slopes, y = jax.jacfwd(output, has_aux=True)(model.overlaps.S.ravel())
        assert task.label_noise is not None
        dt, noise = model.dt.astype(q.dtype), task.label_noise.astype(q.dtype)
        error = y - task.samples.astype(q.dtype).ravel()
        return 2 * dt * (error @ slopes), (2 * dt * noise) ** 2 * (slopes.T @ slopes)

    def model(self, q: Float[Array, " overlap"]) -> ReducedRNN:
        return self.reduction.with_gram(from_vector(q, self.reduction.roles))

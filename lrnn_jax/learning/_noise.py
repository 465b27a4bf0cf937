"""What noise of gradients does to overlaps: their mean, covariance and skewness over learning."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

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
from lrnn_jax.tasks import (
    AbstractGradientNoise,
    AbstractObjective,
    as_kurtosis,
    check_gradient_noise,
    with_kurtosis,
)


class NoiseDrift(eqx.Module):
    """Mean, covariance and skewness of the overlaps of many runs with independent noise.

    Arguments:
        epochs: recorded epochs, shape (record,); 0, n, 2n, … and the last.
        mean: μ, shape (record, overlap), ordered as `names`.
        covariance: P, shape (record, overlap, overlap).
        third: third central moment of each overlap, shape (record, overlap).
        derivative: A of the last epoch, shape (overlap, overlap); with momentum of all scalar
            products of the stack [Θ | Ψ].
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
    derivative: Float[Array, "all all"]
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
    task: AbstractObjective,
    method: Descent,
    *,
    epochs: int,
    record: int = 1,
    directions: int = 4,
    kurtosis: ArrayLike | None = None,
    throw: bool = True,
) -> NoiseDrift:
    """The drift of overlaps under noisy gradients, by moment closure, without a single noisy run.

    One step takes q to u(q, g), exact and quadratic in g = ∂L/∂S, which random data make random,
    with covariance C: of label noise σξ, or of B trials of loss xᵀMx in white-noise inputs or
    random starts x (independent, of variance 1 and excess kurtosis κ₄),

        C = 4 dt² σ² Σ_t ∂y_t ∂y_tᵀ,    C_ab = (2 tr(∂_aM ∂_bM) + κ₄ Σ_i ∂_aM_ii ∂_bM_ii)/B

    Given q, the mean F, covariance D and third cumulant T of u are exact for normal g (F, with
    η² E[ΓQΓ], for any). Over runs,

        μ' = E F,    P' = cov(F) + E D,    κ' = κ(F) + 3 sym cov(F, D) + E T

    over the law of q, closed by three cumulants: a Gaussian bent by a quadratic map, on
    (directions + 1)! nodes along the principal axes of P. All else enters to leading order,

        μ' = F(μ) + ½ ∂²F : P,    P' = A P Aᵀ + D,    A = ∂F, all at μ

    On a manifold of solutions label noise does not average out; minibatches have M = 0, so C = 0,
    where a solution is exact: no drift there.
    With momentum, q has the 2k×2k scalar products of the stack [Θ | Ψ] of weights and momentum,

        [Θ | Ψ]' = [Θ | Ψ] G,    G = [[1 − ηΓD, ΓD], [−ημ, μ]]

    Arguments:
        reduction: linear, at epoch 0.
        task: a filter task with label noise; `WhiteNoise` or `TeacherStudent` with `batch`; or a
            `ClosedLoop` of a linear plant with `batch`, without other noise.
        method: `Descent` without clipping.
        epochs, record: number of updates; keep every n-th epoch (and always the last).
        directions: followed beyond the leading order, 0 … 6; 0 is enough for small noise far from
            the edge of stability (`NoiseDrift.stiffest`), 4 for rank 1, better in the mean alone.
        kurtosis: κ₄ where `learn(batches=…)` gets other x than the task draws (uniform: −1.2).
        throw: whether to raise when the theory diverges.

    Returns: `NoiseDrift`, to be compared with many runs of `learn(reduction, task, method, key=…)`.

    Errors: ValueError for a nonlinear reduction, a task of unknown noise, clipping, and numbers out
    of range; LearningError (the drift as its `curve`) when the theory diverges (outside a trace).

    Source: ours.

    >>> noisy = lrnn.ExponentialFilter(0.2, 0.1, 20, label_noise=0.1)
    >>> drift = lrnn.noise_drift(reduction, noisy, descent, epochs=5, directions=0)
    >>> bool((drift.std[-1] > 0).all())
    True
    """
    _check_arguments(reduction, task, method, directions)
    epochs, every, throw = whole(epochs, "epochs", 0), whole(record, "record"), flag(throw, "throw")
    step = NoisyStep(reduction, task, method, directions, as_kurtosis(kurtosis))
    drift = _drift(step, epochs, every)
    if throw and not is_traced(drift):
        _raise_divergence(drift)
    return drift


def _check_arguments(reduction: Any, task: Any, method: Any, directions: int) -> None:
    if not isinstance(reduction, ReducedRNN):
        raise ValueError(
            f"`reduction` must be a ReducedRNN, e.g. reduce(network); got {shown(reduction)}."
        )
    if not reduction.activation.linear:
        raise ValueError("`reduction` must be linear for the noise theory; this one is nonlinear.")
    if reduction.c is not None:
        raise ValueError(
            "`reduction` has a bias c of the read-out, which learns beside the overlaps and is not "
            "followed by the noise theory: take it off the targets."
        )
    component(task, AbstractObjective, "task", "ExponentialFilter(…, label_noise=0.1)")
    if not isinstance(method, Descent) or method.clip is not None:
        raise ValueError(
            f"`method` must be Descent without clipping, of which the noise theory knows no mean; "
            f"got {shown(method)}."
        )
    component(method.rule, Gradient, "method.rule", "Gradient(), which the noise theory follows")
    whole(directions, "directions", 0, 6)
    task.check(reduction)
    check_gradient_noise(task, reduction)


def _raise_divergence(drift: NoiseDrift) -> None:
    """Raise LearningError for a theory that diverges."""
    fine = np.isfinite(np.asarray(drift.covariance)).all(axis=(1, 2))
    if not fine.all():
        last = int(np.flatnonzero(fine)[-1])
        raise LearningError(
            f"The noise theory diverges after epoch {int(drift.epochs[last])}: fluctuations grow "
            f"without bound, or leave the reach of three cumulants. Use a smaller learning rate "
            f"or less noise. Single runs of `learn` may still be stable.",
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
        own = slice(len(step.reduction.roles.pairs))  # of the stack
        third = jnp.einsum("iii->i", law.third)
        return law.mean[own], law.covariance[own, own], third[own]

    state = Law.certain(step.start), jnp.zeros((), int)
    state, history = record_every(advance, keep, state, epochs, every)
    mean, covariance, third = jax.tree.map(
        lambda a, last: jnp.concatenate([a, last[None]]), history, keep(state)
    )
    derivative = jax.jacfwd(lambda q: step.given(q, epochs).mean)(state[0].mean)
    roles = step.reduction.roles
    return NoiseDrift(recorded(epochs, every), mean, covariance, third, derivative, roles)


class NoisyStep(eqx.Module):
    """One epoch of noisy descent, as a map of the vector q of scalar products; g is ∂L/∂S as a
    vector.

    q holds the overlaps; with momentum then those of the stack [Θ | Ψ] that Ψ takes part in.

    >>> noisy = lrnn.ExponentialFilter(0.2, 0.1, 20, label_noise=0.1)
    >>> step = learning.NoisyStep(reduction, noisy, descent, 0)
    >>> after = step.given(net.overlaps.vector(), 0)  # the law of the next epoch's overlaps
    >>> after.mean.shape
    (10,)
    """

    reduction: ReducedRNN
    task: AbstractObjective
    method: Descent
    directions: int = eqx.field(static=True)
    kurtosis: Float[Array, ""] | None = None

    @property
    def size(self) -> int:
        """Columns of the stack: k, or 2k."""
        return self.reduction.roles.size * (1 if self.method.momentum is None else 2)

    @property
    def places(self) -> tuple[Int[np.ndarray, " q"], Int[np.ndarray, " q"]]:
        """Rows and columns of the entries of Q in q."""
        k = self.reduction.roles.size
        more = [(i, j) for j in range(k, self.size) for i in range(j + 1)]
        rows, columns = np.array([*self.reduction.roles.pairs, *more]).T
        return rows, columns

    @property
    def start(self) -> Float[Array, " q"]:
        """q at epoch 0, where Ψ = 0."""
        q = self.reduction.overlaps.vector()
        return jnp.concatenate([q, jnp.zeros(len(self.places[0]) - len(q), q.dtype)])

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

    def given(self, q: Float[Array, " q"], epoch: Any) -> Law:
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
        self, q: Float[Array, " q"], slope: Float[Array, " visible"], epoch: Any
    ) -> Float[Array, " q"]:
        """u(q, g): the scalar products after one step along the gradient g."""
        roles, (rows, columns) = self.reduction.roles, self.places
        left, k = roles.left, roles.size
        gram = jnp.zeros((self.size, self.size), q.dtype)
        gram = gram.at[rows, columns].set(q).at[columns, rows].set(q)
        block, one = slope.reshape(left, k - left), jnp.eye(self.size, dtype=q.dtype)
        gamma = (
            jnp.zeros_like(one[:, :k]).at[:left, left:].set(block).at[left:k, :left].set(block.T)
        )
        # weights, direction and momentum as coefficients of the stack
        memory = None if self.method.momentum is None else one[:, k:]
        step = Step(one[:, :k], gamma, memory, epoch, None)
        after, memory = self.method.update(GramSpace(self.reduction), step)
        turn = after if memory is None else jnp.concatenate([after, memory], axis=1)
        return small_matmul(turn.T, small_matmul(gram, turn))[rows, columns]

    def gradient(
        self, q: Float[Array, " q"]
    ) -> tuple[Float[Array, " visible"], Float[Array, "visible visible"]]:
        """ḡ and C of the task's random data."""
        model = self.model(q)
        gram, left = model.overlaps.gram, model.roles.left

        def noise(s: Array) -> tuple[AbstractGradientNoise, AbstractGradientNoise]:
            block = s.reshape(left, -1)
            other = gram.at[:left, left:].set(block).at[left:, :left].set(block.T)
            seen = self.task.gradient_noise(model.with_gram(other))
            return seen, seen

        slopes, seen = jax.jacfwd(noise, has_aux=True)(model.overlaps.S.ravel())
        return (seen if self.kurtosis is None else with_kurtosis(seen, self.kurtosis)).law(slopes)

    def model(self, q: Float[Array, " q"]) -> ReducedRNN:
        roles = self.reduction.roles
        return self.reduction.with_gram(from_vector(q[: len(roles.pairs)], roles))

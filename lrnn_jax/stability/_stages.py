"""The three stages of learning in a closed loop, found in its spectrum and loss."""

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float

from lrnn_jax._checks import component, number, real_array, shaped, shown, whole
from lrnn_jax.environments import AbstractPlant, ClosedLoop
from lrnn_jax.learning import LearningCurve
from lrnn_jax.networks import AbstractOverlapRNN, AbstractRNN
from lrnn_jax.overlaps import Overlaps
from lrnn_jax.stability._spectrum import (
    eigenvalues,
    leading_is_complex,
    radius,
    spectrum,
    stability_epoch,
)
from lrnn_jax.tasks import AbstractObjective


class Stages(NamedTuple):
    """Boundaries of the stages of closed-loop learning, in epochs; −1 where one was not found.

    Fields:
        oscillatory: end of stage 1, first epoch from which the leading eigenvalue (largest |λ|) is
            one of a complex pair up to the next boundary.
        stable: end of stage 2, first epoch from which all |λ| < 1 for good.
        losses: at epoch 0, at both boundaries and at the end (NaN where there is none).
        reversals: how often the largest |λ| turned round within stage 2 (its zig-zag).
        verdicts: one sentence for each stage: found, or why not.

    >>> values = np.array([[1.5, 1.2], [1.1 + 0.2j, 1.1 - 0.2j], [0.9 + 0.2j, 0.9 - 0.2j]])
    >>> learned = lrnn.learn(reduction, loop, descent, epochs=2)
    >>> found = lrnn.stages(learned, values=values)
    >>> found.oscillatory, found.stable
    (1, 2)
    """

    oscillatory: int
    stable: int
    losses: tuple[float, float, float, float]
    reversals: int
    verdicts: tuple[str, str, str]

    @property
    def found(self) -> tuple[bool, bool, bool]:
        """Whether each stage took at least one recorded epoch."""
        first = self.oscillatory > 0
        second = self.oscillatory >= 0 and self.stable > self.oscillatory
        return first, second, self.stable >= 0


def stages(
    curve: LearningCurve,
    plant: AbstractPlant | ClosedLoop | None = None,
    values: Complex[np.ndarray, "record d"] | None = None,
    *,
    loss: Float[Array, " record"] | None = None,
) -> Stages:
    """The three stages of learning to control an unstable plant.

    (1) Learn negative feedback: real leading eigenvalues become a complex pair. (2) Move the pair
    into the unit circle. (3) From the stability epoch on, refine. Works for any plant and model: it
    uses only the leading eigenvalue of the closed loop, not the overlaps.

    Arguments:
        curve: a learning curve.
        plant: what was controlled; or
        values: eigenvalues at the recorded epochs, shape (record, d).
        loss: closed-loop loss at the recorded epochs; default the curve's.

    Source: [CL] fig. 3-5; found from the spectrum alone: ours.

    >>> values = np.array([[1.5, 1.2], [1.1 + 0.2j, 1.1 - 0.2j], [0.9 + 0.2j, 0.9 - 0.2j]])
    >>> learned = lrnn.learn(reduction, loop, descent, epochs=2)
    >>> print(lrnn.stages(learned, values=values).verdicts[0])
    found: the leading eigenvalue is real until epoch 1
    """
    component(curve, LearningCurve, "curve", "what learn(…) returns")
    if (plant is None) == (values is None):
        raise ValueError("Give the `plant` that was controlled, or eigenvalues as `values`.")
    values = spectrum(curve, plant) if values is None else eigenvalues(values, 2)
    if len(values) != len(curve.epochs):
        raise ValueError(
            f"`values` are eigenvalues at {len(curve.epochs)} recorded epochs; got {shown(values)}."
        )
    epochs = np.asarray(curve.epochs)
    losses = np.asarray(shaped(curve.loss if loss is None else loss, "loss", len(epochs)))
    sizes = radius(values)
    stable = stability_epoch(sizes, epochs)
    last = len(epochs) if stable < 0 else int(np.flatnonzero(epochs == stable)[0])
    complex_pair = leading_is_complex(values)[:last]
    real = np.flatnonzero(~complex_pair)
    first = int(real[-1]) + 1 if len(real) else 0
    oscillatory = int(epochs[first]) if first < last else -1

    def at(epoch: int) -> float:
        return float(losses[epochs == epoch][0]) if epoch >= 0 else float("nan")

    turns = 0
    if oscillatory >= 0:
        steps = np.diff(sizes[first:last])
        turns = int((np.diff(np.sign(steps[steps != 0])) != 0).sum())
    ends = (float(losses[0]), at(oscillatory), at(stable), float(losses[-1]))
    return Stages(oscillatory, stable, ends, turns, _verdicts(oscillatory, stable, sizes, epochs))


def _verdicts(
    oscillatory: int, stable: int, sizes: np.ndarray, epochs: np.ndarray
) -> tuple[str, str, str]:
    end = f"{int(epochs[-1])} epochs"
    if stable == 0:
        early = "missing: the loop is stable from epoch 0 on"
        return early, early, "found: the loop is stable throughout"
    first = "missing: the leading eigenvalue is one of a complex pair from epoch 0 on"
    if oscillatory > 0:
        first = f"found: the leading eigenvalue is real until epoch {oscillatory}"
    if stable < 0:
        third = f"missing: the loop is not stable for good within {end} (max |λ| {sizes[-1]:.4g})"
        if oscillatory >= 0:
            return first, f"unfinished after {end}", third
        first = "unfinished: the leading eigenvalue is real to the end"
        return first, "missing: no complex pair leads", third
    third = f"found: stable from epoch {stable} on"
    if oscillatory >= 0:
        second = f"found: a complex pair leads from epoch {oscillatory} to {stable}"
        return first, second, third
    first = "missing: the loop becomes stable while its leading eigenvalue is real"
    return first, "missing: no complex pair leads before the loop is stable", third


def _rank_one(overlaps: Any) -> tuple[Array, Array, Array, Array]:
    """zm, zu, vm and vu.

    Errors: ValueError unless these are overlaps of rank 1 with one input and one output.
    """
    component(overlaps, Overlaps, "overlaps", "network.overlaps")
    roles = overlaps.roles
    if (roles.outputs, roles.rank, roles.inputs) != (1, 1, 1):
        raise ValueError(
            f"`overlaps` must be of rank 1 with 1 input and 1 output here; got {roles.describe()}."
        )
    return overlaps["zm"], overlaps["zu"], overlaps["vm"], overlaps["vu"]


def characteristic_polynomial(overlaps: Overlaps) -> Float[Array, "*batch 5"]:
    """Coefficients, highest first, of det(λ − P) for rank 1 and the double integrator, dt = 1.

        λ (λ³ − (vu+2) λ² + (2vu − zm + 1) λ + vu·zm − vu − vm·zu)

    Source: [CL] eq. 10.

    >>> controller = experiments.low_rank_controller(40, key=key)
    >>> polynomial = stability.characteristic_polynomial(controller.overlaps)
    >>> values = lrnn.spectrum(controller, lrnn.KIntegrator(2, dt=1.0))
    >>> bool(abs(np.polyval(polynomial, values[0])) < 1e-9)
    True
    """
    zm, zu, vm, vu = _rank_one(overlaps)
    one = jnp.ones_like(vu)
    return jnp.stack([one, -(vu + 2), 2 * vu - zm + 1, vu * zm - vu - vm * zu, 0 * one], axis=-1)


def stage_one_eigenvalues(zm: ArrayLike) -> Complex[Array, "*batch 2"]:
    """λ = 1 ± √zm: the pair of the double integrator under the direct feedback zm alone.

    Valid while vm·zu and vu are small against |zm| (early in learning), dt = 1.

    Source: [CL] eq. 11.

    >>> print(stability.stage_one_eigenvalues(-0.04))
    [1.+0.2j 1.-0.2j]
    """
    zm = real_array(zm, "zm")
    root = jnp.sqrt(jax.lax.complex(zm, jnp.zeros_like(zm)))
    return jnp.stack([1 + root, 1 - root], axis=-1)


def stage_one_loss(zm: ArrayLike, steps: int) -> Float[Array, "..."]:
    """Σ_t ½ rᵗ = ½ (1 − r^{T+1})/(1 − r), r = |1 + √zm|², of x_0 = (1, −1) over t = 0 … T.

    An approximation of Σ_t ½‖x_t‖² (T times the loop's mean): the growth of the leading mode alone,
    with amplitude one. Its exponent in T is right for T ≫ 1/|√zm|; for dt = 1 and vm·zu = vu = 0.

    Source: [CL] eq. 12.

    >>> round(float(stability.stage_one_loss(-1e-12, 10)), 4)  # no feedback: 11 steps of ½
    5.5
    """
    steps = whole(steps, "steps")
    r = jnp.abs(stage_one_eigenvalues(zm)[..., 0]) ** 2
    near = jnp.abs(r - 1) < 1e-8
    safe = jnp.where(near, 2.0, r)
    return jnp.where(near, (steps + 1) / 2, (1 - safe ** (steps + 1)) / (2 * (1 - safe)))


def third_eigenvalue(overlaps: Overlaps) -> Float[Array, "*batch"]:
    """λ_3 ≈ vu + vm·zu/(vu² − 2vu − zm + 1): the recurrent eigenvalue, moved by the loop.

    One Newton step of the characteristic polynomial from vu: valid for small vm·zu.

    Source: [CL] eq. 14.

    >>> q = experiments.low_rank_controller(40, key=key).overlaps
    >>> abs(float(stability.third_eigenvalue(q) - q["vu"])) < 0.5
    True
    """
    zm, zu, vm, vu = _rank_one(overlaps)
    return vu + vm * zu / (vu**2 - 2 * vu - zm + 1)


def long_term_cost(overlaps: Overlaps, steps: int) -> Float[Array, "*batch"]:
    """L_∞ = (2vu − zm + 1 − (vu+2) λ_3 + λ_3²)^T ≈ |λ_{1,2}|^{2T}: how the leading pair grows.

    λ_1 λ_2 from the characteristic polynomial with the approximate λ_3; for a complex pair.

    Source: [CL] eq. 13.

    >>> q = experiments.low_rank_controller(40, key=key).overlaps
    >>> stability.long_term_cost(q, 10).shape
    ()
    """
    zm, _, _, vu = _rank_one(overlaps)
    third = third_eigenvalue(overlaps)
    return (2 * vu - zm + 1 - (vu + 2) * third + third**2) ** whole(steps, "steps")


def short_term_cost(overlaps: Overlaps) -> Float[Array, "*batch"]:
    """L_0 = (zm+1)² + (zm+3)² + (vm·zu+2zm)² + (vm·zu+3zm+1)²: first states and controls.

    x_2 of velocity, x_3 of position, u_2 and x_3 of velocity from x_0 = (0, 1), dt = 1: exact.

    Source: [CL] eq. 15.

    >>> q = experiments.low_rank_controller(40, key=key).overlaps
    >>> float(stability.short_term_cost(q)) > 0
    True
    """
    zm, zu, vm, _ = _rank_one(overlaps)
    w = vm * zu
    return (zm + 1) ** 2 + (zm + 3) ** 2 + (w + 2 * zm) ** 2 + (w + 3 * zm + 1) ** 2


class Tradeoff(AbstractObjective):
    """α L_∞ + (1 − α) L_0: long-term stability against short-term cost in stage 2.

    For rank-1 networks on the double integrator with dt = 1 (see `long_term_cost`,
    `short_term_cost`).

    Arguments:
        alpha: α in [0, 1].
        steps: T of L_∞.

    Errors: ValueError for α outside [0, 1], T < 1, or a model that is not rank 1 with one input
    and one output.

    Source: [CL] fig. 4.

    >>> controller = experiments.low_rank_controller(40, key=key)
    >>> far, near = (stability.Tradeoff(alpha) for alpha in (1.0, 0.0))
    >>> bool(far.loss(lrnn.reduce(controller)) != near.loss(lrnn.reduce(controller)))
    True
    """

    time_axis = 0

    alpha: Float[Array, ""] = eqx.field(converter=partial(number, name="alpha", low=0, high=1))
    steps: int = eqx.field(converter=partial(whole, name="steps"), static=True, default=10)

    @property
    def stochastic(self) -> bool:
        return False

    def check(self, model: AbstractRNN) -> None:
        if not isinstance(model, AbstractOverlapRNN) or model.roles.size != 4:
            raise ValueError(
                f"The trade-off is known for rank-1 networks with one input and one output; got a "
                f"{type(model).__name__} with {model.inputs} input(s), {model.outputs} output(s)."
            )

    def sample(self, key: object) -> None:
        return None

    def weight(self, batch: None) -> None:
        return None

    def output(self, model: AbstractOverlapRNN, batch: None = None) -> Float[Array, " overlap"]:
        """zm, zu, vm and vu, all that the cost looks at."""
        return model.overlaps.S.reshape(-1)

    def loss(self, model: AbstractOverlapRNN, batch: None = None) -> Float[Array, ""]:
        """αL_∞ + (1 − α)L_0 of a model's overlaps."""
        overlaps, alpha = model.overlaps, self.alpha.astype(model.dtype)
        far, near = long_term_cost(overlaps, self.steps), short_term_cost(overlaps)
        return alpha * far + (1 - alpha) * near

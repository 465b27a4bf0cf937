"""What a planned observation of learning will tell of overlaps, before any data are taken."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import component, real_array, shown
from lrnn_jax.inference._channels import AbstractChannel, dependence
from lrnn_jax.inference._combinations import Combinations, combinations
from lrnn_jax.inference._images import Images, images
from lrnn_jax.inference._observations import Observations, as_epochs
from lrnn_jax.inference._predict import Setting, linearise, setting
from lrnn_jax.inference._ranks import Ranks, exact_ranks
from lrnn_jax.learning import AbstractMethod
from lrnn_jax.networks import AbstractOverlapRNN
from lrnn_jax.tasks import AbstractObjective


class Identifiability(eqx.Module):
    """What observations fix, in which precision, as more and more epochs are seen.

    Fields:
        epochs: the observed ones.
        std: of each combination from the data of epochs up to this one alone, shape (epoch,
            combination); infinite in float64 where a combination is not fixed at all.
        directions: 1/singular values of the Jacobian in units of the noise: standard deviations of
            the best-known directions, rising, shape (epoch, parameter).
        combined: the combinations, with names.
        images: at the given Q: images, null directions and why.
        ranks: exact ranks; None where there are none (nonlinear models, other methods).

    >>> way = {"epochs": range(0, 21, 5), "observe": inference.Visible(), "noise": 0.01}
    >>> inference.identifiable(task, descent, reduction, **way).known(0.1)
    array([4, 7, 7, 7, 9])
    """

    epochs: tuple[int, ...] = eqx.field(static=True)
    std: Float[Array, "epoch combination"]
    directions: Float[Array, "epoch parameter"]
    combined: Combinations
    images: Images
    ranks: Ranks | None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the combinations."""
        return self.combined.names

    def known(self, std: ArrayLike = 0.1) -> np.ndarray:
        """How many directions are known to this standard deviation, after each epoch.

        Errors: ValueError for std ≤ 0.
        """
        bound = real_array(std, "std", 0, open_start=True)
        if bound.ndim:
            raise ValueError(f"`std` is one number; got {shown(bound)}.")
        return np.sum(np.asarray(self.directions) < float(bound), axis=1)

    def __str__(self) -> str:
        rows = [
            f"{name} {a:.3g} → {b:.3g}" for name, a, b in zip(self.names, self.std[0], self.std[-1])
        ]
        known = self.known()
        most = f"{known[0]} → {known[-1]} of {self.directions.shape[1]} directions known to 0.1"
        hidden = ", ".join(self.images.null_names) or "none"
        return (
            f"Epochs {self.epochs[0]} → {self.epochs[-1]}: {most}; standard deviations "
            f"{', '.join(rows)}; never seen: {hidden}"
        )


def identifiable(
    objective: AbstractObjective,
    method: AbstractMethod,
    model: AbstractOverlapRNN,
    *,
    epochs: Sequence[int] | np.ndarray | Array,
    observe: AbstractChannel,
    noise: ArrayLike,
    unknown: tuple[str, ...] = (),
) -> Identifiability:
    """What observations at these epochs will tell of the overlaps of a network.

        cov = (Σ_e J_eᵀ J_e / σ²)⁻¹,      J_e = ∂(what epoch e shows)/∂(Q, unknowns)

    at the model's Q; no prior. The first epoch, 0, is what is known before any learning. A number
    of directions is never read off these singular values, which rounding fills: `ranks` has the
    exact ones.

    Arguments:
        objective, method: what is learned, and how.
        model: a reduction, at whose Q is asked.
        epochs: at which is looked, rising; with 0 for "before learning".
        observe: what is seen.
        noise: σ, one number (or what broadcasts to (epoch, number)).
        unknown: as for `infer`.

    Errors: ValueError as for `infer`, and for σ ≤ 0.

    Source: ours.

    >>> way = {"epochs": (0, 20), "observe": inference.Loss(log=True), "noise": 0.01}
    >>> found = inference.identifiable(task, descent, reduction, **way)
    >>> found.ranks.loss[:5].tolist(), found.images.null_names
    ([1, 2, 3, 4, 5], ())
    """
    component(observe, AbstractChannel, "observe", "Outputs(every=20)")
    epochs = as_epochs(epochs)
    stride = Observations(observe, np.zeros(len(epochs)), epochs=epochs, noise=1.0).stride
    s = setting(model, objective, method, observe, epochs, stride, unknown)
    theta = jnp.concatenate([s.model.overlaps.vector(), s.usual()])
    slopes = np.asarray(linearise(s, theta)[1]).reshape(len(epochs), -1, len(theta))
    sigma = np.asarray(real_array(noise, "noise", 0, open_start=True))
    try:
        slopes = slopes / np.broadcast_to(sigma, slopes.shape[:2])[..., None]
    except ValueError:
        raise ValueError(
            f"`noise` is one number or has shape {slopes.shape[:2]}; got {shown(noise)}."
        ) from None
    combined = combinations(s)
    found = [_precision(slopes[: n + 1], np.asarray(combined.weights)) for n in range(len(epochs))]
    return Identifiability(
        epochs=epochs,
        std=jnp.asarray(np.array([std for std, _ in found])),
        directions=jnp.asarray(np.array([each for _, each in found])),
        combined=combined,
        images=images(model, method, see_overlaps=observe.kind == "visible"),
        ranks=_exact(s),
    )


def _precision(slopes: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations of combinations, and of the singular directions, from a Jacobian."""
    jacobian = slopes.reshape(-1, slopes.shape[-1])
    _, values, turn = np.linalg.svd(jacobian, full_matrices=True)
    values = np.r_[values, np.zeros(len(turn) - len(values))]
    floor = 1e-14 * values[0]
    with np.errstate(divide="ignore"):
        each = np.where(values > floor, 1 / values, np.inf)
    parts = (weights @ turn.T) ** 2
    # what is rounding of a direction that is not seen does not count
    terms = np.where(parts > 1e-20, parts * np.where(np.isinf(each), 1e140, each) ** 2, 0.0)
    std = np.sqrt(np.sum(terms, axis=1))
    return np.where(std > 1e100, np.inf, std), each


MOST_EPOCHS = 12
"""Updates after which exact ranks of few overlaps have risen to their maximum."""


def _exact(s: Setting) -> Any:
    """Exact ranks, where these are known."""
    try:
        return exact_ranks(
            s.objective,
            s.method,
            s.model,
            epochs=min(s.epochs[-1], MOST_EPOCHS),
            unknown=dependence(s.channel, s.unknown),
        )
    except ValueError:
        return None

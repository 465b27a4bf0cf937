"""Updates that are exact on overlaps: descent, normalised descent, Muon.

They move a network and its reduction alike because they only combine weights and directions
linearly, with coefficients that depend on scalar products (see `AbstractSpace`).
"""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import as_float, number, optional, whole
from lrnn_jax.learning._method import AbstractUpdate, Step
from lrnn_jax.networks import AbstractSpace, Weights
from lrnn_jax.rules import AbstractRule, Gradient

LearningRate = Float[Array, ""] | Callable[[Any], Any]


class Descent(AbstractUpdate):
    """Gradient descent with real steps; exact on overlaps at any step size.

        G = XΓD · min(1, clip/‖XΓD‖) + λXD,   C' = μC + G,   X' = X − ηC'   (Nesterov: η(G + μC'))

    On a network X = Θ and XΓ = s ∂L/∂Θ, so η is independent of N (the network's own learning rate
    is sη). On a reduction X = T, Q = TᵀQ_0T; without memory this is Q' = (1 − ηDΓ) Q (1 − ηΓD).

    Arguments:
        lr: η per epoch, a number or an optax schedule (epoch → η).
        momentum: μ, in [0, 1); None: none.
        nesterov: look ahead by one momentum step (`momentum` needed).
        weight_decay: λ, added to the gradient as λXD; None: none.
        clip: bound on √s ‖∂L/∂Θ D‖_F, which does not depend on N (s = 1: the global norm).
        rates: D, multipliers by family ("m") or column ("u2"), for other networks by array; default
            1, 0 freezes.
        rule: how the direction XΓ is computed.

    Errors: ValueError for numbers out of range.

    Source: ours; [LR] drops the η² term.
    """

    lr: LearningRate
    momentum: Float[Array, ""] | None
    nesterov: bool = eqx.field(static=True)
    weight_decay: Float[Array, ""] | None
    clip: Float[Array, ""] | None
    rates: dict[str, Any]
    rule: AbstractRule

    def __init__(
        self,
        lr: ArrayLike | Callable[[Any], Any],
        momentum: ArrayLike | None = None,
        nesterov: bool = False,
        weight_decay: ArrayLike | None = None,
        clip: ArrayLike | None = None,
        rates: Mapping[str, ArrayLike] | None = None,
        *,
        rule: AbstractRule = Gradient(),
    ):
        self.lr = learning_rate(lr)
        self.momentum = momentum_of(momentum, nesterov)
        self.nesterov = nesterov
        self.weight_decay = optional(weight_decay, "weight_decay", 0)
        self.clip = optional(clip, "clip", 0, open_start=True)
        self.rates = as_rates(rates)
        self.rule = rule

    def fits(self, space: AbstractSpace) -> None:
        space.rates(self.rates)

    def init(self, space: AbstractSpace) -> Any:
        return no_momentum(space, self.momentum)

    def update(self, space: AbstractSpace, step: Step) -> tuple[Weights, Any]:
        rates = space.rates(self.rates)
        g = times(step.direction, rates)
        if self.clip is not None:
            norm = space.norm(g)
            clip = self.clip.astype(norm.dtype)
            g = multiplied(jnp.where(norm > clip, clip / positive(norm), 1.0), g)
        if (decay := self.weight_decay) is not None:
            g = jax.tree.map(
                lambda a, b: a + decay.astype(b.dtype) * b, g, times(step.weights, rates)
            )
        g, memory = accumulate(g, step.memory, self.momentum, self.nesterov)
        return descend(step.weights, g, rate_at(self.lr, step.epoch)), memory


class NormalisedDescent(AbstractUpdate):
    """Descent along the normalised gradient: steps of length η whatever the slope.

        G = XΓD / √tr(DΓQΓD),      C' = μC + G,      X' = X − ηC'

    The norm √s ‖∂L/∂Θ D‖_F does not depend on N.

    Arguments:
        lr: η, step length per epoch in units of √s; a number or an optax schedule.
        momentum: μ, in [0, 1); None: none.
        nesterov: look ahead by one momentum step (`momentum` needed).
        rates: D, multipliers by family or column; default 1, 0 freezes.
        rule: how the direction XΓ is computed.

    Errors: ValueError for numbers out of range.

    Source: ours.
    """

    lr: LearningRate
    momentum: Float[Array, ""] | None
    nesterov: bool = eqx.field(static=True)
    rates: dict[str, Any]
    rule: AbstractRule

    def __init__(
        self,
        lr: ArrayLike | Callable[[Any], Any],
        momentum: ArrayLike | None = None,
        nesterov: bool = False,
        rates: Mapping[str, ArrayLike] | None = None,
        *,
        rule: AbstractRule = Gradient(),
    ):
        self.lr = learning_rate(lr)
        self.momentum = momentum_of(momentum, nesterov)
        self.nesterov = nesterov
        self.rates = as_rates(rates)
        self.rule = rule

    def fits(self, space: AbstractSpace) -> None:
        space.rates(self.rates)

    def init(self, space: AbstractSpace) -> Any:
        return no_momentum(space, self.momentum)

    def update(self, space: AbstractSpace, step: Step) -> tuple[Weights, Any]:
        g = times(step.direction, space.rates(self.rates))
        norm = space.norm(g)
        g = multiplied(jnp.where(norm > 0, 1 / positive(norm), 0.0), g)
        g, memory = accumulate(g, step.memory, self.momentum, self.nesterov)
        return descend(step.weights, g, rate_at(self.lr, step.epoch)), memory


class Muon(AbstractUpdate):
    """Momentum descent with each family's update orthogonalised by Newton–Schulz iteration.

        C' = μC + XΓ,   B = C'_f/‖C'_f‖,   B ← B (a + bA + cA²) with A = BᵀMB, `iterations` times,
        X' = X − η (B + λX) D

    for each family f ∈ {Z, V, M, U}. A is r×r and comes from ΓQΓ, so the orthogonalisation needs
    overlaps only and is the same on a network and its reduction; columns of an update get length
    about √s η whatever N.

    Arguments:
        lr: η per epoch; a number or an optax schedule.
        momentum: μ, in [0, 1).
        nesterov: look ahead by one momentum step.
        weight_decay: λ, decoupled from the gradient; None: none.
        iterations: Newton–Schulz steps.
        rates: D, multipliers by family or column; default 1, 0 freezes.
        rule: how the direction XΓ is computed.

    Errors: ValueError for numbers out of range.

    Source: Jordan et al. 2024 (Muon; its coefficients a, b, c); on overlaps: ours.
    """

    lr: LearningRate
    momentum: Float[Array, ""] | None
    nesterov: bool = eqx.field(static=True)
    weight_decay: Float[Array, ""] | None
    iterations: int = eqx.field(static=True)
    rates: dict[str, Any]
    rule: AbstractRule

    def __init__(
        self,
        lr: ArrayLike | Callable[[Any], Any],
        momentum: ArrayLike = 0.95,
        nesterov: bool = True,
        weight_decay: ArrayLike | None = None,
        iterations: int = 5,
        rates: Mapping[str, ArrayLike] | None = None,
        *,
        rule: AbstractRule = Gradient(),
    ):
        self.lr = learning_rate(lr)
        self.momentum = momentum_of(momentum, nesterov)
        self.nesterov = nesterov
        self.weight_decay = optional(weight_decay, "weight_decay", 0)
        self.iterations = whole(iterations, "iterations")
        self.rates = as_rates(rates)
        self.rule = rule

    def fits(self, space: AbstractSpace) -> None:
        space.rates(self.rates)

    def init(self, space: AbstractSpace) -> Any:
        return no_momentum(space, self.momentum)

    def update(self, space: AbstractSpace, step: Step) -> tuple[Weights, Any]:
        g, memory = accumulate(step.direction, step.memory, self.momentum, self.nesterov)
        images = space.blocks(space.metric(g))
        change = space.join(
            {
                f: self._orthogonal(block, jnp.einsum("...ic,...id->cd", block, images[f]))
                for f, block in space.blocks(g).items()
            }
        )
        if self.weight_decay is not None:
            change = plus(change, self.weight_decay, step.weights)
        change = times(change, space.rates(self.rates))
        return descend(step.weights, change, rate_at(self.lr, step.epoch)), memory

    def _orthogonal(
        self, block: Float[Array, "*axes c"], gram: Float[Array, "c c"]
    ) -> Float[Array, "*axes c"]:
        """block · P, nearly orthonormal in the metric; P depends on the Gram matrix alone."""
        a, b, c = 3.4445, -4.7750, 2.0315
        size = jnp.trace(gram)
        eye = jnp.eye(gram.shape[0], dtype=gram.dtype)
        p = jnp.where(size > 0, 1 / jnp.sqrt(positive(size)), 0.0) * eye
        for _ in range(self.iterations):
            now = p.T @ gram @ p
            p = p @ (a * eye + b * now + c * now @ now)
        return block @ p


def learning_rate(lr: ArrayLike | Callable[[Any], Any]) -> LearningRate:
    """A number as an array (one trace for all), or a schedule as it is.

    Errors: ValueError for a negative or non-finite number.
    """
    return lr if callable(lr) else number(lr, "lr", 0)


def rate_at(lr: LearningRate, epoch: Any) -> Float[Array, ""]:
    """η at an epoch."""
    if not callable(lr):
        return lr
    with jax.numpy_dtype_promotion("standard"):
        return jnp.asarray(lr(epoch))


def as_rates(rates: Mapping[str, ArrayLike] | None) -> dict[str, Any]:
    """Multipliers as arrays; their names are checked against the model by `learn`."""
    return {name: as_float(rate) for name, rate in (rates or {}).items()}


def momentum_of(momentum: ArrayLike | None, nesterov: bool) -> Array | None:
    """μ, in [0, 1), or None.

    Errors: ValueError for other numbers, and for Nesterov's look ahead without momentum.
    """
    if nesterov and momentum is None:
        raise ValueError("`nesterov` looks ahead along the momentum: give `momentum` too.")
    return optional(momentum, "momentum", 0, 1, open_end=True)


def no_momentum(space: AbstractSpace, momentum: Array | None) -> Any:
    """C = 0, or None without momentum."""
    return None if momentum is None else jax.tree.map(jnp.zeros_like, space.start)


def accumulate(
    g: Weights, memory: Any, momentum: Float[Array, ""] | None, nesterov: bool
) -> tuple[Weights, Any]:
    """(direction, C') with C' = μC + g and direction C', or g + μC' for Nesterov."""
    if momentum is None:
        return g, memory
    memory = jax.tree.map(lambda c, a: momentum.astype(a.dtype) * c + a, memory, g)
    if nesterov:
        return jax.tree.map(lambda a, c: a + momentum.astype(a.dtype) * c, g, memory), memory
    return memory, memory


def times(x: Weights, rates: Weights | None) -> Weights:
    """X D."""
    return x if rates is None else jax.tree.map(lambda a, d: a * d, x, rates)


def multiplied(factor: Float[Array, ""], x: Weights) -> Weights:
    """factor · X."""
    return jax.tree.map(lambda a: factor * a, x)


def plus(x: Weights, factor: Float[Array, ""], y: Weights) -> Weights:
    """X + factor · Y."""
    return jax.tree.map(lambda a, b: a + factor.astype(b.dtype) * b, x, y)


def descend(x: Weights, g: Weights, lr: Float[Array, ""]) -> Weights:
    """X − ηG."""
    return jax.tree.map(lambda a, b: a - lr.astype(a.dtype) * b, x, g)


def positive(x: Float[Array, ""]) -> Float[Array, ""]:
    """x where positive, 1 elsewhere: a divisor for a branch that is then not taken."""
    return jnp.where(x > 0, x, 1.0)

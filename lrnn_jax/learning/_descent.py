"""Updates that are exact on overlaps: descent, normalised descent, Muon.

They move a network and its reduction alike because they only combine weights and directions
linearly, with coefficients that depend on scalar products (see `AbstractSpace`).
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import component, flag, number, optional, shown, whole
from lrnn_jax.learning._method import AbstractUpdate, Step
from lrnn_jax.networks import AbstractSpace, Weights, check_rates
from lrnn_jax.rules import AbstractRule, Gradient

LearningRate = Float[Array, ""] | Callable[[Any], Any]


def learning_rate(lr: ArrayLike | Callable[[Any], Any]) -> LearningRate:
    """A number as an array (one trace for all), or a schedule as it is.

    Errors: ValueError for a negative or non-finite number, and for a function that does not make
    one number of an epoch.
    """
    if not callable(lr):
        return number(lr, "lr", 0)
    try:
        with jax.numpy_dtype_promotion("standard"):
            rate = jax.eval_shape(lambda epoch: jnp.asarray(lr(epoch)), jnp.zeros((), int))
        assert (rate.shape, jnp.issubdtype(rate.dtype, jnp.complexfloating)) == ((), False)
    except Exception:
        raise ValueError(
            f"`lr` must be one number, or a schedule that makes one of an epoch, such as "
            f"optax.cosine_decay_schedule(0.1, 1000); got {shown(lr)}."
        ) from None
    return lr


def rate_at(lr: LearningRate, epoch: Any) -> Float[Array, ""]:
    """η at an epoch."""
    if not callable(lr):
        return lr
    with jax.numpy_dtype_promotion("standard"):
        return jnp.asarray(lr(epoch))


def as_rates(rates: Mapping[str, ArrayLike] | None) -> dict[str, Any]:
    """Multipliers as arrays; their names are checked against the model by `learn`.

    Errors: ValueError for what is no mapping from names, and for a value that is not one number, or
    negative or not finite.
    """
    return check_rates({} if rates is None else rates)


def as_rule(rule: AbstractRule) -> AbstractRule:
    """A learning rule as it is.

    Errors: ValueError for anything else.
    """
    return component(rule, AbstractRule, "rule", "Gradient()")


momentum_of = partial(optional, name="momentum", low=0, high=1, open_end=True)
nesterov_of = partial(flag, name="nesterov")
decay_of = partial(optional, name="weight_decay", low=0)


class AbstractDescent(AbstractUpdate):
    """Steps against some function of the rule's direction, at a rate, with momentum.

        X' = X − η(epoch) · change,      C' = μC + G  of what is accumulated

    Arguments: as for `Descent`, of which `momentum` to `rule` are shared by all.
    """

    lr: LearningRate = eqx.field(converter=learning_rate)
    momentum: Float[Array, ""] | None = eqx.field(converter=momentum_of, default=None)
    nesterov: bool = eqx.field(converter=nesterov_of, static=True, default=False)
    _: KW_ONLY
    rates: dict[str, Any] = eqx.field(converter=as_rates, default=None)
    rule: AbstractRule = eqx.field(converter=as_rule, default=Gradient())

    def __check_init__(self):
        if self.nesterov and self.momentum is None:
            raise ValueError("`nesterov` looks ahead along the momentum: give `momentum` too.")

    @abstractmethod
    def change(self, space: AbstractSpace, step: Step) -> tuple[Weights, Any]:
        """What X moves against per unit of η, and the momentum one epoch later."""

    def fits(self, space: AbstractSpace) -> None:
        space.rates(self.rates)

    def init(self, space: AbstractSpace) -> Any:
        return None if self.momentum is None else jax.tree.map(jnp.zeros_like, space.start)

    def update(self, space: AbstractSpace, step: Step) -> tuple[Weights, Any]:
        change, memory = self.change(space, step)
        return plus(step.weights, -rate_at(self.lr, step.epoch), change), memory

    def accumulate(self, g: Weights, memory: Any) -> tuple[Weights, Any]:
        """(direction, C') with C' = μC + G and direction C', or G + μC' for Nesterov."""
        if (momentum := self.momentum) is None:
            return g, memory
        memory = plus(g, momentum, memory)
        return plus(g, momentum, memory) if self.nesterov else memory, memory


class Descent(AbstractDescent):
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

    >>> method = lrnn.Descent(lr=0.02, momentum=0.9, clip=1.0, rates={"m": 0.5})
    >>> both = [lrnn.learn(model, task, method, epochs=20) for model in (net, reduction)]
    >>> bool(both[0].distance(both[1]).max < 1e-12)
    True
    """

    weight_decay: Float[Array, ""] | None = eqx.field(converter=decay_of, default=None)
    clip: Float[Array, ""] | None = eqx.field(
        converter=partial(optional, name="clip", low=0, open_start=True), default=None
    )

    def change(self, space: AbstractSpace, step: Step) -> tuple[Weights, Any]:
        rates = space.rates(self.rates)
        g = times(step.direction, rates)
        if self.clip is not None:
            norm = space.norm(g)
            clip = self.clip.astype(norm.dtype)
            g = multiplied(jnp.where(norm > clip, clip / positive(norm), 1.0), g)
        if self.weight_decay is not None:
            g = plus(g, self.weight_decay, times(step.weights, rates))
        return self.accumulate(g, step.memory)


class NormalisedDescent(AbstractDescent):
    """Descent along the normalised gradient: steps of length η whatever the slope.

        G = XΓD / √tr(DΓQΓD),      C' = μC + G,      X' = X − ηC'

    The norm √s ‖∂L/∂Θ D‖_F does not depend on N.

    Arguments:
        lr: η, step length per epoch in units of √s; a number or an optax schedule.
        momentum, nesterov, rates, rule: as for `Descent`.

    Errors: ValueError for numbers out of range.

    Source: ours.

    >>> learned = lrnn.learn(reduction, task, lrnn.NormalisedDescent(0.02), epochs=20)
    >>> bool(learned.loss[-1] < learned.loss[0])
    True
    """

    def change(self, space: AbstractSpace, step: Step) -> tuple[Weights, Any]:
        g = times(step.direction, space.rates(self.rates))
        norm = space.norm(g)
        g = multiplied(jnp.where(norm > 0, 1 / positive(norm), 0.0), g)
        return self.accumulate(g, step.memory)


class Muon(AbstractDescent):
    """Momentum descent with each family's update orthogonalised by Newton–Schulz iteration.

        C' = μC + XΓ,   B = C'_f/‖C'_f‖,   B ← B (a + bA + cA²) with A = BᵀMB, `iterations` times,
        X' = X − η (B + λX) D

    for each family f ∈ {Z, V, M, U}. A is r×r and comes from ΓQΓ, so the orthogonalisation needs
    overlaps only and is the same on a network and its reduction; columns of an update get length
    about √s η whatever N.

    Arguments:
        lr, momentum, nesterov, rates, rule: as for `Descent`.
        weight_decay: λ, decoupled from the gradient; None: none.
        iterations: Newton–Schulz steps.

    Errors: ValueError for numbers out of range.

    Source: Jordan et al. 2024 (Muon; its coefficients a, b, c); on overlaps: ours.

    >>> learned = lrnn.learn(reduction, task, lrnn.Muon(0.02), epochs=20)
    >>> bool(learned.loss[-1] < learned.loss[0])
    True
    """

    momentum: Float[Array, ""] | None = eqx.field(converter=momentum_of, default=0.95)
    nesterov: bool = eqx.field(converter=nesterov_of, static=True, default=True)
    weight_decay: Float[Array, ""] | None = eqx.field(converter=decay_of, default=None)
    iterations: int = eqx.field(converter=partial(whole, name="iterations"), static=True, default=5)

    def change(self, space: AbstractSpace, step: Step) -> tuple[Weights, Any]:
        g, memory = self.accumulate(step.direction, step.memory)
        images = space.blocks(space.metric(g))
        change = space.join(
            {
                f: self._orthogonal(block, jnp.einsum("...ic,...id->cd", block, images[f]))
                for f, block in space.blocks(g).items()
            }
        )
        if self.weight_decay is not None:
            change = plus(change, self.weight_decay, step.weights)
        return times(change, space.rates(self.rates)), memory

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


def times(x: Weights, rates: Weights | None) -> Weights:
    """X D."""
    return x if rates is None else jax.tree.map(lambda a, d: a * d, x, rates)


def multiplied(factor: Float[Array, ""], x: Weights) -> Weights:
    """factor · X."""
    return jax.tree.map(lambda a: factor.astype(a.dtype) * a, x)


def plus(x: Weights, factor: Float[Array, ""], y: Weights) -> Weights:
    """X + factor · Y."""
    return jax.tree.map(lambda a, b: a + factor.astype(b.dtype) * b, x, y)


def positive(x: Float[Array, ""]) -> Float[Array, ""]:
    """x where positive, 1 elsewhere: a divisor for a branch that is then not taken."""
    return jnp.where(x > 0, x, 1.0)

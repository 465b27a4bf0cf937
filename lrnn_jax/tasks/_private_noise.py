"""Noise of each neuron's own while a network learns, or its exact expectation."""

from typing import Any, NamedTuple, TypeGuard

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, UInt

from lrnn_jax._checks import component, number, one_key, optional, shown, whole
from lrnn_jax._readable import of_part
from lrnn_jax.networks import AbstractRNN, as_network
from lrnn_jax.reduced import AbstractReduction
from lrnn_jax.tasks._base import AbstractObjective, AbstractTrialTask
from lrnn_jax.tasks._criteria import Squared
from lrnn_jax.tasks._noisy_networks import NoisyRNN, SmoothedRNN
from lrnn_jax.tasks._rate_cost import RateCost


class NoisyTrials(NamedTuple):
    """The data of one epoch with private noise.

    Fields: trials, the task's data (None where they are the same in every epoch); keys, of the
    noise, the words of one random key a trial, shape (trial, word); None for no noise.

    >>> noisy = lrnn.PrivateNoise(flips, 0.1)
    >>> batch = noisy.sample(key)
    >>> type(batch.trials).__name__, batch.keys.shape
    ('Trials', (4, 2))
    """

    trials: Any
    keys: UInt[Array, "*epoch trial word"] | None


class PrivateNoise(AbstractObjective):
    """A trial task that is learned with noise of each neuron's own.

        h_{t+1} = step(h_t, x_t) + σ ε_t,      ε ~ N(0, 1) for each neuron, step and trial

    Networks are simulated with it, drawn afresh in each epoch. Linear reductions learn its exact
    expectation: with squared errors, scored m_t = Σ_trials mask/Σ mask at step t, a = 1 − dt,

        ⟨L⟩ = L(σ = 0) + (σ²/s) Σ_t m_t Σ_{j≤t} tr(C_jᵀ P C_j),    P = [Z V]ᵀ[Z V]/s
        C_0 = [1; 0],   C_{j+1} = a C_j + dt [0; S_uᵀ C_j],        S_u = [Z V]ᵀU/s

    as (Aᵀ)ʲZ = [Z V] C_j for the network's matrix A: P becomes visible, of which tasks without
    noise see nothing (`measured_visible` shows it). A cost of activity has in the mean over steps
    Σ_{j≤t} ‖Aʲ‖² σ²/s more,

        ‖Aʲ‖² = N a²ʲ + 2 aʲ tr(B_j K) + tr(B_jᵀ R_uu B_j P_vv),  K = VᵀU/s
        B_0 = 0,   B_{j+1} = a B_j + dt aʲ + dt K B_j

    At s = N and loadings of order 1 all this is of order 1/N. Populations of nodes and nonlinear
    closures stand for infinitely many neurons, whose noise averages out of what they read; what it
    leaves is a smoother φ, with which they learn, without any draw:

        φ_t(h̄) = ⟨φ(h̄ + √v_t ξ)⟩,   v_0 = 0,   v_{t+1} = (1 − dt)² v_t + σ²,   ξ ~ N(0, 1)

    and a closure's Δ is v_t larger. (A network's gradient has noise besides, which falls with the
    number of trials: in Q by η²/trials an epoch.)

        learn(net, PrivateNoise(task, 0.1), method, epochs=100, key=key)
        learn(reduce(net), PrivateNoise(task, 0.1, neurons=500), method, epochs=100, key=key)

    Data that are held out are scored without noise.

    Arguments:
        task: a trial task, or a `RateCost` of one.
        std: σ ≥ 0, standard deviation per step, as of all noise in this package; σ_rec of Yang et
            al. is σ/√(2 dt), about the standard deviation that h has by it.
        neurons: N of the network that a linear reduction stands for; others do not need it.
        scale: s of that network; default N.

    Errors: ValueError for σ < 0, neurons < 1, s ≤ 0, other tasks; when it meets a model, for linear
    reductions without `neurons` or with another loss than the squared error, and for the few
    neurons that stand for many over a bulk.

    Source: ours; the noise: Yang et al. 2019.

    >>> noisy = lrnn.PrivateNoise(flips, 0.1, neurons=40)
    >>> batch = noisy.sample(key)
    >>> bool(noisy.loss(reduction, batch) > flips.loss(reduction, batch.trials))  # exact, no sample
    True
    """

    task: AbstractTrialTask | RateCost
    std: Float[Array, ""]
    neurons: int | None = eqx.field(static=True)
    scale: Float[Array, ""] | None
    of_outputs, private = False, True
    dt = of_part("task", "dt")

    def __init__(
        self,
        task: AbstractTrialTask | RateCost,
        std: ArrayLike,
        *,
        neurons: int | None = None,
        scale: ArrayLike | None = None,
    ):
        such_as = "FlipFlop(dt, steps, batch), a trial task, or a RateCost of one"
        self.task = component(task, (AbstractTrialTask, RateCost), "task", such_as)
        component(self._trial_task, AbstractTrialTask, "task", such_as)
        self.std = number(std, "std", 0)
        self.neurons = None if neurons is None else whole(neurons, "neurons")
        self.scale = optional(scale, "scale", 0, open_start=True)

    @property
    def _trial_task(self) -> Any:
        """The task without its cost."""
        return self.task.task if isinstance(self.task, RateCost) else self.task

    @property
    def held_out(self) -> NoisyTrials | None:
        """Data that the task holds out, without noise."""
        unseen = self.task.held_out
        return None if unseen is None else NoisyTrials(unseen, None)

    @property
    def stochastic(self) -> bool:
        return True

    def check(self, model: AbstractRNN) -> None:
        self.task.check(model)
        if self._exact(model):
            self._check_expectation()
        elif model.bulk is not None and model.bulk.few:
            raise ValueError(
                "The few neurons of a network over a bulk that stand for many have no private "
                "noise: let the network of N neurons learn with PrivateNoise."
            )

    def _exact(self, model: AbstractRNN) -> TypeGuard[AbstractReduction]:
        """Whether the model learns the expectation at any N."""
        return isinstance(model, AbstractReduction) and model.linear

    def _check_expectation(self) -> None:
        """Raise ValueError unless the expectation at any N is known."""
        if self.neurons is None:
            raise ValueError(
                "A reduction does not know how many neurons it stands for, and private noise "
                "averages out over them: give PrivateNoise `neurons`, the N of the network."
            )
        if not isinstance(self._trial_task.criterion, Squared):
            raise ValueError(
                f"The expectation over private noise is known for squared errors, and `task` has "
                f"{type(self._trial_task.criterion).__name__}: let the network itself learn."
            )

    def sample(self, key: PRNGKeyArray) -> NoisyTrials:
        """The task's data of one epoch, and keys of the noise."""
        data_key, noise_key = jr.split(one_key(key))
        trials = self.task.sample(data_key)
        count = self._trial_task.inputs(trials).shape[0]
        return NoisyTrials(trials, jr.key_data(jr.split(noise_key, count)))

    def output(self, model: AbstractRNN, batch: Any) -> Float[Array, "trial time channels"]:
        """What the task looks at, with noise; for reductions the averages, then tr Cov(y_t)."""
        self.check(model)
        trials, keys = self._checked(batch)
        if not self._exact(model):
            return self.task.output(self._noisy(model, keys), trials)
        seen = self.task.output(model, trials)
        if keys is None:
            return seen
        spread, power = (a[None, :, None] for a in self._spread(model))
        more = [jnp.broadcast_to(spread, (*seen.shape[:2], 1))]
        if isinstance(self.task, RateCost):
            seen, own = seen[..., :-1], seen[..., -1:]
            more = [own + power, *more]
        return jnp.concatenate([seen, *more], axis=-1)

    def loss(self, model: AbstractRNN, batch: Any = None) -> Float[Array, ""]:
        """L with the noise of one epoch; ⟨L⟩ of a reduction."""
        trials, keys = self._checked(batch)
        as_network(model, "model")
        if not self._exact(model):
            return self.task.loss(self._noisy(model, keys), trials)
        quiet = self.task.loss(model, trials)
        if keys is None:
            return quiet
        spread, power = self._spread(model)
        mask = self._trial_task.trials(trials).mask.astype(quiet.dtype)
        total = jnp.sum(mask)
        scored = jnp.sum(mask, axis=0) / jnp.where(total > 0, total, 1)
        more = jnp.sum(scored * spread)
        if isinstance(self.task, RateCost):
            more = more + self.task.strength.astype(quiet.dtype) * jnp.mean(power)
        return quiet + more

    def weight(self, batch: Any) -> Float[Array, ""] | None:
        """That of the task."""
        return self.task.weight(self._checked(batch).trials)

    def _noisy(self, model: AbstractRNN, keys: Any) -> AbstractRNN:
        if keys is None:
            return model
        if model.mean_field:
            return SmoothedRNN(model, self.std)  # pyright: ignore[reportCallIssue]
        return NoisyRNN(model, self.std, keys)  # pyright: ignore[reportCallIssue]

    @eqx.filter_jit
    def _spread(
        self, model: AbstractReduction
    ) -> tuple[Float[Array, " time"], Float[Array, " time"]]:
        """tr Cov(y_t), and what ⟨‖h_t‖²⟩/s has more by noise."""
        assert self.neurons is not None
        n, scale = self.neurons, self.neurons if self.scale is None else self.scale
        q, roles, dt = model.overlaps.gram, model.roles, model.dt.astype(model.dtype)
        v, u = (roles.slices[family] for family in "vu")
        read = slice(0, roles.left)
        keep, r, k = 1 - dt, q[u, u], q[v, u]

        def body(carry: tuple[Array, Array, Array], _: None) -> Any:
            c, b, a = carry
            spread = jnp.sum(c * (q[read, read] @ c))
            square = n * a**2 + 2 * a * jnp.sum(b * k.T)
            square = square + jnp.sum((r @ b) * (b @ q[v, v]))
            c = keep * c + dt * jnp.zeros_like(c).at[v].set(q[read, u].T @ c)
            b = keep * b + dt * (a * jnp.eye(roles.rank, dtype=a.dtype) + k @ b)
            return (c, b, keep * a), (spread, square)

        c = jnp.eye(roles.left, roles.outputs, dtype=model.dtype)
        start = c, jnp.zeros((roles.rank, roles.rank), model.dtype), jnp.ones((), model.dtype)
        _, terms = jax.lax.scan(body, start, length=self._trial_task.steps)
        size = self.std.astype(model.dtype) ** 2 / jnp.asarray(scale, model.dtype)
        spread, square = (size * jnp.cumsum(term) for term in terms)
        return spread, square

    def _checked(self, batch: Any) -> NoisyTrials:
        """The data of one epoch.

        Errors: ValueError for other data than `sample` draws.
        """
        fits, keys = isinstance(batch, (tuple, list)) and len(batch) == 2, None
        if fits and (keys := batch[1]) is not None:
            array = isinstance(batch[1], (jax.Array, np.ndarray))
            fits = array and keys.dtype == np.uint32 and keys.ndim == 2
        if not fits:
            raise ValueError(
                f"`batch` must be the data of an epoch as PrivateNoise.sample(key) returns them, "
                f"NoisyTrials(trials, keys); got {shown(batch)}."
            )
        return NoisyTrials(batch[0], keys)

"""The closed loop: a network that acts on what it observes, as an objective of learning."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lrnn_jax._checks import as_float, component, number, one_key, whole, whole_or_none
from lrnn_jax._types import Scalar, cast
from lrnn_jax.environments._base import AbstractPlant, StartMoment
from lrnn_jax.environments._moments import LinearLoop, Scaled, add, linear_loop, moments
from lrnn_jax.environments._starts import AbstractStart, as_start
from lrnn_jax.networks import AbstractRNN
from lrnn_jax.overlaps import root
from lrnn_jax.reduced import AbstractReduction, simplest
from lrnn_jax.tasks import (
    AbstractObjective,
    Evaluation,
    StartNoise,
    as_evaluation,
    check_fits,
    checked_batch,
)


class LoopTrials(NamedTuple):
    """The data of one epoch of a noisy loop: where trials start, and white noise.

    Fields: start, shape (trial, start); process, shape (trial, time, state), and observation, shape
    (trial, time, observed), standard normal numbers; None for a noise that the plant has not.

    >>> noisy = lrnn.ClosedLoop(lrnn.KIntegrator(2, dt=0.1, noise=0.1), horizon=20, batch=8)
    >>> batch = noisy.sample(key)
    >>> batch.start.shape, batch.process.shape
    ((8, 2), (8, 20, 2))
    """

    start: Float[Array, "*epoch trial start"]
    process: Float[Array, "*epoch trial time state"] | None
    observation: Float[Array, "*epoch trial time seen"] | None


Batch = Float[Array, "trial start"] | LoopTrials


class Trajectories(NamedTuple):
    """What happened in some trials; time comes first.

    Fields: states x_0 … x_T, shape (time + 1, trial, state); controls u_0 … u_{T-1}, shape (time,
    trial, controls); observations o_1 … o_T, shape (time, trial, observed); signals s_1 … s_T.

    >>> found = loop.simulate(net, jnp.ones((8, 2)))
    >>> found.states.shape, found.controls.shape
    ((21, 8, 2), (20, 8, 1))
    """

    states: Float[Array, "time_1 *trial state"]
    controls: Float[Array, "time *trial controls"]
    observations: Float[Array, "time *trial seen"]
    signals: Any


class ClosedLoop(AbstractObjective):
    """A network that controls a plant through its own observations.

        u_t = y(h_t),   x_{t+1} = step(x_t, u_t),   h_{t+1} = h-step(h_t, o_{t+1})
        L = (1/T) Σ_{t=1}^{T} ⟨cost(x_t, u_{t−1}, s_t)⟩ + β Σ_{t=0}^{T−1} ⟨‖u_t‖²⟩

    ⟨ ⟩: mean over trials; h_0 is the network's initial state: at rest there is no control at t = 0.
    x_0, which no control can change, is not counted. For the integrators cost = ‖x‖²/k: L is the
    mean over time, state and trials of x², plus β times the mean over trials of Σ_t u², in the
    normalisation of [CL].

    `batch=None` is the exact expectation over initial states and noise, for linear plants and
    networks, in O(log T) products of matrices. It is right up to the largest floating-point
    number and stays finite beyond; above 2^480 (float32: 2^48) the size of its gradient, not the
    direction, is cut; `log_loss` has no bound. Sampled losses overflow and end learning as
    diverged. With references, the expectation is taken by simulating as many trials as span them.

    Where a loop is linear and without noise, the loss of a batch depends on it through second
    moments only. A reduction's is computed from these, and of a network no more trials are
    simulated than span the batch: the same to rounding, at any number of trials.

    Arguments:
        plant: what is controlled.
        horizon: T, steps of a trial.
        batch: trials per epoch, drawn by `learn(key=…)`; None for the exact expectation, or for
            `learn(batches=…)` of initial states, shape (epochs, trial, start), or, for noisy
            plants, `LoopTrials`.
        control_cost: β.
        start: law of initial states in place of the plant's.
        evaluation: ROLLOUT simulates every trial; DOUBLING (and AUTO for linear reductions) takes
            second moments; AUTO simulates what spans the trials where that is exact.

    Errors: ValueError for horizon or batch < 1, β < 0, a model whose channels or dt do not fit, an
    expectation of what is not linear.

    Source: [CL] eq. 1-5; the expectation: ours.

    >>> loop = lrnn.ClosedLoop(lrnn.KIntegrator(k=2, dt=0.1), horizon=20)  # in exact expectation
    >>> bool(jnp.isclose(loop.loss(reduction, None), loop.loss(net, None)))
    True
    """

    time_axis = 0

    plant: AbstractPlant
    horizon: int = eqx.field(static=True)
    batch: int | None = eqx.field(static=True)
    control_cost: Scalar
    evaluation: Evaluation = eqx.field(static=True)

    def __init__(
        self,
        plant: AbstractPlant,
        horizon: int,
        batch: int | None = None,
        control_cost: ArrayLike = 0.0,
        *,
        start: AbstractStart | ArrayLike | None = None,
        evaluation: Evaluation = Evaluation.AUTO,
    ):
        component(plant, AbstractPlant, "plant", "KIntegrator(2), a plant")
        if as_evaluation(evaluation) is Evaluation.CLOSED_FORM:
            raise ValueError(
                "A closed loop has no closed form: let `evaluation` be AUTO, DOUBLING or ROLLOUT."
            )
        if start is not None:
            plant = eqx.tree_at(lambda p: p.start, plant, as_start(start, plant.start_size))
        self.plant = plant
        self.horizon = whole(horizon, "horizon")
        self.batch = whole_or_none(batch, "batch", "the exact expectation")
        self.control_cost = number(control_cost, "control_cost", 0)
        self.evaluation = evaluation

    @property
    def stochastic(self) -> bool:
        return self.batch is not None

    @property
    def noisy(self) -> bool:
        """Whether the plant has process or observation noise."""
        return self.plant.process_noise is not None or self.plant.observation_noise is not None

    def check(self, model: AbstractRNN) -> None:
        plant = self.plant
        check_fits(self, model, (plant.observations, plant.controls), plant.dt)

    def sample(self, key: PRNGKeyArray) -> Batch | None:
        """Initial states of one epoch, with noise draws if there is noise; None: expectation."""
        if self.batch is None:
            return None
        keys, plant = jr.split(one_key(key), 3), self.plant
        start = plant.sample(keys[0], self.batch)
        if not self.noisy:
            return start
        shape = (self.batch, self.horizon)
        draws = [
            None if noise is None else jr.normal(k, (*shape, noise.shape[1]), start.dtype)
            for k, noise in zip(keys[1:], (plant.process_noise, plant.observation_noise))
        ]
        return LoopTrials(start, *draws)

    def loss(self, model: AbstractRNN, batch: Batch | None = None) -> Scalar:
        """L of some trials, or ⟨L⟩ where `batch` is None."""
        self.check(model)
        trials = cast(self.check_trials(batch), model.dtype)
        plant = self.plant
        linear = model.is_linear_system and plant.linear_within is not None
        has_moments = linear and plant.matrices is not None
        if trials is None:
            if has_moments or self.noisy or not linear or plant.linear_within != math.inf:
                return self._expected(model, None).bounded()
            size = plant.start_size
            law = root(plant.start.moment(size).astype(model.dtype)) * size**0.5
            return self.loss_of(self._run(model, LoopTrials(law, None, None)))
        quiet = trials.process is None and trials.observation is None
        small = isinstance(model, AbstractReduction) and self.evaluation is Evaluation.AUTO
        if has_moments and quiet and (small or self.evaluation is Evaluation.DOUBLING):
            moment = trials.start.T @ trials.start / trials.start.shape[0]
            return self._expected(model, moment).bounded()
        few = trials.start.shape[0] <= plant.start_size
        if few or not linear or not quiet or self.evaluation is Evaluation.ROLLOUT:
            return self.loss_of(self._run(model, trials))
        return self._loss_by_span(model, trials)

    def weight(self, batch: Batch | None) -> Scalar | None:
        """The number of trials; None for the expectation."""
        return None if batch is None else as_float(jax.tree.leaves(batch)[0].shape[0])

    def output(
        self, model: AbstractRNN, batch: Batch | None = None
    ) -> Float[Array, "time trial controls"]:
        """Controls u_t in some trials; without data, in quiet ones from each unit initial state."""
        if batch is None:
            quiet = LoopTrials(jnp.eye(self.plant.start_size, dtype=model.dtype), None, None)
            return self._run(model, quiet).controls
        return self.simulate(model, batch).controls

    def gradient_noise(self, model: AbstractRNN) -> StartNoise:
        """E: states and controls of the linear loop from each unit of ξ, x_0 = Σ_0^½ ξ, weighted so
        that L = ‖E ξ‖²."""
        plant, kurtosis = cast(self.plant, model.dtype), self.plant.start.kurtosis
        if self.batch is None or self.noisy or plant.matrices is None or kurtosis is None:
            raise ValueError(
                "`task`: of a loop, the noise of gradients is known for minibatches (`batch`) of "
                "independent uniform or normal starts (UniformStart, GaussianStart), and a linear "
                "plant without noise."
            )
        # small, so that no plant meets a bound: the loop is linear
        small, t = 2.0**-20, self.horizon
        starts = small * root(plant.start.moment(plant.start_size).astype(model.dtype)).T
        run = self._run(model, LoopTrials(starts.T, None, None))
        *_, q, of_u = plant.matrices
        beta = self.control_cost.astype(model.dtype) * jnp.eye(plant.controls, dtype=model.dtype)
        states = run.states[1:] @ root(q / t).T
        controls = run.controls @ root(of_u / t + beta).T
        rows = [jnp.swapaxes(x, 1, 2).reshape(-1, len(starts)) for x in (states, controls)]
        trials = jnp.asarray(self.batch, model.dtype)
        kurtosis = jnp.asarray(kurtosis, model.dtype)
        return StartNoise(jnp.concatenate(rows) / small, trials, kurtosis)

    def log_loss(self, model: AbstractRNN) -> Scalar:
        """ln ⟨L⟩, exact also where ⟨L⟩ itself is too large for a floating-point number."""
        return self._expected(model, None).log()

    @eqx.filter_jit
    def loss_of(self, run: Trajectories) -> Scalar:
        """L of simulated trials."""
        plant, beta = cast(self.plant, run.states.dtype), self.control_cost
        cost = jnp.mean(plant.cost(run.states[1:], run.controls, run.signals))
        control = self.horizon * jnp.mean(jnp.sum(run.controls**2, axis=-1))
        return cost + beta.astype(cost.dtype) * control

    def simulate(self, model: AbstractRNN, batch: Batch) -> Trajectories:
        """Run trials of the loop.

        Arguments:
            model: a network or a reduction.
            batch: where trials start, and noise draws if the plant is noisy.

        Errors: ValueError for a model that does not fit, and for other data than `sample` draws.
        """
        self.check(model)
        trials = cast(self.check_trials(batch), model.dtype)
        if trials is None:
            raise ValueError("Trials are simulated from `batch`: pass loop.sample(key), not None.")
        return self._run(model, trials)

    @eqx.filter_jit
    def _run(self, model: AbstractRNN, trials: LoopTrials) -> Trajectories:
        plant = cast(self.plant, model.dtype)
        signals = plant.signals(trials.start, self.horizon)
        noise = [
            None if draws is None or factor is None else jnp.moveaxis(draws, -2, 0) @ factor.T
            for draws, factor in (
                (trials.process, plant.process_noise),
                (trials.observation, plant.observation_noise),
            )
        ]

        def body(carry: tuple[Array, Array], now: Any) -> Any:
            (x, h), (signal, w, v, _) = carry, now
            u = model.readout(h)
            x = plant.step(x, u) if w is None else plant.step(x, u) + w
            o = plant.observe(x, signal)
            o = o if v is None else o + v
            return (x, model.step(h, o)), (x, u, o)

        x = plant.initial(trials.start)
        data = (signals, *noise, jnp.arange(self.horizon))
        start = x, model.starts(*x.shape[:-1])
        _, (states, controls, seen) = model.simulation.scan(body, start, data)
        return Trajectories(jnp.concatenate([x[None], states]), controls, seen, signals)

    def _loss_by_span(self, model: AbstractRNN, trials: LoopTrials) -> Scalar:
        """L of many linear trials X = Q R from the trials that start from the rows of R.

        Trials are linear in their starts and Q has orthonormal columns, so that a sum of quadratic
        costs over X is one over R. The rows are simulated at 2^-20 of their size, where no plant
        meets a bound; if the trials themselves would, they are simulated.
        """
        (p, k), limit = trials.start.shape, self.plant.linear_within
        q, r = jnp.linalg.qr(trials.start)
        run = self._run(model, LoopTrials(2.0**-20 * r, None, None))
        loss = self.loss_of(run) * (2.0**40 * k / p)
        if limit is None or limit == math.inf:
            return loss
        largest = jnp.max(jnp.abs(jnp.einsum("pk,tks->tps", q, run.states)))
        return jax.lax.cond(
            2.0**20 * largest < limit,
            lambda: loss,
            lambda: self.loss_of(self._run(model, trials)),
        )

    def second_moments(
        self, model: AbstractRNN, start: StartMoment | None = None
    ) -> tuple[LinearLoop, Scaled, Scaled]:
        """The linear loop, and Σ_t ⟨s_t s_tᵀ⟩ of s = (x, h) over t < T and over 0 < t ≤ T.

        Arguments: `model`; `start`, the second moment of what trials start from (x_0, mostly) in
        place of that of the plant's law.

        Errors: ValueError unless model and plant are linear.
        """
        self.check(model)
        if not model.is_linear_system or self.plant.matrices is None:
            what = type(self.plant if model.is_linear_system else model).__name__
            raise ValueError(
                f"Moments and the expected loss of a loop are known for linear networks without "
                f"biases and linear plants, and this {what} is not linear: give `batch`, or pass "
                f"`batches` to learn."
            )
        model = simplest(model)
        plant = cast(self.plant, model.dtype)
        system = linear_loop(model, plant)
        moment = plant.start_moment(start).astype(model.dtype)
        return system, *moments(system, moment, self.horizon)

    def _expected(self, model: AbstractRNN, start: StartMoment | None) -> Scaled:
        """⟨L⟩ = tr(Q Σ_{t=1}^{T} ⟨x xᵀ⟩)/T + tr((R/T + β) Σ_{t<T} ⟨u uᵀ⟩)."""
        system, before, after = self.second_moments(model, start)
        plant, (*_, q, cost_of_u) = self.plant, cast(self.plant.matrices, model.dtype)
        n = plant.state_size
        beta = self.control_cost.astype(model.dtype)
        r = cost_of_u / self.horizon + beta * jnp.eye(plant.controls, dtype=model.dtype)
        weight = system.control.T @ r @ system.control
        cost = jnp.sum(q * after.value[:n, :n]) / self.horizon
        control = jnp.sum(weight * before.value)
        return add(Scaled(cost, after.exponent), Scaled(control, before.exponent))

    def check_trials(self, batch: Any, name: str = "batch") -> LoopTrials | None:
        """The data of an epoch in standard form, None for the expectation.

        Errors: ValueError for other data than `sample` draws.
        """
        if batch is None:
            return None
        plant, process, seen = self.plant, None, None
        if plant.process_noise is not None:
            process = (self.horizon, plant.process_noise.shape[1])
        if plant.observation_noise is not None:
            seen = (self.horizon, plant.observation_noise.shape[1])
        if not isinstance(batch, (tuple, list)):
            if self.noisy:
                raise ValueError(
                    f"This plant is noisy: `{name}` holds its initial states and noise draws, "
                    f"LoopTrials(start, process, observation), as `sample` returns them."
                )
            batch = LoopTrials(batch, None, None)
        return checked_batch(self, batch, LoopTrials, (plant.start_size,), process, seen, name=name)

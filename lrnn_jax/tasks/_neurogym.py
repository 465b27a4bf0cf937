"""Tasks of NeuroGym, by their trials."""

import importlib
import warnings
from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import ArrayLike, PRNGKeyArray

from lrnn_jax._checks import number, one_key, shown, whole
from lrnn_jax.tasks._criteria import CrossEntropy, Squared
from lrnn_jax.tasks._trial_set import TrialSet


def from_neurogym(
    env: Any,
    *,
    tau: ArrayLike,
    trials: int,
    key: PRNGKeyArray,
    batch: int | None = None,
    held_out: float = 0.0,
    **options: Any,
) -> TrialSet:
    """Trials of a NeuroGym task, as a task to learn.

        L = −Σ mask ln softmax(y)_{c_t} / Σ mask,   x_t: observations, c_t: the wanted class

    Ground truths are class numbers at each step, one output a class, and all steps count, fixation
    too; those that are floating-point numbers are wanted themselves, L = ‖y − y*‖². Trials differ
    in length; a step is dt/τ membrane time constants, with NeuroGym's own dt.

        task = from_neurogym("PerceptualDecisionMaking-v0", dt=20, tau=100, trials=1000, batch=64,
                             key=jr.key(0))
        net = DenseRNN(…, dt=task.dt, activation=Tanh())        # 3 inputs, 3 outputs

    NeuroGym and PyTorch, without which its version 2.3.1 cannot be imported, are for an environment
    of their own: `pip install 'lrnn_jax[neurogym]'` (NeuroGym pins NumPy and Matplotlib).

    Arguments:
        env: the name of a task, such as "GoNogo-v0", or a task that `neurogym.make` has made, also
            in wrappers that change trials; it is reset and seeded.
        tau: τ, membrane time constant [ms], at least NeuroGym's dt.
        trials: how many trials to draw.
        key: seeds the task.
        batch, held_out: as for `TrialSet`.
        options: of the task, where `env` is a name: dt [ms], timing [ms], …

    Errors: ValueError when NeuroGym is not installed, for a name that it does not know or options
    that the task does not take, τ < dt, and tasks without ground truths for whole trials, or other
    ones than numbers of its actions. Also those of `TrialSet`.

    Source: Molano-Mazón et al. 2022 (NeuroGym).

    >>> class Gym:  # as little of an environment as its trials take
    ...     dt, ob, gt = 20, np.ones((4, 1)), np.array([0, 0, 1, 1])
    ...     action_space = type("Discrete", (), {"n": 2})
    ...     unwrapped = property(lambda self: self)
    ...     def seed(self, seed): ...
    ...     def reset(self): ...
    ...     def get_wrapper_attr(self, name): return self.reset
    ...
    >>> trials = tasks.from_neurogym(Gym(), tau=100, trials=8, batch=4, key=key)
    >>> float(trials.dt)
    0.2
    """
    trials, key = whole(trials, "trials"), one_key(key)
    tau = number(tau, "tau", 0, open_start=True, meaning=" is the time constant in ms and")
    env, inner, draw = _opened(env, options)
    dt, actions = number(inner.dt, "env.dt", 0, open_start=True), inner.action_space
    if dt > tau:
        raise ValueError(
            f"`tau` must be at least the step of the task, {float(dt):g} ms; got {float(tau):g}: "
            f"give its name with a shorter one, dt=…."
        )
    env.reset()
    inner.seed(int(jr.bits(key, dtype=jnp.uint32)))
    drawn = [_trial(inner, draw) for _ in range(trials)]
    inputs, target = zip(*drawn)
    criterion = Squared()
    if target[0].dtype.kind in "iu":
        criterion = CrossEntropy(_classes(inner, actions, target))
    return TrialSet(inputs, target, dt=dt / tau, batch=batch, loss=criterion, held_out=held_out)


def _opened(env: Any, options: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The environment, the task inside, and what makes a new trial.

    Errors: ValueError for what has no such.
    """
    if isinstance(env, str):
        env = _made(env, options)
    elif options:
        raise ValueError(
            f"`env` is made already, so that {', '.join(options)} would change nothing: give its "
            f"name, or give them to neurogym.make."
        )
    try:
        inner, draw, _ = env.unwrapped, env.get_wrapper_attr("new_trial"), env.unwrapped.dt
    except AttributeError:
        raise ValueError(
            f"`env` must be the name of a NeuroGym task, or one that neurogym.make has made; got "
            f"{shown(env)}."
        ) from None
    return env, inner, draw


def _made(name: str, options: dict[str, Any]) -> Any:
    """The task of this name.

    Errors: ValueError when NeuroGym cannot be imported, or does not make it.
    """
    try:
        neurogym = importlib.import_module("neurogym")
    except ImportError as error:
        raise ValueError(
            f"`env` is the name of a NeuroGym task, and NeuroGym cannot be imported ({error}): "
            f"install it with PyTorch, pip install 'lrnn_jax[neurogym]', in an environment of its "
            f"own."
        ) from None
    with warnings.catch_warnings():  # of Gymnasium, about what NeuroGym says of pictures
        warnings.filterwarnings("ignore", r"(?s).*render_modes")
        try:
            return neurogym.make(name, **options)
        except Exception as error:
            raise ValueError(
                f"`env` must be the name of a NeuroGym task, with options that it takes (see "
                f"neurogym.envs.registration.all_envs()); {name!r} failed with "
                f"{type(error).__name__}: {error}"
            ) from error


def _trial(task: Any, draw: Any) -> tuple[np.ndarray, np.ndarray]:
    """Observations and ground truths of a new trial."""
    draw()
    try:
        return np.array(task.ob), np.array(task.gt)
    except AttributeError:
        raise ValueError(
            f"`env` must have ground truths for whole trials, and {type(task).__name__} has none: "
            f"take a task with the tag supervised."
        ) from None


def _classes(task: Any, actions: Any, target: Any) -> int:
    """The number of actions, which ground truths are numbers of.

    Errors: ValueError where they are not.
    """
    highest = max(int(each.max()) for each in target)
    try:
        count = int(actions.n)
    except AttributeError:
        count = 0
    if highest >= count or any(each.ndim != 1 for each in target):
        raise ValueError(
            f"`env` must have ground truths that are numbers of its actions; those of "
            f"{type(task).__name__} reach {highest}, and its actions are {actions}."
        )
    return count

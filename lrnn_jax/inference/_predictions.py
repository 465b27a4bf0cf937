"""What theory predicts of experiments on learning: what can be told apart, and savings."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lrnn_jax._checks import component, names, number, one_key, real_array, shown, whole
from lrnn_jax.inference._channels import AbstractChannel
from lrnn_jax.inference._observations import Observations, as_epochs
from lrnn_jax.inference._saved import AbstractSaved
from lrnn_jax.learning import AbstractMethod, learn
from lrnn_jax.networks import AbstractOverlapRNN, LowRankRNN
from lrnn_jax.reduced import AbstractReduction
from lrnn_jax.tasks import AbstractObjective


class Discriminability(AbstractSaved):
    """How well one curve tells alternatives apart, as more and more epochs are seen.

    Fields:
        names: of the alternatives.
        epochs: the observed ones.
        dprime: d′_{ab}(e), of all data up to epoch e, shape (epoch, alternative, alternative).

    >>> pairs = inference.Discriminability(("a", "b"), (0, 5), jnp.array([jnp.zeros((2, 2))] * 2))
    >>> pairs.between("a", "b").tolist(), pairs.told("a", "b")
    ([0.0, 0.0], None)
    """

    names: tuple[str, ...] = eqx.field(static=True)
    epochs: tuple[int, ...] = eqx.field(static=True)
    dprime: Float[Array, "epoch alternative alternative"]

    def between(self, first: str, second: str) -> Float[Array, " epoch"]:
        """d′ of two of them.

        Errors: ValueError for other names.
        """
        i, j = (self.names.index(x) for x in names((first, second), "alternatives", self.names))
        return self.dprime[:, i, j]

    def told(self, first: str, second: str, dprime: ArrayLike = 3.0) -> int | None:
        """The first epoch after which two are told apart at this d′; None: never."""
        enough = np.asarray(self.between(first, second)) >= float(number(dprime, "dprime", 0))
        return self.epochs[int(enough.argmax())] if enough.any() else None

    def __str__(self) -> str:
        pairs = [(a, b) for i, a in enumerate(self.names) for b in self.names[i + 1 :]]
        rows = [
            f"{a} | {b} {d[0]:.3g} → {d[-1]:.3g}"
            for a, b in pairs
            for d in [np.asarray(self.between(a, b))]
        ]
        return f"d′ at epochs {self.epochs[0]} → {self.epochs[-1]}: {', '.join(rows)}"


def discriminability(
    objective: AbstractObjective,
    alternatives: Mapping[str, Any],  # of pairs (AbstractOverlapRNN, AbstractMethod)
    *,
    epochs: Sequence[int] | np.ndarray | Array,
    observe: AbstractChannel,
    noise: ArrayLike,
) -> Discriminability:
    """When do learning curves part: of matched networks, or of one network under several rules?

        d′_{ab}(e)² = Σ_{e' ≤ e} ‖y_a(e') − y_b(e')‖²/σ²

    of an ideal observer who knows both alternatives: 3 is a sure decision. Networks that match
    before learning have d′(0) = 0. Whoever does not know the overlaps beforehand has to fit them,
    and tells less (`compare`).

    Arguments:
        objective: what is learned.
        alternatives: by name, a network (or reduction) and how it learns, which may be by any rule.
        epochs: at which is looked, rising.
        observe: what is seen.
        noise: σ, one number (or what broadcasts to (epoch, number)).

    Errors: ValueError for fewer than two alternatives and what `learn` refuses; a run that diverges
    raises `LearningError`.

    Source: ours.

    >>> twin = lrnn.degenerate_twin(reduction, uu=2.0)
    >>> two = {"network": (reduction, descent), "twin": (twin, descent)}
    >>> way = {"epochs": (0, 10, 20), "observe": inference.Outputs(every=5), "noise": 0.01}
    >>> found = inference.discriminability(task, two, **way)
    >>> bool(found.between("network", "twin")[0] < 1e-9), found.told("network", "twin")
    (True, 10)
    """
    component(objective, AbstractObjective, "objective", "ExponentialFilter(…), or ClosedLoop(…)")
    component(observe, AbstractChannel, "observe", "Outputs(every=20)")
    component(alternatives, Mapping, "alternatives", '{"a": (reduction, Descent(5e-3)), …}')
    epochs = as_epochs(epochs)
    if len(alternatives) < 2:
        raise ValueError(f"`alternatives` are at least two; got {len(alternatives)}.")
    seen = []
    for each in alternatives.values():
        try:
            model, method = each
        except (TypeError, ValueError):
            raise ValueError(
                f"`alternatives` are pairs of a network and a method; got {shown(each)}."
            ) from None
        seen.append(_seen(objective, model, method, epochs, observe))
    sigma = np.asarray(real_array(noise, "noise", 0, open_start=True))
    values = np.stack([np.asarray(y) for y in seen])
    try:
        values = values / np.broadcast_to(sigma, values.shape[1:])
    except ValueError:
        raise ValueError(
            f"`noise` is one number or has shape {values.shape[1:]}; got {shown(noise)}."
        ) from None
    squares = np.sum((values[:, None] - values[None]) ** 2, axis=-1)
    dprime = np.sqrt(np.cumsum(squares, axis=-1))
    return Discriminability(tuple(alternatives), epochs, jnp.asarray(np.moveaxis(dprime, -1, 0)))


class Savings(AbstractSaved):
    """How fast a task is learned again, by how long another was learned in between.

    Fields:
        history: epochs of the other task, shape (history,).
        first: epochs that the task took at first.
        again: epochs that it takes again, shape (history,); NaN: more than were given.
        transfer: epochs that it takes a network which learned the other task only.

    >>> epochs = map(jnp.array, ([0, 9], 20.0, [0.0, 5.0], [20.0, 10.0]))
    >>> found = inference.Savings(*epochs)
    >>> found.savings.tolist(), found.memory.tolist()
    ([1.0, 0.75], [1.0, 0.5])
    """

    history: Array
    first: Float[Array, ""]
    again: Float[Array, " history"]
    transfer: Float[Array, " history"]

    @property
    def savings(self) -> Float[Array, " history"]:
        """1 − again/first."""
        return 1 - self.again / self.first

    @property
    def memory(self) -> Float[Array, " history"]:
        """1 − again/transfer: what is saved by having learned this task, not just any."""
        return 1 - self.again / self.transfer


def savings(
    model: AbstractReduction,
    task: AbstractObjective,
    other: AbstractObjective,
    method: AbstractMethod,
    *,
    history: Sequence[int] | np.ndarray | Array,
    epochs: int,
    criterion: ArrayLike = 0.01,
) -> Savings:
    """Savings on relearning as a function of history: task, then h epochs of the other, then task.

        savings(h) = 1 − n(task | task, other × h)/n(task)

    n: epochs until the loss is the criterion's share of the first one, log L interpolated between
    epochs. A network that learned only the other task (for h epochs) is the control: the rest is
    memory of the task, in overlaps that its loss does not see.

    Arguments:
        model: a reduction of the network before any learning.
        task, other: what is learned, and what comes in between; with the same channels.
        method: how; optimiser states such as momentum start afresh with every task.
        history: h, epochs of the other task, rising.
        epochs: the most that learning may take.
        criterion: share of the first loss, in (0, 1).

    Errors: ValueError where the task is not learned to the criterion in so many epochs, and what
    `learn` refuses.

    Source: ours.

    >>> faster = lrnn.ExponentialFilter(0.5, 0.1, 50)
    >>> way = {"history": (0, 10, 50), "epochs": 1000, "criterion": 0.1}
    >>> found = inference.savings(reduction, task, faster, descent, **way)
    >>> float(found.savings[0]), bool(found.again[2] < found.first)
    (1.0, True)
    """
    component(model, AbstractReduction, "model", "reduce(network)")
    component(task, AbstractObjective, "task", "ExponentialFilter(0.2, 0.05, 400)")
    component(other, AbstractObjective, "other", "ExponentialFilter(1.0, 0.05, 400)")
    history, epochs = as_epochs(history, "history"), whole(epochs, "epochs")
    share = number(criterion, "criterion", 0, 1, open_start=True, open_end=True)
    naive = learn(model, task, method, epochs=epochs)
    level = share * naive.loss[0]
    first = crossing(naive.loss, level)
    if not np.isfinite(first):
        raise ValueError(
            f"`epochs` must be enough to learn the task: after {epochs} the loss is "
            f"{float(naive.loss[-1] / naive.loss[0]):.3g} of the first, above the criterion "
            f"{float(share):.3g}."
        )
    learned = model.with_gram(naive.gram[int(np.ceil(first))])
    stride = max(int(np.gcd.reduce(history)), 1)

    def after(start: AbstractReduction) -> Any:
        between = learn(start, other, method, epochs=history[-1], record=stride)
        grams = between.gram[np.array(history) // stride]
        return jax.vmap(
            lambda q: learn(model.with_gram(q), task, method, epochs=epochs, throw=False).loss
        )(grams)

    again, control = (
        jnp.array([crossing(loss, level) for loss in after(start)]) for start in (learned, model)
    )
    return Savings(jnp.array(history), jnp.asarray(first), again, control)


def crossing(loss: Any, level: Any) -> float:
    """The epoch at which a loss first falls to a level, log L interpolated; NaN: never.

    >>> loss = np.array([1.0, 0.1, 0.001])
    >>> round(inference.crossing(loss, 0.01), 6), inference.crossing(loss, 1e-4)
    (1.5, nan)
    """
    values, level = np.asarray(loss, float), float(level)
    below = values <= level
    if not below.any():
        return np.nan
    n = int(below.argmax())
    if n == 0:
        return 0.0
    before, after = np.log(values[n - 1]), np.log(values[n])
    return n - 1 + float((before - np.log(level)) / (before - after))


def finite_size(
    model: AbstractReduction,
    objective: AbstractObjective,
    method: AbstractMethod,
    *,
    neurons: int,
    epochs: Sequence[int] | np.ndarray | Array,
    observe: AbstractChannel,
    draws: int = 16,
    key: PRNGKeyArray,
) -> Float[Array, "epoch number"]:
    """σ_N: by how much networks of N neurons with the same overlaps differ from each other.

    Their loadings are Gaussian up to 1/√N, and what a nonlinear network shows depends on more than
    Q. An estimate from data of one of them needs `noise=jnp.hypot(sigma, finite_size(…))`, or its
    intervals are too narrow; what it adds is correlated over epochs, which is left out there. Of a
    linear network it is zero.

    Arguments:
        model: the closure of the network, `reduce(network)`, or an estimate's.
        objective, method: what is learned, and how.
        neurons: N.
        epochs, observe: what is seen, as for `identifiable`.
        draws: how many networks are drawn and trained.
        key: draws them.

    Returns: standard deviation over the networks.

    Errors: ValueError for fewer than two draws or fewer neurons than rank(Q).

    Source: ours.

    >>> way = {"epochs": (0, 10), "observe": inference.Loss(), "draws": 4, "key": key}
    >>> spread = inference.finite_size(reduction, task, descent, neurons=50, **way)
    >>> bool(spread.max() < 1e-9)  # it is linear
    True
    """
    component(model, AbstractReduction, "model", "reduce(network)")
    component(observe, AbstractChannel, "observe", "Outputs(every=20)")
    epochs, draws = as_epochs(epochs), whole(draws, "draws", 2)
    neurons = whole(neurons, "neurons")
    options = {"dt": model.dt, "activation": model.activation, "readout": model.readout_activation}

    def one(key: Any) -> Array:
        net = LowRankRNN.with_overlaps(
            model.overlaps, neurons, c=model.c, frozen=model.frozen, key=key, **options
        )
        return _seen(objective, net, method, epochs, observe)

    # one after the other: N neurons a draw are enough work, and memory
    return jnp.std(jax.lax.map(one, jr.split(one_key(key), draws)), axis=0, ddof=1)


def _seen(
    objective: AbstractObjective,
    model: AbstractOverlapRNN,
    method: AbstractMethod,
    epochs: tuple[int, ...],
    observe: AbstractChannel,
) -> Float[Array, "epoch number"]:
    """What a channel shows of learning, without noise."""
    stride = Observations(observe, np.zeros(len(epochs)), epochs=epochs, noise=1.0).stride
    curve = learn(
        model,
        objective,
        method,
        epochs=epochs[-1],
        record=stride,
        watch=eqx.Partial(observe.look, objective),
    )
    rows = jnp.asarray(curve.watched)
    usual = {name: jnp.asarray(x, rows.dtype) for name, x in observe.extra.items()}
    return observe.link(rows[np.array(epochs) // stride], rows[0], usual)

"""Which way of learning made a curve, and how often that can be told."""

from collections.abc import Mapping, Sequence

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from lrnn_jax._checks import component, number, one_key, whole
from lrnn_jax.inference._channels import AbstractChannel, dependence
from lrnn_jax.inference._estimate import Estimate, Prior, infer
from lrnn_jax.inference._observations import Observations, as_epochs
from lrnn_jax.inference._predict import predict_many, setting
from lrnn_jax.inference._ranks import exact_ranks
from lrnn_jax.inference._saved import AbstractSaved
from lrnn_jax.inference._starts import drawn
from lrnn_jax.learning import AbstractMethod
from lrnn_jax.networks import AbstractOverlapRNN
from lrnn_jax.tasks import AbstractObjective


class Comparison(eqx.Module):
    """How well each candidate explains a curve.

    Fields:
        estimates: of each candidate, by name.
        dimensions: how many parameters the data can fix under each, exactly.
        bic: χ² + dimension · ln n of each; the lowest is the best.

    >>> ways = {"all": descent}
    >>> found = inference.compare(data, task, ways, model=reduction, unknown=(), starts=20, key=key)
    >>> found.best, found.gap
    ('all', inf)
    """

    estimates: dict[str, Estimate]
    dimensions: dict[str, int] = eqx.field(static=True)
    bic: dict[str, float] = eqx.field(static=True)

    @property
    def unresolved(self) -> tuple[str, ...]:
        """Candidates of which no two starts agree: their lowest χ² may not have been found."""
        return tuple(name for name, found in self.estimates.items() if not found.resolved)

    @property
    def best(self) -> str:
        """The candidate of lowest BIC among all, or "unresolved" where it is not resolved itself.

        A rival that is unresolved could still overtake it: see `unresolved`.
        """
        name = min(self.bic, key=lambda name: self.bic[name])
        return "unresolved" if name in self.unresolved else name

    @property
    def gap(self) -> float:
        """By how much the second-best BIC is larger; infinite for a single candidate."""
        values = sorted(self.bic.values())
        return values[1] - values[0] if len(values) > 1 else np.inf

    def __str__(self) -> str:
        rows = [
            f"{name} {self.bic[name] - min(self.bic.values()):.4g} (χ² {float(e.chi2):.4g}, "
            f"{self.dimensions[name]} dimensions, {e.starts_agreeing} starts agree)"
            for name, e in sorted(self.estimates.items(), key=lambda item: self.bic[item[0]])
        ]
        return f"Best: {self.best}; BIC above the lowest: {', '.join(rows)}"


def compare(
    data: Observations,
    objective: AbstractObjective,
    candidates: Mapping[str, AbstractMethod],
    *,
    model: AbstractOverlapRNN,
    unknown: tuple[str, ...] = ("lr",),
    prior: Prior | None = None,
    starts: int = 20,
    key: PRNGKeyArray,
) -> Comparison:
    """Which of several ways of learning made a curve: by which rule, what learns, with momentum?

        BIC = min χ² + dimension · ln n      (χ² + 2 n ln s where the noise σ · s is unknown)

    The dimension is the exact rank of the observations (`exact_ranks`), not a count of parameters:
    a read-out that learns alone has 5 of 11 by its loss. Each candidate is fitted by `infer`.

    Arguments:
        data, objective, model, unknown, prior, starts: as for `infer`.
        candidates: methods by name, e.g. `{"all": Descent(5e-3), "m frozen": Descent(5e-3,
            rates={"m": 0.0}), "RFLO": Descent(5e-3, rule=RFLO(key=key))}`; a rate that is unknown
            is where its prior lies.
        key: draws starts, the same for all candidates.

    Errors: ValueError as for `infer` and `exact_ranks`, and for no candidates.

    Source: ours.

    >>> ways = {"all": descent, "m frozen": lrnn.Descent(0.05, rates={"m": 0.0})}
    >>> found = inference.compare(data, task, ways, model=reduction, unknown=(), starts=20, key=key)
    >>> found.dimensions
    {'all': 10, 'm frozen': 10}
    """
    _check(candidates)
    component(data, Observations, "data", "Observations(Outputs(every=20), y, …)")
    key = one_key(key)
    estimates, dimensions, bic = {}, {}, {}
    for name, method in candidates.items():
        found = infer(
            data,
            objective,
            method,
            model=model,
            unknown=unknown,
            prior=prior,
            starts=starts,
            key=key,
        )
        ranks = exact_ranks(
            objective,
            method,
            model,
            epochs=min(data.epochs[-1], len(found.theta) + 1),
            unknown=dependence(data.channel, found.setting.unknown),
        )
        counts = {"outputs": ranks.outputs, "loss": ranks.loss, "visible": ranks.visible}
        estimates[name] = found
        dimensions[name] = min(int(counts[data.channel.kind][-1]), data.size)
        bic[name] = float(found.deviance) + dimensions[name] * float(np.log(data.size))
    return Comparison(estimates, dimensions, bic)


class Confusion(AbstractSaved):
    """How often each way of learning is taken for which.

    Fields:
        names: of the candidates.
        said: counts, shape (true candidate, said candidate); the last column is "unresolved".
        misfit: χ²/n of the fit by the true way, shape (true candidate, repetition): far above 1
            where the search has failed, not the data.

    >>> counts, misfit = jnp.array([[9, 0, 1], [0, 10, 0]]), jnp.ones((2, 10))
    >>> inference.Confusion(("all", "RFLO"), counts, misfit).right
    0.95
    """

    names: tuple[str, ...] = eqx.field(static=True)
    said: Int[Array, "true said"]
    misfit: Float[Array, "true repetition"]

    @property
    def right(self) -> float:
        """The share that is told rightly."""
        return float(jnp.trace(self.said) / jnp.sum(self.said))

    def __str__(self) -> str:
        heads = (*self.names, "unresolved")
        rows = []
        for name, counts in zip(self.names, np.asarray(self.said)):
            seen = [f"{head} {count}" for head, count in zip(heads, counts) if count]
            rows.append(f"{name} → {', '.join(seen)}")
        return f"Right {self.right:.3g}: {'; '.join(rows)}"


def confusion(
    objective: AbstractObjective,
    candidates: Mapping[str, AbstractMethod],
    *,
    model: AbstractOverlapRNN,
    epochs: Sequence[int] | np.ndarray,
    observe: AbstractChannel,
    noise: ArrayLike,
    repetitions: int = 10,
    unknown: tuple[str, ...] = ("lr",),
    prior: Prior | None = None,
    starts: int = 20,
    key: PRNGKeyArray,
) -> Confusion:
    """How often an experiment would tell by which way a network learned, before it is done.

    Random networks learn in each of the ways, are seen with noise, and `compare` says which way it
    was.

    Arguments:
        objective, candidates, model, unknown, prior, starts: as for `compare`.
        epochs, observe, noise: what is seen, as for `identifiable`.
        repetitions: how many random networks, the same for all candidates.
        key: draws networks, noise, and starts.

    Errors: ValueError as for `compare`, and where a network's learning diverges.

    Source: ours.

    >>> ways = {"all": descent, "e-prop": lrnn.Descent(0.05, rule=lrnn.EProp())}
    >>> seen = {"epochs": range(0, 21, 5), "observe": inference.Visible(), "noise": 0.01}
    >>> few = {"repetitions": 1, "unknown": (), "starts": 4, "key": key}
    >>> inference.confusion(task, ways, model=reduction, **seen, **few).said.shape
    (2, 3)
    """
    _check(candidates)
    component(observe, AbstractChannel, "observe", "Outputs(every=20)")
    epochs, repetitions = as_epochs(epochs), whole(repetitions, "repetitions")
    noise = number(noise, "noise", 0, open_start=True)
    networks, errors, starting = jr.split(one_key(key), 3)
    stride = Observations(observe, np.zeros(len(epochs)), epochs=epochs, noise=1.0).stride
    columns = (*candidates, "unresolved")
    said = np.zeros((len(candidates), len(columns)), int)
    misfit = np.zeros((len(candidates), repetitions))
    given = {"model": model, "unknown": unknown, "prior": prior, "starts": starts}
    for row, (name, method) in enumerate(candidates.items()):
        s = setting(model, objective, method, observe, epochs, stride, ())
        clean = predict_many(s, drawn(s, repetitions, networks))
        if not np.all(np.isfinite(clean)):
            raise ValueError(
                f"`candidates`: learning by {name!r} diverges for one of the random networks "
                f"before the last of `epochs`: take a smaller step."
            )
        shown = clean + noise * jr.normal(jr.fold_in(errors, row), clean.shape)
        for turn, values in enumerate(shown):
            data = Observations(observe, values, epochs=epochs, noise=noise)
            found = compare(data, objective, candidates, **given, key=jr.fold_in(starting, turn))
            said[row, columns.index(found.best)] += 1
            misfit[row, turn] = float(found.estimates[name].chi2) / data.size
    return Confusion(tuple(candidates), jnp.asarray(said), jnp.asarray(misfit))


def _check(candidates: Mapping[str, AbstractMethod]) -> None:
    """Methods by name."""
    component(candidates, Mapping, "candidates", '{"all": Descent(5e-3)}')
    for method in candidates.values():
        component(method, AbstractMethod, "candidates", '{"all": Descent(5e-3)}')
    if not candidates:
        raise ValueError("`candidates` are methods by name, at least one; got none.")

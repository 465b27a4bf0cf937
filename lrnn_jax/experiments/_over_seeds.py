"""An experiment over many seeds: how often each claim holds, and how its numbers spread."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from lrnn_jax._checks import component, flag, whole
from lrnn_jax._results import RESULTS
from lrnn_jax.experiments._base import Experiment, Table, Verdict
from lrnn_jax.figures import VISIBLE, Axes, Figure, letter, panels, style
from lrnn_jax.sweeps import Labelled, Sweep

OFTEN = 0.8
"""Share of seeds that a claim holds for, where it is worth claiming."""

BOUNDED = "value", "low", "high"
"""What is kept of each claim."""


class Interval(NamedTuple):
    """An estimate with its 95 % interval; NaN where there is none.

    >>> experiments.Interval(0.9, 0.7, 0.97).low
    0.7
    """

    value: float
    low: float
    high: float

    def __format__(self, how: str) -> str:
        return f"{self.value:{how}} [{self.low:{how}}, {self.high:{how}}]"


@dataclass(frozen=True)
class SeedsReport:
    """What an experiment found over many seeds. Made by `over_seeds`.

    A run that raised an error counts as one for which no claim holds, and is told; a claim that a
    run cannot tell is left out of that claim's count.

    Arguments:
        experiment, config: what was run; with the first of the seeds.
        data: dataset over `seed`: `value`, `low` and `high` by `claim`, the losses of all learning
            curves, and `result`, how each run ended.

    >>> report = experiments.over_seeds(experiments.coupling, seeds=3, progress=False)
    >>> report.share("max_error").value, report.failed
    (1.0, 0)
    """

    experiment: Experiment
    config: Any
    data: Any

    @property
    def seconds(self) -> dict[str, Any]:
        """No timings: runs of a series share their machine."""
        return {}

    @property
    def missing(self) -> int:
        """Runs that are not done, where other processes do them."""
        return int((self.data.result.values < 0).sum())

    @property
    def failed(self) -> int:
        """Runs that ended in an error."""
        return int((self.data.result.values > 0).sum())

    @property
    def names(self) -> list[str]:
        """The claims' names."""
        return [claim.name for claim in self.experiment.claims]

    def measured(self, name: str) -> np.ndarray:
        """What was measured for a claim, by seed; NaN where a run failed or cannot tell."""
        return self.data.value.sel(claim=name).values

    def holds(self, name: str) -> np.ndarray:
        """Whether a claim holds, for all seeds whose run failed or can tell."""
        one = self.data.sel(claim=name)
        told = ~np.isnan(one.low.values) | (self.data.result.values > 0)
        return ((one.low <= one.value) & (one.value <= one.high)).values[told]

    def share(self, name: str) -> Interval:
        """The share of seeds for which a claim holds, with Wilson's interval."""
        holds = self.holds(name)
        if not len(holds):
            return Interval(math.nan, math.nan, math.nan)
        found = stats.binomtest(int(holds.sum()), len(holds))
        return Interval(float(holds.mean()), *map(float, found.proportion_ci(method="wilson")))

    def spread(self, name: str, of: Callable[..., Any] = np.median) -> Interval:
        """Median (or another statistic) of what was measured for a claim, by bootstrap."""
        values = self.measured(name)
        values = values[np.isfinite(values)]
        if len(values) < 2 or values.min() == values.max():
            return Interval(*[float(of(values)) if len(values) else math.nan] * 3)
        found = stats.bootstrap(
            (values,), of, n_resamples=2000, method="percentile", rng=np.random.default_rng(0)
        )
        return Interval(float(of(values)), *map(float, found.confidence_interval))

    @property
    def claims(self) -> tuple[Verdict, ...]:
        """By claim: for which share of the seeds it holds, and whether that is often enough."""
        out = []
        for claim in self.experiment.claims:
            share, holds = self.share(claim.name), self.holds(claim.name)
            words = claim.text if isinstance(claim.text, str) else claim.name.replace("_", " ")
            text = f"{words}: share of seeds (≥ {OFTEN})"
            shown = f"{holds.sum()} of {len(holds)}, {share:.2f}"
            good = share.value >= OFTEN or not len(holds)
            out.append(Verdict(claim.name, text, shown, good, share.value, OFTEN, 1.0))
        return tuple(out)

    @property
    def values(self) -> dict[str, Any]:
        """By claim: share, median and mean, each with its interval."""
        return {
            name: {
                "share": self.share(name)._asdict(),
                "median": self.spread(name)._asdict(),
                "mean": self.spread(name, np.mean)._asdict(),
            }
            for name in self.names
        }

    @property
    def table(self) -> Table:
        """Header and rows of the printed table."""
        header = ["claim", "seeds", "share that holds", "median", "mean"]
        rows = []
        for name in self.names:
            median, mean = self.spread(name), self.spread(name, np.mean)
            count = str(len(self.holds(name)))
            rows.append([name, count, f"{self.share(name):.2f}", f"{median:.3g}", f"{mean:.3g}"])
        return header, rows

    @property
    def notes(self) -> list[str]:
        """How many runs there were, how many failed, and why."""
        seeds = self.data.seed.values
        line = f"{len(seeds)} seeds, {seeds[0]} … {seeds[-1]}; {self.failed} failed"
        return [f"{line}. Intervals: 95 %, Wilson's for shares, bootstrap for numbers."]

    def to_xarray(self) -> Any:
        """The dataset in memory."""
        return self.data.load()

    def draw(self) -> Figure:
        """Losses over seeds (median, 5 to 95 %), and each claim's numbers with its bounds."""
        losses = [name for name in self.data if name.startswith("loss_")]
        count = len(losses) + len(self.names)
        with style():
            figure, axes = panels(-(-count // 3), 3, height=1.75 * -(-count // 3), squeeze=False)
            for ax, name in zip(axes.flat, losses):
                _band(ax, self.data[name], name.removeprefix("loss_"))
            for ax, name in zip(axes.flat[len(losses) :], self.names):
                self._steps(ax, name)
            for ax in axes.flat[count:]:
                ax.set_axis_off()
            letter(list(axes.flat[:count]))
        return figure

    def _steps(self, ax: Axes, name: str) -> None:
        """The share of seeds below each value of what was measured, and the bounds."""
        values = self.measured(name)
        values = np.sort(values[np.isfinite(values)])
        ax.set(xlabel=name.replace("_", " "), ylabel="share of seeds", ylim=(0, 1.05))
        if not len(values):
            return
        ax.ecdf(values, color="#1a1a1a")
        bounds = (self.data[bound].sel(claim=name).values for bound in BOUNDED[1:])
        finite = (bound[np.isfinite(bound)] for bound in bounds)
        drawn = [np.median(bound) for bound in finite if len(bound)]
        for bound in drawn:
            ax.axvline(bound, color=VISIBLE[1], linestyle=(0, (4, 1.2)))
        low, high = min(values[0], *drawn), max(values[-1], *drawn)
        if low > 0 and high > 100 * low:
            ax.set_xscale("log")


def _band(ax: Axes, loss: Any, name: str) -> None:
    epoch = loss.dims[-1]
    low, middle, high = np.nanquantile(loss.values, [0.05, 0.5, 0.95], axis=0)
    at = loss[epoch].values if epoch in loss.coords else np.arange(len(middle))
    ax.fill_between(at, low, high, color="0.82", linewidth=0)
    ax.plot(at, middle, color="#1a1a1a")
    ax.set(xlabel="epoch", ylabel=f"loss, {name}", xlim=(at[0], at[-1]))
    if np.nanmin(low) > 0:
        ax.set_yscale("log")


def over_seeds(
    experiment: Experiment,
    config: Any = None,
    *,
    seeds: int = 20,
    store: Any = None,
    resume: bool = False,
    shard: Any = None,
    stop: Any = None,
    progress: bool = True,
) -> SeedsReport:
    """Run an experiment with seed, seed + 1, … of its config, and count.

    Arguments:
        experiment: one of `REGISTRY`, or your own.
        config: default its full size.
        seeds: how many.
        store, resume, shard, stop, progress: as of `Sweep` and `Sweep.run`: a folder that keeps
            every finished run, so that a killed series goes on, and several processes share one.

    Returns: shares of claims, and spreads of their numbers. Runs that end in an error count.

    Errors: ValueError for a config without a seed, and as of `Sweep`.

    Source: ours.

    >>> report = experiments.over_seeds(experiments.coupling, seeds=3, progress=False)
    >>> report.table[1][0][:3]
    ['max_error', '3', '1.00 [0.44, 1.00]']
    """
    component(experiment, Experiment, "experiment", 'experiments.get("filter")')
    config = experiment.full if config is None else config
    component(config, type(experiment.quick), "config", f"{type(experiment.quick).__name__}()")
    fixed = dataclasses.asdict(config)
    if "seed" not in fixed:
        raise ValueError(f"`config` has no seed: {type(config).__name__} draws nothing.")
    cells = {"seed": [fixed["seed"] + i for i in range(whole(seeds, "seeds", 1))]}
    kept = ", ".join(f"{name}={value!r}" for name, value in fixed.items() if name != "seed")
    sweep = Sweep(
        cells,
        lambda seed: _cell(experiment, dataclasses.replace(config, seed=int(seed))),
        traced=False,
        store=store,
        name=f"{experiment.name}({kept})",
    )
    data = sweep.run(resume=flag(resume, "resume"), shard=shard, stop=stop, progress=progress)
    if "value" not in data:  # no run came to its end
        nothing = np.full((len(data.seed), len(experiment.claims)), np.nan)
        blank = dict.fromkeys(BOUNDED, (("seed", "claim"), nothing))
        data = data.assign(blank).assign_coords(claim=[claim.name for claim in experiment.claims])
    return SeedsReport(experiment, config, data)


def _cell(experiment: Experiment, config: Any) -> dict[str, Any]:
    """One run: what its claims measured, with their bounds, and its losses."""
    report = experiment(config)
    found = {verdict.name: verdict._asdict() for verdict in report.claims}
    names = tuple(claim.name for claim in experiment.claims)
    out: dict[str, Any] = {"result": RESULTS.successful}  # numbers may be infinite
    for what in BOUNDED:
        numbers = [found[name][what] if name in found else math.nan for name in names]
        out[what] = Labelled(np.array(numbers), "claim", labels={"claim": names})
    for name, curve in report.results.curves().items():
        if curve.loss.ndim == 1:
            epoch = f"epoch_{name}"
            out[epoch] = Labelled(curve.epochs, epoch, coordinate=True)
            out[f"loss_{name}"] = Labelled(curve.loss, epoch, long_name=f"loss, {name}")
    return out

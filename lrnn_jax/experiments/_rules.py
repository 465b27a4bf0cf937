"""`rules`: one network, two tasks, seven learning rules; what each reads, keeps and forgets."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
from jaxtyping import Array

from lrnn_jax.experiments._base import AbstractResults, Columns, claim, experiment, labelled
from lrnn_jax.experiments._configs import within
from lrnn_jax.experiments._memory_aba import AbstractTwoFiltersConfig
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import (
    FIRST,
    THEORY,
    Axes,
    Figure,
    make_room,
    panels,
    plot_lines,
    shade_phases,
    shades,
)
from lrnn_jax.learning import Descent, LearningCurve, excursion, learn
from lrnn_jax.networks import LowRankRNN
from lrnn_jax.overlaps import Overlaps, invariants_of
from lrnn_jax.reduced import reduce
from lrnn_jax.rules import (
    RFLO,
    AbstractRule,
    DelayedRule,
    EProp,
    FeedbackAlignment,
    Gradient,
    Truncated,
    WeightPerturbation,
    conserved,
    steering,
)

PHASES = "ABA"
FIXED = "feedback", "rflo"
"""Rules with a fixed feedback vector F."""
NAMES = {
    "gradient": "gradient",
    "window": "window",
    "delayed": "delayed",
    "eprop": "e-prop",
    "feedback": "feedback al.",
    "rflo": "RFLO",
}


@dataclass(frozen=True)
class RulesConfig(AbstractTwoFiltersConfig):
    """A-B-A under six rules that send errors back, and A under weight perturbation.

    >>> config = experiments.RulesConfig(epochs=1000, window=5)
    >>> list(config.rules())
    ['gradient', 'window', 'delayed', 'eprop', 'feedback', 'rflo']
    """

    steps: int = within(200, 2, 1e6)
    epochs: int = within(3000, 2, 1e8)
    """Epochs of each of the three phases."""
    window: int = within(10, 1, lambda config: config.steps)
    """Updates over which `Truncated` sends an error back."""
    delay: int = within(1, 1, 1e4)
    """Epochs by which `DelayedRule` comes late."""
    sigma: float = within(1e-3, 1e-9, 1e3)
    """σ of weight perturbation."""
    slower: int = within(10, 1, 1e6)
    """By how much the rate of weight perturbation is smaller, on `epochs` of A."""
    runs: int = within(24, 3, 1e6)
    """Runs of weight perturbation, by theory."""

    def feedback(self) -> Array:
        """F, shape (n, 1)."""
        return jr.normal(jr.fold_in(jr.key(self.seed), 1), (self.n, 1))

    def rules(self) -> dict[str, AbstractRule]:
        """The rules that send errors back, by name."""
        f = self.feedback()
        return {
            "gradient": Gradient(),
            "window": Truncated(self.window),
            "delayed": DelayedRule(Gradient(), epochs=self.delay),
            "eprop": EProp(),
            "feedback": FeedbackAlignment(f),
            "rflo": RFLO(f),
        }


class RulesResults(AbstractResults):
    """A-B-A under each rule on the network and by theory, and A under weight perturbation."""

    config: RulesConfig
    full: dict[str, LearningCurve]
    reduced: dict[str, LearningCurve]
    tried: LearningCurve
    """Weight perturbation on the network, A alone."""
    silent_loss: float
    """Largest change of RFLO's loss, relative to the first, with another zz."""
    seen_loss: float
    """The same of the gradient's."""
    chains: dict[str, Any] = labelled("by independent Markov chains", "run", "tried_epoch")
    tried_epoch: Any = labelled("epoch", "tried_epoch", units="")
    alignment: dict[str, Any] = labelled("cosine of read-out Z and feedback F", "epoch")
    balance: dict[str, Any] = labelled("change of uu − vv", "epoch")
    spectrum: dict[str, Any] = labelled("change of eigenvalues of JQ", "epoch")
    outside: Any = labelled("RFLO: change of what lies outside of the feedback", "epoch")
    leftover: dict[str, Any] = labelled("overlaps, last A − first A", "own_overlap")
    size: dict[str, Any] = labelled("largest change of overlaps meanwhile", "own_overlap")
    steers: dict[str, Any] = labelled("whether an overlap steers learning", "own_overlap", units="")

    @claim("theory and network agree under each rule: largest |ΔQ|", high=1e-9)
    def max_abs_dq(self) -> Any:
        return max(self._apart(n) for n in self.full)

    @claim("each rule learns each task: largest loss at a phase's end, over the first", high=1e-2)
    def phase_loss(self) -> Any:
        return max(self._unsolved(n) for n in self.full)

    @claim("most to a ten-thousandth in all three phases: how many of the six", low=4)
    def solving(self) -> int:
        return len(self._solved)

    @claim(
        "and under each of these overlaps return after A-B-A: largest leftover over largest "
        "excursion",
        high=0.1,
    )
    def leftover_share(self) -> Any:
        shares = [abs(self.leftover[n]).max() / self.size[n].max() for n in self._solved]
        return max(shares, default=None)

    @claim("fixed feedback: the read-out turns towards it: smallest growth of the cosine", low=0.1)
    def aligned(self) -> Any:
        return min(x[-1] - x[0] for x in self.alignment.values())

    @claim(
        "it did not at first: largest |cosine|, expected 1/√N", high=lambda r: 5 / r.config.n**0.5
    )
    def aligned_before(self) -> Any:
        return max(abs(x[0]) for x in self.alignment.values())

    @claim("the flow of each rule keeps uu − vv: largest change, over the largest of uu", high=0.05)
    def balance_moved(self) -> Any:
        return max(x[-1] / self.reduced[n]["uu"].max() for n, x in self.balance.items())

    @claim("that of the gradient alone keeps the eigenvalues of JQ: e-prop's change over it", low=5)
    def spectrum_moved(self) -> Any:
        return self.spectrum["eprop"][-1] / self.spectrum["gradient"][-1]

    @claim("RFLO keeps what lies outside of the feedback, at any step: largest change", high=1e-11)
    def outside_moved(self) -> Any:
        return self.outside.max()

    @claim("zz is silent under RFLO: another zz changes its loss by", high=1e-11)
    def silent(self) -> float:
        return self.silent_loss

    @claim("it is not under the gradient: by", low=1e-3)
    def seen(self) -> float:
        return self.seen_loss

    @claim(
        "weight perturbation inflates norms: mean growth of mm + uu + vv + zz of the chains beyond "
        "the gradient's, in standard errors",
        low=5,
    )
    def inflated(self) -> Any:
        grown = self.chains["norms"][:, -1] - self._quiet_norms[-1]
        return grown.mean() / (grown.std(ddof=1) / len(grown) ** 0.5)

    @claim("the network's norms lie among the chains': |z| of their growth", high=4)
    def as_chains(self) -> Any:
        ends = self.chains["norms"][:, -1]
        z = (squared_norms(self.tried.overlaps)[-1] - ends.mean()) / ends.std(ddof=1)
        return abs(z) / (1 + 1 / len(ends)) ** 0.5

    def _apart(self, name: str) -> float:
        """Largest |ΔQ| of theory and network under a rule."""
        return float(self.reduced[name].distance(self.full[name]).max)

    def _unsolved(self, name: str) -> float:
        """The largest loss of a rule at a phase's end, over the first."""
        loss = self.full[name].loss
        ends = [i * self.config.epochs // self.config.record - 1 for i in (1, 2, 3)]
        return float(max(loss[i] for i in ends) / loss[0])

    @property
    def _solved(self) -> list[str]:
        return [name for name in self.full if self._unsolved(name) < 1e-4]

    @property
    def _quiet_norms(self) -> Any:
        """mm + uu + vv + zz under the gradient, for as long as was tried with noise."""
        last = self.config.epochs // self.config.slower // self.config.record
        return squared_norms(self.reduced["gradient"].overlaps)[: last + 1]

    def table(self) -> Columns:
        names = list(self.full)
        return {
            "rule": ([NAMES[n] for n in names], "s"),
            "final loss": ([float(self.full[n].loss[-1]) for n in names], ".1e"),
            "max|ΔQ|": ([self._apart(n) for n in names], ".1e"),
            "left over": ([abs(self.leftover[n]).max() for n in names], ".4f"),
            "excursion": ([self.size[n].max() for n in names], ".3f"),
            "steer": ([int(self.steers[n].sum()) for n in names], "d"),
            "uu − vv": ([self.balance[n][-1] for n in names], ".1e"),
            "eig JQ": ([self.spectrum[n][-1] for n in names], ".1e"),
        }

    def draw(self) -> Figure:
        figure, axes = panels(3, 2, height=6.4)
        looks = dict(zip(NAMES, shades(len(NAMES))))
        _losses(axes[0, 0], self, looks)
        _alignment(axes[0, 1], self, looks)
        of_flow = {r"$uu-vv$": self.balance, "eig. $JQ$": self.spectrum}
        kept = {label: [x[n][-1] for n in NAMES] for label, x in of_flow.items()}
        _two_by_rule(axes[1, 0], kept, "os", "change over A-B-A")
        left = {"excursion": self.size, "left over": self.leftover}
        came = {label: [abs(x[n]).max() for n in NAMES] for label, x in left.items()}
        _two_by_rule(axes[1, 1], came, "^v", r"largest $|\Delta Q|$ of A-B-A")
        _steering(axes[2, 0], self)
        _inflation(axes[2, 1], self)
        bounds = [i * self.config.epochs for i in range(4)]
        for ax in axes[0]:
            shade_phases(ax, bounds, PHASES)
        return figure


def squared_norms(overlaps: Overlaps) -> Any:
    """mm + uu + vv + zz, with leading axes of the overlaps."""
    return sum(overlaps[name] for name in ("mm", "uu", "vv", "zz"))


def _losses(ax: Axes, r: RulesResults, looks: dict[str, Any]) -> None:
    for name, curve in r.full.items():
        full = {"color": looks[name], "linewidth": 2.2}
        theory = {**THEORY, "linewidth": 0.7}
        lines = (NAMES[name], curve.loss, full), (None, r.reduced[name].loss, theory)
        plot_lines(ax, np.asarray(curve.epochs), lines, above=1e-8)
    ax.set(xlabel="epoch", ylabel=r"loss $L$")
    make_room(ax, above=0.55).legend(ncols=2, loc="upper right", columnspacing=0.8)


def _alignment(ax: Axes, r: RulesResults, looks: dict[str, Any]) -> None:
    for name, values in r.alignment.items():
        ax.plot(r.full[name].epochs, values, color=looks[name], label=NAMES[name])
    ax.set(xlabel="epoch", ylabel=r"$\cos(Z, F)$", xlim=(0, r.full["rflo"].epochs[-1]))
    make_room(ax, below=0.25).legend(loc="lower right")


def _two_by_rule(ax: Axes, values: dict[str, list[Any]], marks: str, what: str) -> None:
    """Two numbers a rule, the first as a filled mark, the second as an open one."""
    fills, places = ("full", "none"), range(len(NAMES))
    for (label, y), mark, fill in zip(values.items(), marks, fills):
        look: dict[str, Any] = {"fillstyle": fill, "color": "#1a1a1a", "label": label}
        ax.plot(places, y, mark, **look)
    ax.set_xticks(places, list(NAMES.values()), rotation=30, ha="right")
    ax.set(yscale="log", ylabel=what)
    make_room(ax, above=0.35).legend(loc="upper left", ncols=2)


def _steering(ax: Axes, r: RulesResults) -> None:
    """Which overlaps steer, by rule."""
    names = r.full["gradient"].overlaps
    shown = np.stack([r.steers[n] for n in NAMES])
    ax.imshow(shown, cmap="Greys", vmin=0, vmax=2, aspect="auto")
    ax.set_xticks(range(shown.shape[1]), names.roles.latex, rotation=90)
    ax.set_yticks(range(len(NAMES)), list(NAMES.values()))
    ax.set_xlabel("grey: the overlap steers learning")


def _inflation(ax: Axes, r: RulesResults) -> None:
    epochs, norms = r.tried_epoch, r.chains["norms"]
    mean, spread = norms.mean(axis=0), 2 * norms.std(axis=0)
    ax.fill_between(epochs, mean - spread, mean + spread, color="0.8", label="chains, ± 2 s.d.")
    ax.plot(epochs, squared_norms(r.tried.overlaps), **{**FIRST, "label": "network"})
    ax.plot(epochs, mean, **{**THEORY, "label": "chains, mean"})
    slower = r.config.slower * np.asarray(r.full["gradient"].epochs)[: len(r._quiet_norms)]
    ax.plot(slower, r._quiet_norms, ":", color="#1a1a1a", label="gradient")
    ax.set(xlabel="epoch, weight perturbation", ylabel=r"$mm+uu+vv+zz$", xlim=(0, epochs[-1]))
    make_room(ax, above=0.6).legend(loc="upper left", ncols=2, columnspacing=0.8)


@experiment(source="ours", quick=RulesConfig(n=100, runs=8), seconds=(110, 40))
def rules(config: RulesConfig, recorder: Recorder) -> RulesResults:
    """Seven learning rules on one network: what each reads, keeps and leaves behind.

    Whether overlaps return after A-B-A is asked of rules that have solved all three phases: RFLO
    is slower than the others where its feedback starts opposite to the read-out.
    """
    net, record = config.twin(), config.record
    full, reduced = {}, {}
    for name, rule in config.rules().items():
        method = Descent(config.lr, rule=rule)
        phases = [(config.task(task), method, config.epochs) for task in PHASES]
        labels = [f"{NAMES[name]}, {phase}" for phase in PHASES]
        theory = reduce(net, feedback=config.feedback() if name in FIXED else None)
        reduced[name] = recorder.learn_sequence(f"{name}, theory", theory, phases, record=record)
        full[name] = recorder.learn_sequence(name, net, phases, labels=labels, record=record)
    return RulesResults(
        config=config,
        full=full,
        reduced=reduced,
        **_perturbed(config, net, recorder),
        **_found(config, reduced),
        **_other_zz(config, reduced, net, recorder),
    )


def _perturbed(config: RulesConfig, net: LowRankRNN, recorder: Recorder) -> dict[str, Any]:
    """A by weight perturbation, on the network and by chains of its overlaps."""
    task, lr, seed = config.task("A"), config.lr / config.slower, jr.key(config.seed)
    pace: dict[str, Any] = {"epochs": config.epochs, "record": config.record}
    red = reduce(net)

    def method(key: Any, neurons: int | None = None) -> Descent:
        return Descent(lr, rule=WeightPerturbation(config.sigma, key=key, neurons=neurons))

    @eqx.filter_jit
    def chains(keys: Array) -> Any:
        def one(key: Any) -> tuple[Array, Array]:
            curve = learn(red, task, method(key, config.n), throw=False, **pace)
            return squared_norms(curve.overlaps), curve.loss

        return jax.vmap(one)(keys)

    many = jr.split(jr.fold_in(seed, 2), config.runs)
    norms, loss = recorder.timed("chains", lambda: chains(many))
    label = "weight perturbation"
    tried = recorder.learn("tried", net, task, method(jr.fold_in(seed, 3)), label=label, **pace)
    found = {"norms": np.asarray(norms), "loss": np.asarray(loss)}
    return {"tried": tried, "chains": found, "tried_epoch": tried.epochs}


def _found(config: RulesConfig, curves: dict[str, LearningCurve]) -> dict[str, Any]:
    """What each rule reads, keeps and leaves, from the curves of the theory."""
    roles, rules, rflo = curves["gradient"].overlaps.roles, config.rules(), curves["rflo"].overlaps
    own = {n: Overlaps(c.gram[..., : roles.size, : roles.size], roles) for n, c in curves.items()}
    there = [rflo.names.index(name) for name in roles.names]
    trips = {n: excursion(c, config.epochs, 3 * config.epochs) for n, c in curves.items()}
    ours = {n: there if n in FIXED else slice(None) for n in curves}
    outside = next(x for x in conserved(rules["rflo"], rflo) if x.at_any_step and "R" in x.name)
    cosine = {
        n: np.asarray(c["zf"] / np.sqrt(c["zz"] * c["ff"])) for n, c in curves.items() if n in FIXED
    }
    return {
        "alignment": cosine,
        "balance": {n: _change(q["uu"] - q["vv"]) for n, q in own.items()},
        "spectrum": {
            n: _change(invariants_of(q, {}, (), linear=True).spectrum) for n, q in own.items()
        },
        "outside": _change(outside.of(rflo)),
        "leftover": {n: np.asarray(x.leftover)[..., ours[n]] for n, x in trips.items()},
        "size": {n: np.asarray(x.size)[..., ours[n]] for n, x in trips.items()},
        "steers": {n: np.isin(roles.names, steering(r, roles).steering) for n, r in rules.items()},
    }


def _change(values: Any) -> np.ndarray:
    """Largest change of an entry since epoch 0, at each epoch."""
    values = np.asarray(values)
    return np.abs(values - values[:1]).reshape(len(values), -1).max(axis=1)


def _other_zz(
    config: RulesConfig, curves: dict[str, LearningCurve], net: LowRankRNN, recorder: Recorder
) -> dict[str, Any]:
    """How far losses of A move, relative to the first, when zz is half as large again."""
    moved = {}
    for name, field in (("rflo", "silent_loss"), ("gradient", "seen_loss")):
        red = reduce(net, feedback=config.feedback() if name in FIXED else None)
        other = red.with_gram(red.overlaps.gram.at[0, 0].multiply(1.5))
        method = Descent(config.lr, rule=config.rules()[name])
        options: dict[str, Any] = {"epochs": config.epochs, "record": config.record}
        curve = recorder.learn(f"{name}, other zz", other, config.task("A"), method, **options)
        before = np.asarray(curves[name].loss)[: len(curve.loss)]
        moved[field] = float(np.abs(np.asarray(curve.loss) - before)[:-1].max() / before[0])
    return moved

"""`horizons`: controllers of short and long trials, with cheap and dear control, tried over all."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import jax.random as jr
import numpy as np

from lrnn_jax import stability
from lrnn_jax.experiments._audit import PairConfig
from lrnn_jax.experiments._base import AbstractResults, Columns, claim, experiment, labelled
from lrnn_jax.experiments._configs import AbstractLoopConfig, within
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import DASHES, TEXT, Figure, make_room, panels, shades
from lrnn_jax.learning import LearningCurve


@dataclass(frozen=True)
class HorizonsConfig(AbstractLoopConfig):
    """Controllers of the audit's double integrator, by steps of their trials and price of control.

    >>> experiments.HorizonsConfig().pair(50, 0.1).steps
    50
    """

    steps: int = within(100, 10, 1e5)
    """Steps of the longest trials in which they are tried."""
    trained: tuple[int, ...] = within((10, 25, 50, 100), 3, 1e5)
    """T, steps of the trials of learning."""
    costs: tuple[float, ...] = within((0.0, 0.5, 5.0), 0, 1e6)
    """c, prices of control."""
    controller: Literal["tanh", "rank 1", "rank 2", "rank 5", "gru"] = "tanh"
    """As of `PairConfig`."""

    def pair(self, steps: int, cost: float) -> PairConfig:
        """The protocol of one cell."""
        mine = {f.name: getattr(self, f.name) for f in dataclasses.fields(AbstractLoopConfig)}
        mine |= {"steps": steps, "cost": cost}
        return PairConfig(**mine, controller=self.controller)


class HorizonsResults(AbstractResults):
    """Controllers by T and c, all from the same weights."""

    config: HorizonsConfig
    learned: dict[str, LearningCurve]
    trained: Any = labelled("steps of the trials of learning", "trained")
    cost: Any = labelled("price of control", "cost")
    tried: Any = labelled("steps of the trials in which they are tried", "tried")
    radius: Any = labelled("max |λ|", "trained", "cost")
    loss: Any = labelled("loss in the loop", "trained", "cost", "tried", units="state²")

    @claim("all are stable: largest |λ|", high=1)
    def stable(self) -> Any:
        return self.radius.max()

    @claim(
        "longer trials do not make loops much more stable: max |λ|, longest over shortest", low=0.9
    )
    def longer(self) -> Any:
        return self.radius[-1, 0] / self.radius[0, 0]

    @claim(
        "what short trials taught serves long ones: loss in the longest, learned in the shortest "
        "over learned in the longest",
        high=1.1,
    )
    def far(self) -> Any:
        return self.loss[0, 0, -1] / self.loss[-1, 0, -1]

    @claim("nor do long trials cost much in short ones: loss in the shortest", high=1.5)
    def near(self) -> Any:
        return self.loss[-1, 0, 0] / self.loss[0, 0, 0]

    @claim("what dear control costs, in states: loss in the longest, dearest over cheapest", low=1)
    def paid(self) -> Any:
        return (self.loss[:, -1, -1] / self.loss[:, 0, -1]).min()

    def table(self) -> Columns:
        at, shape = (0, len(self.tried) // 2, -1), self.radius.shape
        given: Columns = {
            "T": (np.repeat(self.trained, shape[1]), "d"),
            "c": (np.tile(self.cost, shape[0]), "g"),
            "max |λ|": (self.radius.ravel(), ".4f"),
        }
        return given | {
            f"loss in {self.tried[i]} steps": (self.loss[..., i].ravel(), ".4g") for i in at
        }

    def draw(self) -> Figure:
        figure, (size, loss) = panels(1, 2, height=2.4, width=TEXT * 0.75)
        looks = zip(shades(len(self.cost)), DASHES)
        for radius, cost, (colour, dash) in zip(self.radius.T, self.cost, looks):
            look: dict[str, Any] = {"color": colour, "linestyle": dash, "label": f"{cost:g}"}
            size.plot(self.trained, radius, marker="o", markersize=3, **look)
        size.axhline(1, color="0.6", linewidth=0.8, zorder=0)
        size.set(xlabel="steps $T$ of trials of learning", ylabel=r"largest $|\lambda|$")
        looks = zip(shades(len(self.trained)), DASHES)
        for found, steps, (colour, dash) in zip(self.loss[:, 0], self.trained, looks):
            summed = found * self.tried
            loss.plot(self.tried, summed, color=colour, linestyle=dash, label=f"{steps}")
        loss.set(xlabel="steps of a trial", ylabel=rf"$\Sigma_t \|x_t\|^2$, $c$ = {self.cost[0]:g}")
        for ax, title in ((size, "price $c$"), (loss, "learned with $T$")):
            make_room(ax, above=0.5)
            ax.legend(title=title, title_fontsize=7, loc="upper right", ncols=2)
        return figure


@experiment(
    source="[CL] fig. 4, an independent audit's protocol",
    quick=HorizonsConfig(n=20, batch=20, epochs=300, trained=(10, 50), costs=(0.0, 5.0)),
    seconds=(240, 15),
)
def horizons(config: HorizonsConfig, recorder: Recorder) -> HorizonsResults:
    """Controllers that learned in short and in long trials, with cheap and dear control.

    [CL]'s conflict of short-term cost and long-term stability is one of the second stage (see
    `tradeoff`). At the end of learning there is none: ten steps teach as much as a hundred.
    """
    keys, tried = jr.split(jr.key(config.seed), 3), np.linspace(10, config.steps, 10).astype(int)
    learned: dict[str, LearningCurve] = {}
    for steps in config.trained:
        for cost in config.costs:
            name, cell = f"T = {steps}, c = {cost:g}", config.pair(steps, cost)
            problem = cell.network(keys[0]), cell.loop(), cell.method(cell.per_loss)
            options: dict[str, Any] = {"label": name, "key": keys[2], "epochs": config.epochs}
            learned[name] = recorder.learn(name, *problem, **options)
    shape = len(config.trained), len(config.costs)
    longest, models = config.pair(config.steps, 0.0), [x.model for x in learned.values()]
    start = longest.plant().sample(keys[1], config.batch)
    states = recorder.timed(
        "tried", lambda: [longest.loop().simulate(model, start).states for model in models]
    )
    squares = np.sum(np.square(states)[:, 1:], axis=-1).mean(axis=-1)
    sizes = [stability.radius(stability.spectrum(model, longest.plant())) for model in models]
    return HorizonsResults(
        config=config,
        learned=learned,
        trained=np.array(config.trained),
        cost=np.array(config.costs),
        tried=tried,
        radius=np.reshape(sizes, shape),
        loss=(squares.cumsum(axis=-1)[:, tried - 2] / tried).reshape(*shape, -1),
    )

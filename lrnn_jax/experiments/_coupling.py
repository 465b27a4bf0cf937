"""`coupling`: which overlap enters which learning equation, from Q's algebra."""

from dataclasses import dataclass
from typing import Any

import jax.random as jr
import numpy as np

from lrnn_jax.experiments._base import AbstractResults, Columns, claim, experiment, labelled
from lrnn_jax.experiments._configs import AbstractConfig, within
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import TEXT, Figure, panels, plot_coupling
from lrnn_jax.networks import LowRankRNN
from lrnn_jax.overlaps import Coupling, Overlaps, Roles, from_vector
from lrnn_jax.overlaps import coupling as coupling_of


@dataclass(frozen=True)
class CouplingConfig(AbstractConfig):
    """The map from loss gradients to overlap velocities, for any rank. [LR] fig. 11.

    >>> len(experiments.coupling(experiments.CouplingConfig(rank=2)).results.names)
    21
    """

    rank: int = within(1, 1, 8)
    """r, rank of the recurrent weights."""
    inputs: int = within(1, 1, 8)
    """d_in, input channels."""
    outputs: int = within(1, 1, 8)
    """d_out, output channels."""
    seed: int = 0
    """Random seed of the network that the map is checked on."""


class CouplingResults(AbstractResults):
    """The couplings of a linear and of a nonlinear network."""

    linear: Coupling
    names: tuple[str, ...]
    latex: tuple[str, ...]
    entries_of: list[list[str]]
    entries: dict[str, int]
    error: Any
    tensor: dict[str, Any] = labelled("coupling of overlaps", "velocity", "gradient", "entering")
    drives: dict[str, Any] = labelled("loss-visible overlaps", "gradient", units="")

    @claim(
        "the generated map is −(ΓQ + QΓ) for random overlaps and gradients: largest error",
        high=1e-12,
    )
    def max_error(self) -> Any:
        return np.abs(self.error).max()

    @claim(
        "a nonlinear network couples more, since R is loss-visible too: further non-zero entries",
        low=1,
    )
    def more_entries(self) -> int:
        return self.entries["nonlinear"] - self.entries["linear"]

    def table(self) -> Columns:
        c = self.linear
        rows = {f"d{a}/dt": [c.entry(a, b) or "·" for b in c.names] for a in c.names}
        driven = {f"−∂L/∂{b}": x for b, x, d in zip(c.names, zip(*rows.values()), c.drives) if d}
        return {"": (list(rows), "")} | {name: (entries, "") for name, entries in driven.items()}

    def draw(self) -> Figure:
        few = len(self.names) <= 10
        width = TEXT if few else TEXT * 1.6
        ratios = [int(seen.sum()) for seen in self.drives.values()]
        figure, axes = panels(1, 2, height=width * 0.5, width=width, width_ratios=ratios)
        for ax, (kind, seen) in zip(axes, self.drives.items()):
            plot_coupling(ax, self.latex, self.entries_of, seen, text=few)
            ax.set_xlabel(f"{kind} network")
        return figure


@experiment(source="[LR] fig. 11", quick=CouplingConfig(), seconds=(4, 5))
def coupling(config: CouplingConfig, recorder: Recorder) -> CouplingResults:
    """Which overlap enters which learning equation, for any rank."""
    roles = Roles(outputs=config.outputs, rank=config.rank, inputs=config.inputs)
    found = recorder.timed(
        "both maps",
        lambda: {"linear": coupling_of(roles), "nonlinear": coupling_of(roles, linear=False)},
    )
    linear, enter = found["linear"], {k: np.abs(c.tensor).sum(-1) > 0 for k, c in found.items()}
    return CouplingResults(
        linear=linear,
        names=linear.names,
        latex=tuple(roles.latex),
        entries_of=[[linear.entry(a, b) for b in linear.names] for a in linear.names],
        entries={kind: int(enter[kind][:, c.drives].sum()) for kind, c in found.items()},
        error=_error(config, linear),
        tensor={kind: c.tensor for kind, c in found.items()},
        drives={kind: c.drives for kind, c in found.items()},
    )


def _error(config: CouplingConfig, found: Coupling) -> np.ndarray:
    """Difference to −(ΓQ + QΓ) on a random network with a random gradient."""
    net = LowRankRNN.normalised(
        50, config.rank, config.inputs, config.outputs, dt=0.1, key=jr.key(config.seed)
    )
    overlaps = net.overlaps
    slope = jr.normal(jr.key(config.seed + 1), (len(overlaps.names),))
    gamma = from_vector(slope, overlaps.roles)
    gamma, q = gamma + np.diag(np.diag(gamma)), overlaps.gram
    direct = Overlaps(-(gamma @ q + q @ gamma), overlaps.roles).vector()
    generated = -found.matrix(overlaps.vector()) @ slope
    return np.asarray(direct - generated)

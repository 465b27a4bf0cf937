"""`coupling`: which overlap enters which learning equation, from Q's algebra."""

from dataclasses import dataclass
from typing import Any

import jax.random as jr
import numpy as np

from lrnn_jax.experiments._base import AbstractResults, Columns, Experiment, claim, labelled
from lrnn_jax.experiments._configs import AbstractConfig, within
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import TEXT, Figure, panels, plot_coupling
from lrnn_jax.networks import LowRankRNN
from lrnn_jax.overlaps import Coupling, Roles
from lrnn_jax.overlaps import coupling as coupling_of


@dataclass(frozen=True)
class CouplingConfig(AbstractConfig):
    """The map from loss gradients to overlap velocities, for any rank. [LR] fig. 11."""

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


def _run(config: CouplingConfig, recorder: Recorder) -> CouplingResults:
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
    pairs = overlaps.roles.pairs
    slope = np.asarray(jr.normal(jr.key(config.seed + 1), (len(pairs),)))
    gamma = np.zeros(overlaps.gram.shape)
    for value, (i, j) in zip(slope, pairs):
        gamma[i, j] += value
        gamma[j, i] += value
    q = np.asarray(overlaps.gram)
    rows, columns = np.array(pairs).T
    direct = -(gamma @ q + q @ gamma)[rows, columns]
    generated = -np.asarray(found.matrix(overlaps.vector())) @ slope
    return direct - generated


def _table(r: CouplingResults) -> Columns:
    c = r.linear
    rows = {f"d{a}/dt": [c.entry(a, b) or "·" for b in c.names] for a in c.names}
    driven = {f"−∂L/∂{b}": x for b, x, d in zip(c.names, zip(*rows.values()), c.drives) if d}
    return {"": (list(rows), "")} | {name: (entries, "") for name, entries in driven.items()}


def _draw(r: CouplingResults) -> Figure:
    few = len(r.names) <= 10
    width = TEXT if few else TEXT * 1.6
    ratios = [int(seen.sum()) for seen in r.drives.values()]
    figure, axes = panels(1, 2, height=width * 0.5, width=width, width_ratios=ratios)
    for ax, (kind, seen) in zip(axes, r.drives.items()):
        plot_coupling(ax, r.latex, r.entries_of, seen, text=few).set_xlabel(f"{kind} network")
    return figure


coupling = Experiment(
    name="coupling",
    source="[LR] fig. 11",
    summary="which overlap enters which learning equation, for any rank",
    full=CouplingConfig(),
    quick=CouplingConfig(),
    run=_run,
    draw=_draw,
    seconds=(4, 5),
    table=_table,
)

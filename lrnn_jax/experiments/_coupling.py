"""`coupling`: which overlap enters which learning equation, from Q's algebra."""

from dataclasses import dataclass
from typing import Any

import jax.random as jr
import numpy as np

from lrnn_jax.experiments._base import Claim, Progress, Report, check_config, timed
from lrnn_jax.networks import LowRankRNN
from lrnn_jax.overlaps import Coupling, Roles
from lrnn_jax.overlaps import coupling as coupling_of


@dataclass(frozen=True)
class CouplingConfig:
    """The map from loss gradients to overlap velocities, for any rank. [LR] fig. 11."""

    rank: int = 1
    """r, rank of the recurrent weights."""
    inputs: int = 1
    """d_in, input channels."""
    outputs: int = 1
    """d_out, output channels."""
    seed: int = 0
    """Random seed of the network that the map is checked on."""

    def __post_init__(self) -> None:
        check_config(self, rank=(1, 8), inputs=(1, 8), outputs=(1, 8))


QUICK = CouplingConfig()


def coupling(config: CouplingConfig = CouplingConfig(), progress: Progress | None = None) -> Report:
    """Write out the coupling of overlaps in learning, and check it on a random network.

    Arguments:
        config: rank and channels.
        progress: not used (it takes no time).

    Returns: a `Report` with the couplings of a linear and of a nonlinear network.

    Source: [LR] fig. 11.
    """
    del progress
    roles = Roles(outputs=config.outputs, rank=config.rank, inputs=config.inputs)
    linear, seconds = timed(lambda: coupling_of(roles))
    nonlinear = coupling_of(roles, linear=False)
    error = _check(config, linear)
    counts = {
        name: int((np.abs(c.tensor).sum(-1) > 0)[:, c.drives].sum())
        for name, c in (("linear", linear), ("nonlinear", nonlinear))
    }
    claims = [
        Claim(
            "the generated map is −(ΓQ + QΓ) for random overlaps and gradients (to 1e-12)",
            f"largest error {error:.1g}",
            error < 1e-12,
        ),
        Claim(
            "a nonlinear network couples more: R is loss-visible too",
            f"{counts['linear']} non-zero entries (linear), {counts['nonlinear']} (nonlinear)",
            counts["nonlinear"] > counts["linear"],
        ),
    ]
    return Report(
        name="coupling",
        config=config,
        claims=claims,
        values={
            "names": list(linear.names),
            "latex": list(roles.latex),
            "entries_of": [[linear.entry(a, b) for b in linear.names] for a in linear.names],
            "entries": counts,
            "max_error": error,
        },
        table=_table(linear),
        seconds={"both maps": seconds},
        arrays=_arrays({"linear": linear, "nonlinear": nonlinear}),
    )


def _arrays(couplings: dict[str, Coupling]) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for name, c in couplings.items():
        about = {"long_name": f"coupling of overlaps, {name} network", "units": "1"}
        arrays[f"tensor_{name}"] = (("velocity", "gradient", "entering"), c.tensor, about)
        seen = {"long_name": f"loss-visible overlaps, {name} network"}
        arrays[f"drives_{name}"] = ("gradient", c.drives, seen)
    return arrays


def _table(c: Coupling) -> tuple[list[str], list[list[str]]]:
    driving = [b for b, d in zip(c.names, c.drives) if d]
    rows = [[f"d{a}/dt", *(c.entry(a, b) or "·" for b in driving)] for a in c.names]
    return ["", *(f"−∂L/∂{b}" for b in driving)], rows


def _check(config: CouplingConfig, found: Coupling) -> float:
    """Largest difference to −(ΓQ + QΓ) on a random network with a random gradient."""
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
    return float(np.abs(direct - generated).max())

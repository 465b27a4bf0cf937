"""`analyse`: a network from a file, as the command line says to read it."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

from lrnn_jax._files import read_arrays
from lrnn_jax.experiments import AnalysisConfig, Experiment, analyse
from lrnn_jax.networks import (
    ACTIVATIONS,
    CurrentRNN,
    DenseRNN,
    Identity,
    describe_file,
    load_network,
)
from lrnn_jax.tasks import TrialSet

KINDS = {"rates": DenseRNN, "currents": CurrentRNN}


@dataclasses.dataclass(frozen=True)
class Reading:
    """The options of `load_network`, in words."""

    dt: float | None = None
    """Euler step, where the file holds none [membrane time constants, or the unit of --tau]."""
    tau: float | None = None
    """Membrane time constant in the unit of --dt."""
    scale: float | None = None
    """s of loading vectors; default N."""
    activation: Literal["linear", "tanh", "erf", "relu", "softplus"] | None = None
    """φ; default that of the file, or what its layout means."""
    readout: Literal["h", "phi"] | None = None
    """Whether h or φ(h) is read out; default what the layout means."""
    kind: Literal["rates", "currents"] | None = None
    """Weights w, w_in, w_out: whether φ is taken of W h + …, or W sums φ(h); default rates."""
    map: tuple[str, ...] = ()
    """The file's names of our arrays, e.g. z=arr_3 v=arr_0.T, where ".T" turns one."""

    def options(self, path: Path) -> dict[str, Any]:
        """Arguments of `load_network` for a file."""
        pairs = [entry.partition("=") for entry in self.map]
        if wrong := [entry for entry, pair in zip(self.map, pairs) if not pair[0] or not pair[2]]:
            raise ValueError(
                f"`--map` takes pairs of our name and the file's, e.g. z=arr_3; got {wrong[0]!r}."
            )
        phi = None if self.activation is None else ACTIVATIONS[self.activation]
        options = {
            "dt": self.dt,
            "tau": self.tau,
            "scale": self.scale,
            "activation": phi,
            "kind": None if self.kind is None else KINDS[self.kind],
            "names": {ours: theirs for ours, _, theirs in pairs} or None,
        }
        read: Any = Identity() if self.readout == "h" else None
        if self.readout == "phi":  # the φ that the file or its layout has
            read = load_network(path, **options).activation
        return options | {"readout": read}


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What of a network is analysed, and on which trials."""

    rank: int | None = None
    """How many singular values of W to keep."""
    energy: float | None = None
    """Keep the fewest singular values with this share of Σσ²; default those that discard 5 % of the
    norm of W."""
    initial: Path | None = None
    """File of the weights before learning, W_0: ΔW = W − W_0 is analysed."""
    trials: Path | None = None
    """.npz file with inputs and target (perhaps mask, dt) to learn, in place of a filter."""


def analysis(
    path: Path, reading: Reading, chosen: Chosen, config: AnalysisConfig, dtype: str
) -> Experiment:
    """The experiment that analyses a file."""
    options = reading.options(path)
    network: Any = load_network(path, dtype=dtype, **options)
    first = chosen.initial
    before: Any = None if first is None else load_network(first, dtype=dtype, **options)
    task = None
    if chosen.trials is not None:
        arrays: dict[str, Any] = {"dt": network.dt} | read_arrays(chosen.trials)
        task = TrialSet.load(arrays)
        if len(task.data.mask) > config.batch:
            task = TrialSet.load(arrays, batch=config.batch)
    return analyse(
        network,
        task=task,
        rank=chosen.rank,
        energy=chosen.energy,
        initial=before,
        remarks=(describe_file(path, **options),),
    )

"""What learning returns: one type for theory and for training."""

import dataclasses
import json
import os
import tempfile
from typing import Any
from zipfile import BadZipFile

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lrnn_jax._results import RESULTS
from lrnn_jax._types import is_traced
from lrnn_jax.networks import (
    AbstractActivation,
    AbstractRNN,
    DenseRNN,
    Erf,
    Identity,
    LowRankRNN,
    ReLU,
    Softplus,
    Tanh,
)
from lrnn_jax.overlaps import Overlaps, Roles, invariants_of
from lrnn_jax.reduced import MixtureRNN, ReducedRNN

OUTCOMES = (
    "successful", "diverged", "unrealisable", "invariants_lost", "event_occurred",
    "max_steps_reached", "dt_min_reached", "max_steps_rejected", "nonlinear_divergence",
    "internal_error",
)  # fmt: skip
"""Names of all outcomes; `outcome_code` counts along them."""
_BROKEN = (EOFError, BadZipFile)
_ACTIVATIONS: dict[str, type[AbstractActivation]] = {
    kind.__name__: kind for kind in (Identity, Erf, Tanh, ReLU, Softplus)
}


class Distance(eqx.Module):
    """How far apart two learning curves are, over all their epochs.

    Arguments:
        overlaps: largest |ΔQ| of each overlap, ordered as `names`, shape (..., overlap).
        loss: largest |ΔL|.
        names: names of the overlaps.
    """

    overlaps: Float[Array, "*batch overlap"]
    loss: Float[Array, "*batch"]
    names: tuple[str, ...] = eqx.field(static=True)

    @property
    def max(self) -> Float[Array, "*batch"]:
        """Largest |ΔQ| over epochs and overlaps."""
        return jnp.max(self.overlaps, axis=-1)


class LearningCurve(eqx.Module):
    """A learning run: loss and overlaps at the recorded epochs, and the model it ended with.

    `curve["vu"]` is an overlap over epochs. Entry e of each array is the state *before* update e;
    the last one is the final state. After an early end (divergence, event) entries are NaN. With
    `vmap`, all arrays have leading axes.

    Arguments:
        epochs: recorded epochs, shape (..., record); 0, n, 2n, … and the last.
        loss: L, shape (..., record).
        gram: Q, shape (..., record, k, k); k = 0 for dense networks, which have no loading vectors.
        transform: T with Θ_epoch = Θ_0 T, shape (..., record, k, k), for a mixture one for each
            population, (..., record, population, k, k); None for networks.
        stopped: epoch of an early end; −1 if there was none.
        result: how the run ended.
        model: the network or reduction at the end (of a diverged run: the last finite one).
        watched: what `learn(watch=…)` returned, a pytree of arrays of shape (..., record, …).
    """

    epochs: Int[Array, "*batch record"]
    loss: Float[Array, "*batch record"]
    gram: Float[Array, "*batch record k k"]
    transform: Float[Array, "..."] | None
    stopped: Int[Array, "*batch"]
    result: RESULTS
    model: AbstractRNN
    watched: Any = None

    @property
    def overlaps(self) -> Overlaps:
        """All overlaps over epochs, with names.

        Errors: ValueError for dense networks, which have no loading vectors.
        """
        if not self.gram.size:
            raise ValueError("A dense network has no loading vectors, so its curve no overlaps.")
        return Overlaps(self.gram, self.model.roles)  # pyright: ignore[reportAttributeAccessIssue]

    def __getitem__(self, name: str) -> Float[Array, "..."]:
        """One overlap over the recorded epochs, by name."""
        return self.overlaps[name]

    def distance(self, other: "LearningCurve") -> Distance:
        """Largest differences to another curve recorded at the same epochs.

        Overlaps that only one of them has (means, of a closure that needs them) are left out.

        Errors: ValueError when the epochs or the vectors are not the same.
        """
        ours, theirs = self.overlaps, other.overlaps
        same = self.epochs.shape[-1] == other.epochs.shape[-1]
        if same and not is_traced(self.epochs, other.epochs):
            same = bool(jnp.all(self.epochs == other.epochs))
        if not same or _vectors(ours.roles) != _vectors(theirs.roles):
            raise ValueError(
                f"Curves can be compared at equal epochs and roles; got epochs "
                f"{_some(np.asarray(self.epochs))} and {_some(np.asarray(other.epochs))}, "
                f"{ours.roles.describe()} and {theirs.roles.describe()}."
            )
        names = tuple(name for name in ours.names if name in theirs.names)
        ours, theirs = (
            q.vector()[..., np.array([q.names.index(name) for name in names])]
            for q in (ours, theirs)
        )
        loss = jnp.max(jnp.abs(self.loss - other.loss), axis=-1)
        return Distance(jnp.max(jnp.abs(ours - theirs), axis=-2), loss, names)

    def invariant_drift(
        self, rates: dict[str, float] | None = None
    ) -> Float[Array, "*batch record"]:
        """Largest change since epoch 0 of what gradient flow conserves (see `invariants`).

        Arguments:
            rates: multipliers by family or column that the run was made with.
        """
        frozen: tuple[str, ...] = getattr(self.model, "frozen", ())
        linear, gram = self.model.activation.linear, self.overlaps.gram
        history, start = (
            invariants_of(Overlaps(q, self.overlaps.roles), rates or {}, frozen, linear=linear)
            for q in (gram, gram[..., :1, :, :])
        )
        return history.drift(start)

    def to_xarray(self) -> Any:
        """The curve as a labelled `xarray.Dataset`: loss and overlaps over epochs, with units.

        Errors: ImportError naming the extra when xarray is missing; ValueError for batched curves.
        """
        try:
            import xarray as xr
        except ImportError as error:
            raise ImportError("to_xarray needs xarray: pip install 'lrnn_jax[sweep]'.") from error
        if self.loss.ndim != 1:
            raise ValueError("to_xarray takes one curve; select a member of the batch first.")
        loss_attributes = {"long_name": "loss", "units": "output² × membrane time constant"}
        variables: dict[str, Any] = {"loss": ("epoch", np.asarray(self.loss), loss_attributes)}
        coords: dict[str, Any] = {
            "epoch": ("epoch", np.asarray(self.epochs), {"long_name": "parameter updates"})
        }
        if self.gram.size:
            attributes = {"long_name": "overlap of loading vectors", "units": "1"}
            vector = np.asarray(self.overlaps.vector())
            variables["overlaps"] = (("epoch", "overlap"), vector, attributes)
            coords["overlap"] = ("overlap", np.array(self.overlaps.names, dtype=str))
        model, result = type(self.model).__name__, outcome(self.result)
        attributes = {"model": model, "result": result, "stopped": int(self.stopped)}
        return xr.Dataset(variables, coords, attributes)

    def save(self, path: str | os.PathLike) -> None:
        """Write the curve and its final model to one `.npz` file (plain arrays and a JSON header).

        The file is written beside its place and then moved there, so that it is whole or absent.

        Errors: ValueError for batched curves, and activations that cannot be named in a file.
        """
        if self.loss.ndim != 1:
            raise ValueError("save takes one curve; select a member of the batch first.")
        kind, arrays, header = _model_to_arrays(self.model)
        for name in ("epochs", "loss", "gram", "transform", "stopped"):
            if getattr(self, name) is not None:
                arrays[f"curve.{name}"] = getattr(self, name)
        if self.watched is not None:
            if not isinstance(self.watched, dict):
                raise ValueError("save takes what was watched as a dict of arrays, by name.")
            arrays |= {f"watched.{name}": array for name, array in self.watched.items()}
        header |= {"format": 1, "kind": kind, "result": outcome(self.result)}
        arrays["header"] = np.array(json.dumps(header))
        path = os.fspath(path)
        folder = os.path.dirname(os.path.abspath(path))
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                plain: dict[str, Any] = {k: np.asarray(v) for k, v in arrays.items()}
                np.savez(file, **plain)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise

    @classmethod
    def load(cls, path: str | os.PathLike) -> "LearningCurve":
        """A curve written by `save`.

        Errors: ValueError for a file that is not one.
        """
        try:
            with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            header = json.loads(str(arrays.pop("header")))
            assert header["format"] == 1
            model = _model_from_arrays(header, arrays)
            fields: dict[str, Any] = {
                name: jnp.asarray(arrays[f"curve.{name}"])
                for name in ("epochs", "loss", "gram", "stopped")
            }
            transform = arrays.get("curve.transform")
            fields["transform"] = None if transform is None else jnp.asarray(transform)
            watched = {
                name.removeprefix("watched."): jnp.asarray(array)
                for name, array in arrays.items()
                if name.startswith("watched.")
            }
            fields["watched"] = watched or None
            assert header["result"] in OUTCOMES
            fields["result"] = getattr(RESULTS, header["result"])
        except (OSError, LookupError, ValueError, AssertionError, TypeError, *_BROKEN) as error:
            raise ValueError(
                f"{path} is not a learning curve saved by this package ({error})."
            ) from None
        return cls(**fields, model=model)


def _vectors(roles: Roles) -> Roles:
    return dataclasses.replace(roles, means=False)


def outcome(result: RESULTS) -> str:
    """The name of a single (not batched) result: "successful", "diverged", …"""
    return next(name for name in OUTCOMES if bool(result == getattr(RESULTS, name)))


def outcome_code(result: RESULTS) -> Int[Array, "*batch"]:
    """The position of a result, or of each of a batch, in `OUTCOMES`: plain numbers for storage."""
    fits = [result == getattr(RESULTS, name) for name in OUTCOMES]
    return jnp.argmax(jnp.stack([jnp.asarray(fit) for fit in fits]), axis=0)


def lift(curve: LearningCurve, network: LowRankRNN, epoch: int | None = None) -> LowRankRNN:
    """The N-dimensional weights that a network has after the learning of its reduction.

        Θ_t = Θ_0 T_t

    with T recorded by `learn(reduce(network), …)`: no N-dimensional simulation.

    Arguments:
        curve: learning curve of the network's reduction, with its transforms.
        network: the network at epoch 0.
        epoch: a recorded epoch; default the last one, or the last before an early end.

    Errors: ValueError for a curve of a network, another network's curve, or an epoch that was not
    recorded, or not reached.

    Source: ours.
    """
    if curve.transform is None:
        raise ValueError("Only the curve of a reduction lifts; this one is of a full network.")
    if isinstance(curve.model, MixtureRNN):
        raise ValueError(
            "A mixture's curve holds a transform for each population: apply "
            "curve.transform[epoch, p] to the vectors of the neurons of population p."
        )
    start = np.asarray(curve.overlaps.gram[0])
    mine = np.asarray(network.overlaps.gram)
    if start.shape != mine.shape or not np.allclose(start, mine, rtol=1e-4, atol=1e-4):
        raise ValueError(
            "This network's overlaps are not those the curve starts from: lift takes the network "
            "at epoch 0, the one that was reduced."
        )
    epochs = np.asarray(curve.epochs)
    reached: list[bool] = (~np.isnan(np.asarray(curve.transform)[:, 0, 0])).tolist()
    if epoch is None:
        index = int(np.flatnonzero(np.array(reached))[-1])
    else:
        found = np.flatnonzero(epochs == epoch)
        if not len(found):
            raise ValueError(f"Epoch {epoch} was not recorded; recorded are {_some(epochs)}.")
        index = int(found[0])
        if not reached[index]:
            raise ValueError(f"Epoch {epoch} was not reached: it ended at epoch {curve.stopped}.")
    return network.with_vectors(network.vectors @ curve.transform[index])


def _some(epochs: np.ndarray) -> str:
    epochs = np.ravel(epochs)
    shown = epochs if len(epochs) <= 8 else np.concatenate([epochs[:4], epochs[-2:]])
    return ", ".join(map(str, shown)) + ("" if len(epochs) <= 8 else f" ({len(epochs)} in all)")


def _model_to_arrays(model: AbstractRNN) -> tuple[str, dict[str, Any], dict[str, Any]]:
    name = type(model.activation).__name__
    if name not in _ACTIVATIONS:
        raise ValueError(f"A curve can be saved with activations {list(_ACTIVATIONS)}; got {name}.")
    header: dict[str, Any] = {"activation": name}
    if isinstance(model, LowRankRNN):
        biases = () if model.b is None else ("b",)
        names, header["frozen"] = ("z", "v", "m", "u", "scale", "dt", *biases), model.frozen
        return "LowRankRNN", {n: getattr(model, n) for n in names}, header
    if isinstance(model, DenseRNN):
        names, header["frozen"] = (*model.weights, "dt"), model.frozen
        return "DenseRNN", {n: getattr(model, n) for n in names}, header
    assert isinstance(model, (ReducedRNN, MixtureRNN))
    header |= {"frozen": model.frozen, "roles": list(dataclasses.astuple(model.roles))}
    arrays = {"gram": model.overlaps.gram, "dt": model.dt}
    if isinstance(model, MixtureRNN):
        return "MixtureRNN", arrays | {"weights": model.weights}, header
    return "ReducedRNN", arrays, header


def _model_from_arrays(header: dict[str, Any], arrays: dict[str, Any]) -> AbstractRNN:
    options = {
        "activation": _ACTIVATIONS[header["activation"]](),
        "frozen": tuple(header["frozen"]),
        "dt": arrays["dt"],
    }
    if header["kind"] == "LowRankRNN":
        options |= {"scale": arrays["scale"], "b": arrays.get("b")}
        return LowRankRNN(*(arrays[n] for n in "zvmu"), **options)
    if header["kind"] == "DenseRNN":
        weights = (arrays[n] for n in ("w", "w_in", "w_out"))
        return DenseRNN(*weights, b=arrays.get("b"), **options)
    gram, roles = jnp.asarray(arrays["gram"]), Roles(*header["roles"])
    if header["kind"] == "MixtureRNN":
        each = [Overlaps(q, roles) for q in gram]
        return MixtureRNN(each, arrays["weights"], **options)
    assert header["kind"] == "ReducedRNN"
    return ReducedRNN(Overlaps(gram, roles), **options)

"""What learning returns: one type for theory and for training."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lrnn_jax._checks import component, extra
from lrnn_jax._files import load_tree, read_arrays, save_tree
from lrnn_jax._readable import readable
from lrnn_jax._results import RESULTS, outcome
from lrnn_jax._scan import recorded
from lrnn_jax._types import is_traced
from lrnn_jax.learning._state import LearningState
from lrnn_jax.learning._summary import in_words, plateau_length, reached
from lrnn_jax.networks import AbstractRNN
from lrnn_jax.overlaps import (
    Invariants,
    Overlaps,
    Roles,
    Visibility,
    invariants_of,
    visible_mask,
)


class Distance(eqx.Module):
    """How far apart two learning curves are, over all their epochs.

    Arguments:
        overlaps: largest |ΔQ| of each overlap, ordered as `names`, shape (..., overlap).
        loss: largest |ΔL|.
        names: names of the overlaps.

    >>> found = curve.distance(lrnn.learn(net, task, descent, epochs=20))
    >>> bool(found.max < 1e-12), found.overlaps.shape
    (True, (10,))
    """

    overlaps: Float[Array, "*batch overlap"]
    loss: Float[Array, "*batch"]
    names: tuple[str, ...] = eqx.field(static=True)

    @property
    def max(self) -> Float[Array, "*batch"]:
        """Largest |ΔQ| over epochs and overlaps."""
        return jnp.max(self.overlaps, axis=-1)

    def __repr__(self) -> str:
        if self.loss.ndim or is_traced(self):
            return eqx.tree_pformat(self)
        largest = self.names[int(np.argmax(self.overlaps))]
        return f"Distance: |ΔQ| ≤ {self.max:.3g} ({largest}), |ΔL| ≤ {self.loss:.3g}"


class LearningCurve(eqx.Module):
    """A learning run: loss and overlaps at the recorded epochs, and the model it ended with.

    `learn(curve.model, objective, method, epochs=total, resume=curve, …)` goes on as if the run had
    never ended: to the last bit, the curve that it returns is that of one run from epoch 0 to
    `total` (of `Flow`: to its tolerance), as momentum, Adam's moments, schedules, the draws of
    random trials and the count of epochs go on. From `model` alone, without `resume`, all of these
    start again. A run that saves itself on its way goes on from its file:

        curve = LearningCurve.load("run.npz")
        learn(curve.model, task, method, epochs=10**6, resume=curve, save_every=10**4,
              save_to="run.npz")

    `curve["vu"]` is an overlap over epochs. Entry e of each array is the state *before* update e;
    the last one is the final state. After an early end (divergence, event) entries are NaN. With
    `vmap`, all arrays have leading axes.

    Arguments:
        epochs: recorded epochs, shape (..., record); 0, n, 2n, … and the last.
        loss: L, shape (..., record).
        gram: Q, shape (..., record, k, k); k = 0 for networks without loading vectors.
        transform: T with Θ_epoch = Θ_0 T, shape (..., record, k, k), for a mixture one for each
            population, (..., record, population, k, k); None for networks.
        stopped: epoch of an early end; −1 if there was none.
        result: how the run ended.
        model: the network or reduction at the end (of a diverged run: the last finite one).
        c: bias of the read-out, shape (..., record, outputs); None for networks without.
        held_out: loss on the data that learning did not see, shape (..., record); None without.
        watched: what `learn(watch=…)` returned, a pytree of arrays of shape (..., record, …).
        state: what `learn(resume=curve)` needs beside the model; None for joined curves.
        roles: the columns of Q; None for networks without loading vectors.

    >>> curve = lrnn.learn(reduction, task, descent, epochs=20)
    >>> curve.epochs.shape, curve["vu"].shape
    ((21,), (21,))
    >>> bool(curve.loss[-1] < curve.loss[0])
    True
    >>> curve.save("run.npz")
    >>> bool((lrnn.LearningCurve.load("run.npz").loss == curve.loss).all())
    True
    """

    epochs: Int[Array, "*batch record"]
    loss: Float[Array, "*batch record"]
    gram: Float[Array, "*batch record k k"]
    transform: Float[Array, "..."] | None
    stopped: Int[Array, "*batch"]
    result: RESULTS
    model: AbstractRNN
    c: Float[Array, "*batch record outputs"] | None = None
    held_out: Float[Array, "*batch record"] | None = None
    watched: Any = None
    state: LearningState | None = None
    roles: Roles | None = eqx.field(static=True, default=None)

    @property
    def overlaps(self) -> Overlaps:
        """All overlaps over epochs, with names.

        Errors: ValueError for networks without loading vectors.
        """
        if self.roles is None:
            raise ValueError(
                f"A {type(self.model).__name__} has no loading vectors, so its curve no overlaps."
            )
        return Overlaps(self.gram, self.roles)

    @property
    def visibility(self) -> Visibility:
        """Which of the overlaps a loss can depend on; see `visible`."""
        roles, linear = self.overlaps.roles, self.model.activation.linear
        return Visibility(roles, visible_mask(roles, linear=linear))

    def __getitem__(self, name: str) -> Float[Array, "..."]:
        """One overlap over the recorded epochs, by name; "c" is the read-out's bias."""
        return self.c if name == "c" and self.c is not None else self.overlaps[name]

    def distance(self, other: "LearningCurve") -> Distance:
        """Largest differences to another curve recorded at the same epochs.

        Overlaps that only one of them has (means, of a closure that needs them) are left out.

        Errors: ValueError when the epochs or the vectors are not the same.
        """
        component(other, LearningCurve, "other", "another learning curve")
        ours, theirs = self.overlaps, other.overlaps
        same = self.epochs.shape[-1] == other.epochs.shape[-1]
        if same and not is_traced(self.epochs, other.epochs):
            same = bool(np.all(np.asarray(self.epochs) == np.asarray(other.epochs)))
        if not same or not alike(ours.roles, theirs.roles):
            raise ValueError(
                f"Curves can be compared at equal epochs and roles; got epochs "
                f"{listed(self.epochs)} and {listed(other.epochs)}, "
                f"{ours.roles.describe()} and {theirs.roles.describe()}."
            )
        names = tuple(name for name in ours.names if name in theirs.names)
        at = [np.array([q.roles.entry(name) for name in names]).T for q in (ours, theirs)]
        overlaps, loss = _farthest((ours.gram, theirs.gram), at, (self.loss, other.loss))
        return Distance(overlaps, loss, names)

    def invariant_drift(
        self, rates: Mapping[str, float] | None = None
    ) -> Float[Array, "*batch record"]:
        """Largest change since epoch 0 of what gradient flow conserves (see `invariants`).

        Arguments:
            rates: multipliers by family or column that the run was made with.
        """
        history, start = self.conserved(rates)
        return history.drift(start)

    def conserved(self, rates: Mapping[str, float] | None = None) -> tuple[Invariants, Invariants]:
        """The `invariants` at all recorded epochs, and at epoch 0 (a record axis of length 1)."""
        roles, linear = self.overlaps.roles, self.model.activation.linear
        both = (Overlaps(q, roles) for q in (self.gram, self.gram[..., :1, :, :]))
        among = {name: rate for name, rate in (rates or {}).items() if name != "c"}
        frozen = tuple(name for name in self.model.frozen if name != "c")
        bulk = self.model.bulk is not None
        history, start = (invariants_of(q, among, frozen, linear=linear, bulk=bulk) for q in both)
        return history, start

    @property
    def plateau(self) -> Float[Array, ""]:
        """The longest wait, in epochs, for the loss to fall by a twentieth of its whole fall.

            max_a min{b − a: M_b ≤ M_a − 0.05 F},    M_e = min_{e' ≤ e} L_e',    F = M_0 − M_end

        over all a from where it falls that much before its last tenth; NaN without any fall.

        Errors: ValueError for a batch of curves.

        Source: ours.
        """
        self.check_single("plateau")
        return plateau_length(self.epochs, self.loss)

    def summary(self) -> dict[str, Any]:
        """The curve in plain numbers, such as for a table: one row a run.

        Returns: model, epochs, initial_loss, final_loss (where it ended early: the last one),
        plateau, result, stopped, and each overlap at the end by its name.

        Errors: ValueError for a batch of curves.
        """
        self.check_single("summary")
        loss = np.asarray(self.loss)[reached(self.loss)]
        numbers = {
            "model": type(self.model).__name__,
            "epochs": int(self.epochs[-1]),
            "initial_loss": float(loss[0]),
            "final_loss": float(loss[-1]),
            "plateau": float(self.plateau),
            "result": outcome(self.result),
            "stopped": int(self.stopped),
        }
        return numbers | {name: end for name, (_, end) in self._ends().items()}

    def _ends(self) -> dict[str, tuple[float, float]]:
        """Each overlap at the start, and at the last epoch that was reached."""
        if self.roles is None:
            return {}
        values = np.asarray(self.overlaps.vector())[reached(self.loss)]
        return dict(zip(self.overlaps.names, zip(values[0].tolist(), values[-1].tolist())))

    def __repr__(self) -> str:
        model, loss = type(self.model).__name__, self.loss
        if is_traced(self) or not isinstance(loss, (jax.Array, np.ndarray)) or loss.ndim != 1:
            return f"LearningCurve of a {model}, loss {readable(loss)}"
        ends, kinds = self._ends(), {}
        if self.roles is not None:
            seen, rest = self.visibility.visible, self.visibility.invisible
            parts = {"visible": seen, "invisible": rest}
            kinds = {kind: {n: ends[n] for n in names} for kind, names in parts.items()}
        return in_words(self.summary(), kinds)

    def plot(self) -> Any:
        """A figure of the loss and the overlaps over epochs: visible ones blue, invisible ones red.

        Returns: a matplotlib Figure.

        Errors: ValueError for a batch of curves.
        """
        from lrnn_jax.figures import draw_learning  # takes half a second to import

        self.check_single("plot")
        there = reached(self.loss)
        losses = {"loss": self.loss, "held out": self.held_out}
        overlaps = {}
        if self.roles is not None:
            values, symbols = np.asarray(self.overlaps.vector())[there], self.roles.latex
            mask = np.isin(self.overlaps.names, self.visibility.visible)
            overlaps = {
                kind: (values[:, chosen], [s for s, c in zip(symbols, chosen) if c])
                for kind, chosen in (("visible", mask), ("invisible", ~mask))
            }
        shown = {k: np.asarray(x)[there] for k, x in losses.items() if x is not None}
        return draw_learning(np.asarray(self.epochs)[there], shown, **overlaps)

    def to_xarray(self) -> Any:
        """The curve as a labelled `xarray.Dataset`: loss and overlaps over epochs, with units.

        Errors: ImportError naming the extra when xarray is missing; ValueError for batched curves.
        """
        xr = extra("xarray", "to_xarray needs")
        self.check_single("to_xarray")
        loss_attributes = {"long_name": "loss", "units": "output² × membrane time constant"}
        variables: dict[str, Any] = {"loss": ("epoch", np.asarray(self.loss), loss_attributes)}
        coords: dict[str, Any] = {
            "epoch": ("epoch", np.asarray(self.epochs), {"long_name": "parameter updates"})
        }
        if self.roles is not None:
            attributes = {"long_name": "overlap of loading vectors", "units": "1"}
            vector = np.asarray(self.overlaps.vector())
            variables["overlaps"] = (("epoch", "overlap"), vector, attributes)
            coords["overlap"] = ("overlap", np.array(self.overlaps.names, dtype=str))
        if self.c is not None:
            attributes = {"long_name": "bias of the read-out", "units": "output"}
            variables["c"] = (("epoch", "output"), np.asarray(self.c), attributes)
        model, result = type(self.model).__name__, outcome(self.result)
        attributes = {"model": model, "result": result, "stopped": int(self.stopped)}
        return xr.Dataset(variables, coords, attributes)

    def save(self, path: str | os.PathLike) -> None:
        """Write the curve and its final model to one `.npz` file (plain arrays and a JSON header).

        The file is whole or absent.

        Errors: ValueError for batched curves.
        """
        self.check_single("save")
        save_tree(self, path)

    def check_single(self, what: str) -> None:
        """Raise ValueError for a batch of curves, in the name of what takes a single one."""
        if self.loss.ndim != 1:
            raise ValueError(
                f"{what} takes one curve, and this one is a batch of shape "
                f"{self.loss.shape[:-1]}: select a member first, "
                f"jax.tree.map(lambda a: a[0], curve)."
            )

    @classmethod
    def load(
        cls, path: str | os.PathLike, like: "LearningCurve | AbstractRNN | None" = None
    ) -> "LearningCurve":
        """A curve written by `save`.

        Arguments:
            path: of the file.
            like: where the model is of a class of your own, or its activation made of a function:
                such a model, whose arrays are replaced; or a curve of the same structure.

        Errors: ValueError for a file that is not one.
        """
        if like is not None:
            such_as = "network, the model at any epoch, or a curve of the same structure"
            component(like, (cls, AbstractRNN), "like", such_as)
        if isinstance(like, cls) and not any(
            name.startswith("state.") for name in read_arrays(path, lambda name: False)
        ):
            like = dataclasses.replace(like, state=None)
        curve = load_tree(path, like)
        if not isinstance(curve, cls):
            raise ValueError(f"{path} holds a {type(curve).__name__}, not a learning curve.")
        state = curve.state
        if state is not None and not np.array_equal(
            recorded(state.epochs, state.record), curve.epochs
        ):
            raise ValueError(
                f"`like` is a curve recorded at other epochs than that in {path}: give a model."
            )
        return curve


@jax.jit
def _farthest(grams: Any, entries: Any, losses: Any) -> tuple[Array, Array]:
    """max |ΔQ| of these entries of Q, and max |ΔL|, over epochs."""
    ours, theirs = (q[..., *at] for q, at in zip(grams, entries))
    loss = jnp.max(jnp.abs(losses[0] - losses[1]), axis=-1)
    return jnp.max(jnp.abs(ours - theirs), axis=-2), loss


def alike(*roles: Roles) -> bool:
    """Whether the vectors that learn are the same."""
    return len({dataclasses.replace(each.own, means=False) for each in roles}) == 1


def listed(epochs: Any) -> str:
    """Epochs, for messages."""
    epochs = np.ravel(np.asarray(epochs))
    shown = epochs if len(epochs) <= 8 else np.concatenate([epochs[:4], epochs[-2:]])
    return ", ".join(map(str, shown)) + ("" if len(epochs) <= 8 else f" ({len(epochs)} in all)")

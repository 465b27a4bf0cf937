"""What learning is given, and what it keeps."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PRNGKeyArray

from lrnn_jax._checks import function, shown
from lrnn_jax._files import path_name, survives_file
from lrnn_jax._readable import facts
from lrnn_jax._results import RESULTS
from lrnn_jax._types import Scalar
from lrnn_jax.learning._curve import LearningCurve
from lrnn_jax.learning._devices import mean_over_devices
from lrnn_jax.learning._simulate import AbstractSimulate
from lrnn_jax.learning._state import Begin, LearningState, identity, leaves_of
from lrnn_jax.networks import AbstractRNN, AbstractSpace, Weights
from lrnn_jax.rules import AbstractRule, EpochLoss
from lrnn_jax.tasks import AbstractObjective

Progress = Callable[[int, int, float], None]
Watch = Callable[[Any], Any]


class Data(eqx.Module):
    """Where the data of each epoch come from: given batches, or a key for the objective.

    >>> data = learning.Data(key, None)
    >>> data.at(flips, 3).inputs.shape, data.fixed
    ((4, 60, 1), False)
    """

    key: PRNGKeyArray | None
    batches: Any

    def at(self, objective: AbstractObjective, epoch: Int[Array, ""] | int) -> Any:
        """The data of an epoch; of the last one beyond it."""
        if self.batches is not None:
            last = jax.tree.leaves(self.batches)[0].shape[0] - 1
            return jax.tree.map(lambda b: jnp.asarray(b)[jnp.minimum(epoch, last)], self.batches)
        if self.key is None or not objective.stochastic:
            return None
        return objective.sample(jr.fold_in(self.key, epoch))

    @property
    def fixed(self) -> bool:
        """Whether the data given are those of one epoch, the same in all."""
        return self.batches is not None and jax.tree.leaves(self.batches)[0].shape[0] == 1

    def check(self, objective: AbstractObjective, least: int) -> None:
        """Raise ValueError unless these are data for that many epochs, where any are needed.

        They must be what `sample` returns, but for the number of trials.
        """
        name = type(objective).__name__
        if self.batches is None:
            if objective.stochastic and self.key is None:
                raise ValueError(f"{name} draws fresh data in each epoch: pass `key` or `batches`.")
            return
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(self.batches)]
        lengths = {shape[:1] for shape in shapes}
        if len(lengths) != 1 or () in lengths or next(iter(lengths))[0] < least:
            raise ValueError(
                f"`batches` hold the data of each epoch along their first axis, at least "
                f"{least} of them; got arrays of shapes {shapes}."
            )
        if any(_kind(leaf) not in "fiub" for leaf in jax.tree.leaves(self.batches)):
            raise ValueError(f"`batches` must hold real numbers; got {shown(self.batches)}.")
        if not objective.stochastic:
            return
        drawn = jax.eval_shape(objective.sample, jr.key(0) if self.key is None else self.key)
        some = int(jax.eval_shape(objective.weight, drawn) is not None)  # of any number of trials
        if jax.tree.structure(self.batches) != jax.tree.structure(drawn):
            raise ValueError(
                f"`batches` must hold what {name}.sample returns, {_arrays(drawn)}, with an axis "
                f"of epochs first; got {_arrays(self.batches)}."
            )
        for x, like in zip(jax.tree.leaves(self.batches), jax.tree.leaves(drawn)):
            fits = jnp.shape(x)[1 + some :] == like.shape[some:] and jnp.ndim(x) == like.ndim + 1
            if not fits or _kind(x) != _kind(like):
                shape = ", ".join(("epochs", *["trials"] * some, *map(str, like.shape[some:])))
                raise ValueError(
                    f"`batches` must hold what {name}.sample returns, here an array of shape "
                    f"({shape}) and dtype {like.dtype}; got {shown(x)}."
                )


class Record(NamedTuple):
    """What is kept of an epoch."""

    loss: Float[Array, "..."]
    gram: Float[Array, "..."]
    transform: Float[Array, "..."] | None
    c: Float[Array, "..."] | None
    held_out: Float[Array, "..."] | None
    watched: Any


class Problem(eqx.Module):
    """Everything that stays the same while a model learns.

    Arguments:
        model: what learns, as the user has it.
        space: what moves.
        objective, data: what is learned, from what.
        watch: a function of the model, kept for every recorded epoch; or None.
        simulate: how losses are computed.
        rule: how directions are.
        mesh: the devices that share the trials of an epoch; None for one.
        begin: where a run goes on; None at epoch 0, with the weights `space.start`.

    >>> list(learning.Problem.__annotations__)[:3]
    ['model', 'space', 'objective']
    """

    model: AbstractRNN
    space: AbstractSpace
    objective: AbstractObjective
    data: Data
    watch: Watch | None
    simulate: AbstractSimulate
    rule: AbstractRule
    mesh: Mesh | None = eqx.field(static=True)
    begin: Begin | None = None

    def learned(self, weights: Weights) -> AbstractRNN:
        """The model with weights X."""
        return self.simulate.learned(self.space, weights, self.model, self.rule)

    def loss(self, epoch: Any, at: Any = None) -> EpochLoss:
        """The loss of an epoch, and the point where it begins if that is known."""
        simulated = self.simulate.simulated

        def evaluate(model: AbstractRNN, objective: AbstractObjective, batch: Any) -> Scalar:
            return objective.loss(simulated(model), batch)

        way = evaluate if self.mesh is None else partial(mean_over_devices, evaluate, self.mesh)
        return EpochLoss(self.objective, self.data.at(self.objective, epoch), epoch, way, at)

    def record(self, weights: Weights, loss: Scalar) -> Record:
        """What is kept of weights and their loss."""
        space, unseen = self.space, self.objective.held_out
        model = space.model(weights)
        held_out = watched = None
        if unseen is not None:
            held_out = self.objective.loss(self.simulate.simulated(model), unseen)
        if self.watch is not None:
            watched = jax.tree.map(jnp.asarray, self.watch(self.learned(weights)))
        gram, transform = space.gram(weights), space.transform(weights)
        return Record(loss, gram, transform, model.c, held_out, watched)

    def facts(self, method: Any) -> dict[str, Any]:
        """What tells this run from others, by name: arrays, numbers and text."""
        drawn = self.objective.stochastic and self.data.batches is None
        parts = {
            "method": method,
            "objective": self.objective,
            "simulate": self.simulate,
            "key": self.data.key if drawn else None,
            "program": method.program(self.space),
        }
        return {name: x for part in parts for name, x in facts(parts[part], part)}

    def curve(
        self,
        method: Any,
        epochs: Any,
        history: Record,
        stopped: Any,
        result: RESULTS,
        weights: Weights,
        memory: Any,
    ) -> LearningCurve:
        """The curve of a run that ended with these weights and this memory of the method."""
        names, numbers = identity(self.facts(method))
        start, kept = (self.model, weights) if self.space.coefficients else (None, None)
        return LearningCurve(
            epochs=epochs,
            stopped=stopped,
            result=RESULTS.where(self.space.realisable, result, RESULTS.unrealisable),
            model=self.learned(weights),
            state=LearningState(start, kept, leaves_of(memory), numbers, names),
            roles=self.space.roles,
            **history._asdict(),
        )


def _arrays(tree: Any) -> str:
    """A tree in words, e.g. "Trials(inputs=array, target=array, mask=array)"."""
    return str(jax.tree.map(lambda _: "array", tree)).replace("'", "")


def _kind(x: Any) -> str:
    """Whether these are floating-point ("f") or whole numbers, or bool: precision may differ."""
    dtype = x.dtype if isinstance(x, (jax.Array, jax.ShapeDtypeStruct)) else np.asarray(x).dtype
    return dtype.kind if isinstance(dtype, np.dtype) else "none"


def check_watch(watch: Watch, model: Any) -> None:
    """Raise ValueError unless what is watched can be kept, in records and in a file.

    Arguments:
        watch: the function.
        model: what it is given, as shapes.
    """
    seen = eqx.filter_eval_shape(function(watch, "watch", "the model"), model)
    for path, leaf in jax.tree_util.tree_leaves_with_path(seen):
        arrays = jax.ShapeDtypeStruct, np.ndarray, np.generic, int, float, complex
        if not isinstance(leaf, arrays) or jnp.issubdtype(
            jnp.result_type(leaf), jax.dtypes.extended
        ):
            raise ValueError(
                f"`watch` must return arrays of numbers, or containers of them; got {shown(leaf)} "
                f"at {path_name(path) or 'the top'!r}."
            )
    kept = jax.tree.map(lambda a: np.zeros((1, *jnp.shape(a)), jnp.result_type(a)), seen)
    if not survives_file(kept):
        raise ValueError(
            f"`watch` must return what a saved curve can hold: arrays of NumPy's dtypes in dicts "
            f"(with strings as keys), lists or tuples; got {_arrays(seen)}."
        )


def nothing(a: Array) -> Any:
    """What stands for a value that there is none of: NaN, or zero for whole numbers."""
    return jnp.nan if jnp.issubdtype(a.dtype, jnp.inexact) else jnp.zeros((), a.dtype)

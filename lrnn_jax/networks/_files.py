"""Networks in files: a user's own arrays, and what this package saved."""

import os
from typing import Any

import numpy as np

from lrnn_jax._files import has_header, load_tree, read_arrays, save_tree
from lrnn_jax.networks._activation import AbstractActivation, Identity
from lrnn_jax.networks._base import AbstractRNN
from lrnn_jax.networks._dense import WEIGHTS, DenseRNN
from lrnn_jax.networks._low_rank import LowRankRNN

_FORMATS = (
    "either loading vectors z, v, m, u (each (neurons, columns)) and optional biases b (neurons), "
    "or weights w (neurons, neurons), w_in (neurons, inputs), w_out (outputs, neurons) and "
    "optional biases b; optional scalars: scale (of vectors), dt"
)
_USED = (*"zvmu", *WEIGHTS, "b", "scale", "dt")
_NEUTRAL = {
    **dict.fromkeys(("h0", "x0", "r0", "h_init", "initial_state"), 0.0),
    **dict.fromkeys(("b_out", "bias_out", "output_bias", "threshold", "thresholds", "theta"), 0.0),
    **dict.fromkeys(("tau", "taus"), 1.0),
}
"""What networks here do not have, by the usual names, and the value that it has without it."""


def save_network(network: AbstractRNN, path: str | os.PathLike) -> None:
    """Write any network, a reduction or one of your own class, to an `.npz` file.

    Its arrays stand by their paths, and a JSON header says what it is; nothing is pickled.

    Arguments: `network`, any `AbstractRNN`; `path`, of the file to write.

    Errors: OSError when the file cannot be written.
    """
    save_tree(network, path)


def load_network(
    path: str | os.PathLike,
    *,
    dt: float | None = None,
    scale: float | None = None,
    activation: AbstractActivation = Identity(),
    like: AbstractRNN | None = None,
) -> AbstractRNN:
    """A network from an `.npz` file: loading vectors, weight matrices, or what was saved here.

    Arguments:
        path: a file of `save_network`; or one written by `numpy.savez`, holding either arrays
            z, v, m, u, or w, w_in, w_out; optionally biases b and scalars `scale` and `dt`.
        dt: Euler step; needed when a file of yours has none, and goes before the file's.
        scale: s of loading vectors; goes before the file's; default N.
        activation: φ of a file of yours.
        like: for a saved network of a class of your own, or with an activation made of a function:
            a network of the same structure, whose arrays are replaced.

    Returns: a `LowRankRNN` for vectors, a `DenseRNN` for matrices (see `factorise`), the saved
    network otherwise.

    Errors: ValueError for a file that is missing, unreadable, pickled or holds other arrays, or
    what changes a network and is not read (an initial state h0, a time constant tau, thresholds, a
    read-out bias), or when dt is nowhere given; those of `LowRankRNN` and `DenseRNN`.
    """
    arrays = read_arrays(path, ("header", *_USED, *_NEUTRAL))
    if has_header(arrays):
        network = load_tree(path, like)
        if not isinstance(network, AbstractRNN):
            raise ValueError(f"{path} holds a {type(network).__name__}, which is no network.")
        return network
    _check_numbers(arrays, path)
    _check_complete(arrays, path)
    dt = dt if dt is not None else _scalar(arrays, "dt", path)
    if dt is None:
        raise ValueError(f"{path} holds no `dt`: give the Euler step, e.g. dt=0.05 or --dt 0.05.")
    options: dict[str, Any] = {"b": arrays.get("b"), "dt": dt, "activation": activation}
    if all(name in arrays for name in "zvmu"):
        scale = scale if scale is not None else _scalar(arrays, "scale", path)
        return LowRankRNN(**{name: arrays[name] for name in "zvmu"}, scale=scale, **options)
    if all(name in arrays for name in WEIGHTS):
        return DenseRNN(**{name: arrays[name] for name in WEIGHTS}, **options)
    raise ValueError(f"{path} must hold {_FORMATS}. It holds: {', '.join(arrays) or 'nothing'}.")


def _check_numbers(arrays: dict[str, Any], path: str | os.PathLike) -> None:
    for name in arrays.keys() & {*_USED, *_NEUTRAL}:
        dtype = arrays[name].dtype
        if not np.issubdtype(dtype, np.number) or np.issubdtype(dtype, np.complexfloating):
            raise ValueError(f"{path}: `{name}` must hold real numbers; got dtype {dtype}.")


def _check_complete(arrays: dict[str, Any], path: str | os.PathLike) -> None:
    """Refuse what changes the network and would be left out."""
    left = [name for name in arrays.keys() & _NEUTRAL if (arrays[name] != _NEUTRAL[name]).any()]
    if left:
        names = ", ".join(f"`{name}`" for name in sorted(left))
        raise ValueError(
            f"{path} holds {names}, without which it is another network. Make it from the arrays: "
            f"an initial state is `rollout(state=…)`, a time constant enters as dt/τ, thresholds "
            f"as biases b; a read-out bias needs a class of your own (see the README)."
        )


def _scalar(arrays: dict[str, Any], name: str, path: str | os.PathLike) -> float | None:
    if name not in arrays:
        return None
    if arrays[name].size != 1:
        raise ValueError(f"{path}: `{name}` must be one number; got shape {arrays[name].shape}.")
    return float(arrays[name].reshape(()))

"""Networks in files: a user's own arrays, and what this package saved."""

import os
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from lrnn_jax._checks import as_dt, optional, shown
from lrnn_jax._files import has_header, load_tree, read_arrays, save_tree
from lrnn_jax._types import cast
from lrnn_jax.networks._activation import (
    AbstractActivation,
    Erf,
    Identity,
    ReLU,
    Softplus,
    Tanh,
    as_activation,
)
from lrnn_jax.networks._base import AbstractRNN, as_network
from lrnn_jax.networks._dense import WEIGHTS, DenseRNN
from lrnn_jax.networks._low_rank import LowRankRNN

_FORMATS = (
    "either loading vectors z, v, m, u (each (neurons, columns)) and optional biases b (neurons), "
    "or weights w (neurons, neurons), w_in (neurons, inputs), w_out (outputs, neurons) and "
    "optional biases b; optional scalars: scale (of vectors), dt; optional text: activation"
)
_USED = (*"zvmu", *WEIGHTS, "b", "scale", "dt")
_NEUTRAL: dict[str, float] = {
    name: value
    for names, value in (
        ("h0 h_0 x0 x_0 r0 r_0 s0 h_init x_init init_state initial_state hidden0 state0", 0.0),
        ("bias biases b_rec brec b_hh bias_hh b_h b_ih bias_ih b_in bias_in", 0.0),
        ("b_out bout bias_out b_o out_bias output_bias readout_bias b_readout b_z c_out", 0.0),
        ("threshold thresholds theta thetas thr", 0.0),
        ("w_fb wfb w_feedback feedback w_skip w_direct", 0.0),
        ("tau taus tau_m tau_rec tau_neuron time_constant time_constants gain gains", 1.0),
    )
    for name in names.split()
}
"""What networks here do not have, by the usual names, and the value that it has without it."""
_ACTIVATIONS = {
    **dict.fromkeys(("identity", "linear", "none"), Identity()),
    **{"tanh": Tanh(), "erf": Erf(), "relu": ReLU(), "softplus": Softplus()},
}
_PHI = ("activation", "nonlinearity", "phi", "transfer_function")


def save_network(network: AbstractRNN, path: str | os.PathLike) -> None:
    """Write any network, a reduction or one of your own class, to an `.npz` file.

    Its arrays stand by their paths, and a JSON header says what it is; nothing is pickled. A file
    that was there is replaced as a whole, or stays.

    Arguments: `network`, any `AbstractRNN`; `path`, of the file to write.

    Errors: OSError when the file cannot be written.
    """
    save_tree(as_network(network), path)


def load_network(
    path: str | os.PathLike,
    *,
    dt: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    activation: AbstractActivation | None = None,
    dtype: Any = None,
    like: AbstractRNN | None = None,
) -> AbstractRNN:
    """A network from an `.npz` file: loading vectors, weight matrices, or what was saved here.

    Arguments:
        path: a file of `save_network`; or one written by `numpy.savez`, holding either arrays
            z, v, m, u, or w, w_in, w_out; optionally biases b, scalars `scale` and `dt`, and the
            name of an `activation` ("linear", "tanh", "erf", "relu", "softplus").
        dt: Euler step; needed when a file of yours has none, and goes before the file's.
        scale: s of loading vectors; goes before the file's; default N.
        activation: φ of a file of yours; goes before the file's; default linear.
        dtype: floating dtype to compute in, e.g. "float64"; default the file's.
        like: for a saved network of a class of your own, or with an activation made of a function:
            a network of the same structure, whose arrays are replaced.

    Returns: a `LowRankRNN` for vectors, a `DenseRNN` for matrices (see `factorise`), the saved
    network otherwise.

    Errors: ValueError for a file that is missing, unreadable, pickled or holds other arrays, or
    what changes a network and is not read (an initial state h0, a time constant tau, thresholds, a
    read-out bias), or when dt is nowhere given; those of `LowRankRNN` and `DenseRNN`.
    """
    dtype = None if dtype is None else _floating(dtype)
    dt = None if dt is None else as_dt(dt)
    scale = optional(scale, "scale", 0, open_start=True)
    activation = None if activation is None else as_activation(activation)
    like = None if like is None else as_network(like, "like")
    known, other = {"header", *_USED}, {*_NEUTRAL, *_PHI}
    arrays = read_arrays(path, lambda name: name in known or name.lower() in other)
    if has_header(arrays):
        network = load_tree(path, like)
        for name, option in (("dt", dt), ("scale", scale), ("activation", activation)):
            if option is not None:
                raise ValueError(f"{path} holds a whole network, with its own: leave out `{name}`.")
        if not isinstance(network, AbstractRNN):
            raise ValueError(
                f"{path} holds a {type(network).__name__} and no network: load a learning curve "
                f"with LearningCurve.load(path), and take its `model`."
            )
        return network if dtype is None else cast(network, dtype)
    held = ", ".join(arrays) or "nothing"
    arrays = {name: array for name, array in arrays.items() if array is not None}
    phi = _activation(arrays, path) if activation is None else activation
    arrays = {name: array for name, array in arrays.items() if name.lower() not in _PHI}
    _check_numbers(arrays, path)
    if dt is None and (dt := _scalar(arrays, "dt", path)) is None:
        raise ValueError(f"{path} holds no `dt`: give the Euler step, e.g. dt=0.05 or --dt 0.05.")
    scale = _scalar(arrays, "scale", path) if scale is None else scale
    options: dict[str, Any] = {"b": arrays.get("b"), "dt": dt, "activation": phi}
    if all(name in arrays for name in "zvmu"):
        network = LowRankRNN(**{f: arrays[f] for f in "zvmu"}, scale=scale, **options)
        implied = _as_weights(network)
    elif all(name in arrays for name in WEIGHTS):
        network = DenseRNN(**{name: arrays[name] for name in WEIGHTS}, **options)
        implied = dict.fromkeys("zvmu", np.full(1, np.nan)) | {"scale": np.ones(1)}
    else:
        raise ValueError(f"{path} must hold {_FORMATS}. It holds: {held}.")
    _check_complete(arrays, implied, path)
    return network if dtype is None else cast(network, dtype)


def _as_weights(network: LowRankRNN) -> dict[str, np.ndarray]:
    """W, W_in and W_out of a low-rank network."""
    z, v, m, u = (np.asarray(x) for x in (network.z, network.v, network.m, network.u))
    s = np.asarray(network.scale)
    return {"w": u @ v.T / s, "w_in": m, "w_out": z.T / s}


def _activation(arrays: dict[str, Any], path: str | os.PathLike) -> AbstractActivation:
    """φ by the name that a file gives it; linear where it gives none."""
    for name in [name for name in arrays if name.lower() in _PHI]:
        if arrays[name].size != 1 or arrays[name].dtype.kind not in "US":
            continue  # a recorded activity
        word = str(arrays[name].astype(str).reshape(())).lower()
        if word not in _ACTIVATIONS:
            raise ValueError(
                f"{path}: `{name}` is {word[:40]!r}, not one of {', '.join(_ACTIVATIONS)}: give "
                f"`activation`, e.g. activation=OddActivation(f)."
            )
        return _ACTIVATIONS[word]
    return Identity()


def _check_numbers(arrays: dict[str, Any], path: str | os.PathLike) -> None:
    for name, array in arrays.items():
        if array.dtype.kind not in "iuf":
            raise ValueError(f"{path}: `{name}` must hold real numbers; got dtype {array.dtype}.")


def _check_complete(
    arrays: dict[str, Any], implied: dict[str, np.ndarray], path: str | os.PathLike
) -> None:
    """Refuse what changes the network and would be left out.

    Arguments: `implied`, what arrays that are not used would have to be, to change nothing.
    """
    neutral = {name: np.asarray(_NEUTRAL[name.lower()]) for name in arrays if name not in _USED}
    left = [name for name, value in neutral.items() if (arrays[name] != value).any()]
    for name in arrays.keys() & implied:
        found, value = arrays[name].squeeze(), implied[name].squeeze()
        near = found.shape == value.shape and abs(found - value).max() <= 1e-5 * abs(value).max()
        left += [] if near else [name]
    if left:
        names = ", ".join(f"`{name}`" for name in sorted(left))
        raise ValueError(
            f"{path} holds {names}, without which it is another network: make it from the arrays "
            f"(an initial state is `rollout(state=…)`, a time constant enters as dt/τ, thresholds "
            f"and biases as b; a read-out bias needs a class of your own, see the README), or "
            f"leave them out of the file."
        )


def _scalar(arrays: dict[str, Any], name: str, path: str | os.PathLike) -> float | None:
    if name not in arrays:
        return None
    if arrays[name].size != 1:
        raise ValueError(f"{path}: `{name}` must be one number; got shape {arrays[name].shape}.")
    return float(arrays[name].reshape(()))


def _floating(dtype: Any) -> jnp.dtype:
    """A floating dtype that JAX is set up for."""
    try:
        found = jnp.dtype(dtype)
        ready = jnp.issubdtype(found, jnp.floating) and jnp.zeros((), found).dtype == found
    except TypeError:
        ready = False
    if not ready:
        raise ValueError(
            f"`dtype` must be a floating dtype that JAX is set up for (float64 after "
            f'jax.config.update("jax_enable_x64", True)); got {shown(dtype)}.'
        )
    return found

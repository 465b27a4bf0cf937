"""Networks in files: a user's own arrays, and what this package saved."""

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from lrnn_jax._checks import component, number, shown
from lrnn_jax._files import has_header, load_tree, save_tree
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
from lrnn_jax.networks._dense import WEIGHTS, AbstractDenseRNN, DenseRNN
from lrnn_jax.networks._layouts import (
    Layout,
    is_of_layout,
    read_file,
    recognise,
    renamed,
    thresholds_of,
    with_thresholds,
    write_safetensors,
)
from lrnn_jax.networks._low_rank import LowRankRNN

_FORMATS = (
    "either loading vectors z, v, m, u (each (neurons, columns)) or weights w (neurons, neurons), "
    "w_in (neurons, inputs), w_out (outputs, neurons); optional biases b and initial state h0 "
    "(neurons); optional scalars: scale (of vectors), dt; optional text: activation"
)
_USED = (*"zvmu", *WEIGHTS, "b", "scale", "dt", "tau")
_START = (
    *("h0", "h_0", "x0", "x_0", "r0", "r_0", "s0", "h_init", "x_init"),
    *("init_state", "initial_state", "hidden0", "state0"),
)
"""Usual names of the initial state."""
_READ_BIAS = (
    *("c", "b_out", "bout", "bias_out", "b_o", "out_bias", "output_bias"),
    *("readout_bias", "b_readout", "b_z", "c_out"),
)
"""Usual names of the bias of the read-out."""
_NEUTRAL: dict[str, float] = {
    name: value
    for names, value in (
        ("bias biases b_rec brec b_hh bias_hh b_h b_ih bias_ih b_in bias_in", 0.0),
        (" ".join(_READ_BIAS), 0.0),
        ("threshold thresholds theta thetas thr", 0.0),
        ("w_fb wfb w_feedback feedback w_skip w_direct", 0.0),
        ("taus tau_m tau_rec tau_neuron time_constant time_constants gain gains", 1.0),
    )
    for name in names.split()
}
"""What networks here do not have, by the usual names, and the value that it has without it."""
ACTIVATIONS = {
    **dict.fromkeys(("identity", "linear", "none"), Identity()),
    **{"tanh": Tanh(), "erf": Erf(), "relu": ReLU(), "softplus": Softplus()},
}
"""Those that files and the command line name."""
_positive = partial(number, low=0, open_start=True)
_CHECKS = {
    **{name: partial(_positive, name=name) for name in ("dt", "tau", "scale")},
    "activation": as_activation,
    "readout": partial(
        component, kind=AbstractActivation, name="readout", such_as="Identity(), to read out h"
    ),
    "kind": lambda kind: _dense(kind),
}
_WRITERS = {".npz": np.savez, ".safetensors": write_safetensors}
_PHI = ("activation", "nonlinearity", "phi", "transfer_function")


def save_network(network: AbstractRNN, path: str | os.PathLike) -> None:
    """Write any network, a reduction or one of your own class, to a file.

    Its arrays stand by their paths, and a JSON header says what it is; nothing is pickled. A file
    that was there is replaced as a whole, or stays.

    Arguments:
        network: any `AbstractRNN`.
        path: of the file to write, which ends in `.npz`, or in `.safetensors` where that package is
            installed.

    Errors: OSError when the file cannot be written; ValueError for another ending.

    >>> lrnn.save_network(net, "net.npz")
    >>> again = lrnn.load_network("net.npz")
    >>> bool((again.u == net.u).all())
    True
    """
    component(path, (str, os.PathLike), "path", '"network.npz"')
    ending = os.path.splitext(os.fspath(path))[1].lower()
    if ending not in _WRITERS:
        raise ValueError(
            f"`path` must end in {' or '.join(_WRITERS)}, which says how to write it; got "
            f"{os.fspath(path)!r}."
        )
    save_tree(as_network(network), path, _WRITERS[ending])


def load_network(
    path: str | os.PathLike,
    *,
    dt: ArrayLike | None = None,
    tau: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    activation: AbstractActivation | None = None,
    readout: AbstractActivation | None = None,
    kind: type[AbstractDenseRNN] | None = None,
    names: Mapping[str, str] | None = None,
    dtype: Any = None,
    like: AbstractRNN | None = None,
) -> AbstractRNN:
    """A network from a file: of PyTorch, of other programs, of your own, or what was saved here.

    Arguments:
        path: a file of `save_network`; or one that holds z, v, m, u, or w, w_in, w_out, perhaps
            biases b, initial state h0, thresholds theta of φ(h + theta), numbers `scale`, `dt`,
            `tau`, and the name of an `activation` ("linear", "tanh", "erf", "relu", "softplus"); or
            a state dict with `torch.nn.RNN` (or `RNNCell`) and a linear read-out, or with vectors m
            (write) and n (read), inputs wi or w_inp, read-out wo or w_out, their scales, h0 or x0.
            As `.npz`, PyTorch's `.pt`, `.safetensors` or `.mat`, whose version 7.3 needs mat73 (see
            `describe_file` for what is recognised).
        dt, tau: Euler step and membrane time constant in one unit; the network's dt is dt/tau.
            Needed where the file has no dt.
        scale: s of loading vectors; default N.
        activation: φ; default linear, for files of other programs tanh.
        readout: `Identity()` where h is read out in place of φ(h).
        kind: the equation of weights w, w_in, w_out: `DenseRNN` (default) or `CurrentRNN`.
        names: the file's names of our arrays, e.g. {"z": "arr_3", "v": "arr_0.T"}, where ".T"
            turns one.
        dtype: floating dtype to compute in, e.g. "float64"; default the file's.
        like: for a saved network of a class of your own, or with an activation made of a function:
            a network of the same structure, whose arrays are replaced.

    Returns: a `LowRankRNN` for vectors, a dense network for matrices (see `factorise`), the saved
    network otherwise.

    Errors: ValueError for a file that is missing, unreadable, pickled or holds other arrays, that
    says otherwise than an argument, or holds what changes a network and is not read, or when dt is
    nowhere given; those of the networks' classes.

    >>> np.savez("mine.npz", read=net.z, v=net.v, m=net.m, u=net.u)
    >>> loaded = lrnn.load_network("mine.npz", dt=0.1, names={"z": "read"})
    >>> bool((loaded.z == net.z).all())
    True
    """
    options = {"dt": dt, "tau": tau, "scale": scale, "activation": activation, "readout": readout}
    options |= {"kind": kind}
    return _load(path, options, names, dtype, like)[0]


def describe_file(
    path: str | os.PathLike,
    *,
    dt: ArrayLike | None = None,
    tau: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    activation: AbstractActivation | None = None,
    readout: AbstractActivation | None = None,
    kind: type[AbstractDenseRNN] | None = None,
    names: Mapping[str, str] | None = None,
) -> str:
    """What `load_network` makes of a file, in a sentence.

    Arguments, errors: as there.

    >>> np.savez("vectors.npz", z=net.z, v=net.v, m=net.m, u=net.u)
    >>> networks.describe_file("vectors.npz", dt=0.1).split(", ")[:2]
    ['LowRankRNN of 40 neurons', 'rank 1']
    """
    options = {"dt": dt, "tau": tau, "scale": scale, "activation": activation, "readout": readout}
    options |= {"kind": kind}
    network, sentence = _load(path, options, names, None, None)
    return f"{describe(network)}; read from {sentence}."


def describe(network: AbstractRNN) -> str:
    """What a network is: class, sizes, φ, read-out, dt, whether anything but inputs drives it.

    >>> print(networks.describe(dense))
    CurrentRNN of 3 neurons, 1 input(s) and 1 output(s), φ = Identity, reads out h, dt = 0.1
    """
    as_network(network)
    rank = "" if network.roles is None else f", rank {network.roles.rank}"
    kind, phi, read = (
        type(x).__name__ for x in (network, network.activation, network.readout_activation)
    )
    driven = ", driven by biases or an initial state other than 0" * network.biased
    return (
        f"{kind} of {network.state_size} neurons{rank}, {network.inputs} input(s) and "
        f"{network.outputs} output(s), φ = {phi}, reads out "
        f"{'h' if network.readout_activation.linear else f'{read}(h)'}, dt = "
        f"{float(network.dt):g}{driven}"
    )


def _load(
    path: str | os.PathLike, options: dict[str, Any], names: Any, dtype: Any, like: Any
) -> tuple[AbstractRNN, str]:
    """The network, and what was recognised."""
    dtype = None if dtype is None else _floating(dtype)
    names = component({} if names is None else names, Mapping, "names", '{"z": "arr_3"}')
    if not all(isinstance(word, str) for pair in names.items() for word in pair):
        raise ValueError(f"`names` maps our names to the file's; got {shown(dict(names))}.")
    for name, check in _CHECKS.items():
        options[name] = None if options[name] is None else check(options[name])
    like = None if like is None else as_network(like, "like")
    mapped = {theirs.removesuffix(".T") for theirs in names.values()} | {*names.values()}

    def wanted(name: str) -> bool:
        plain = name in {"header", *_USED} or name.lower() in {*_NEUTRAL, *_START, *_PHI, "tau"}
        return plain or name in mapped or is_of_layout(name)

    arrays = read_file(path, wanted)
    if has_header(arrays):
        whole = all(array is not None for array in arrays.values())
        network = load_tree(path, like, arrays if whole else None)
        for name, option in {**options, "names": names or None}.items():
            if option is not None:
                raise ValueError(f"{path} holds a whole network, with its own: leave out `{name}`.")
        if not isinstance(network, AbstractRNN):
            raise ValueError(
                f"{path} holds a {type(network).__name__} and no network: load a learning curve "
                f"with LearningCurve.load(path), and take its `model`."
            )
        return (network if dtype is None else cast(network, dtype)), "what save_network wrote"
    arrays = renamed(arrays, names, path)
    if dtype is not None:  # before anything is computed of them
        floating = (n for n, a in arrays.items() if a is not None and a.dtype.kind == "f")
        arrays |= {name: arrays[name].astype(dtype) for name in [*floating]}
    network, sentence = _from_arrays(arrays, path, options)
    return (network if dtype is None else cast(network, dtype)), sentence


def _from_arrays(
    arrays: dict[str, Any], path: str | os.PathLike, options: dict[str, Any]
) -> tuple[AbstractRNN, str]:
    """A network from the arrays of a file, of which what is not read is None; and its layout."""
    held = ", ".join(arrays) or "nothing"
    arrays = {name: array for name, array in arrays.items() if array is not None}
    arrays = {"tau" if name.lower() == "tau" else name: a for name, a in arrays.items()}
    theta = thresholds_of(arrays)
    layout = recognise(arrays, path)
    if layout is None:
        layout = _own(arrays, path, held)
    else:
        _check_complete({n: a for n, a in arrays.items() if n.lower() in _NEUTRAL}, {}, path)
    arguments = dict(layout.arguments)
    arguments["dt"] = _step(arguments.get("dt"), arrays, options, path)
    if options["scale"] is not None and issubclass(layout.kind, AbstractDenseRNN):
        raise ValueError(f"{path} holds weights: `scale` is of loading vectors, leave it out.")
    for name in ("scale", "activation", "readout"):
        if options[name] is not None:
            arguments[name] = _agreed(name, arrays.get(name), options[name], path)
    network = with_thresholds(_kind(layout, options["kind"], path), arguments, theta)
    return network, layout.sentence + ", thresholds θ of φ(h + θ)" * (theta is not None)


def _kind(layout: Layout, given: type[AbstractDenseRNN] | None, path: str | os.PathLike) -> Any:
    """The class of the network, which the file may leave open."""
    if given is None or given is layout.kind:
        return layout.kind
    if not layout.open:
        raise ValueError(
            f"{path} holds {layout.sentence}: a {layout.kind.__name__}, not a {given.__name__} as "
            f"`kind` says; leave it out."
        )
    return given


def _dense(kind: Any) -> type[AbstractDenseRNN]:
    """A class of dense networks."""
    if not isinstance(kind, type) or not issubclass(kind, AbstractDenseRNN):
        raise ValueError(f"`kind` is DenseRNN or CurrentRNN; got {shown(kind)}.")
    return kind


def _own(arrays: dict[str, Any], path: str | os.PathLike, held: str) -> Layout:
    """Arrays by our names."""
    phi = _activation(arrays, path)
    arrays = {name: array for name, array in arrays.items() if name.lower() not in _PHI}
    for name, array in arrays.items():
        if array.dtype.kind not in "iuf":
            raise ValueError(f"{path}: `{name}` must hold real numbers; got dtype {array.dtype}.")
    starts = [arrays.pop(name).squeeze() for name in list(arrays) if name.lower() in _START]
    start = next((h0 for h0 in starts if h0.any()), None)
    biases = [arrays.pop(name).ravel() for name in list(arrays) if name.lower() in _READ_BIAS]
    c = next((c for c in biases if c.any()), None)
    arguments: dict[str, Any] = {"b": arrays.get("b"), "h0": start, "c": c, "activation": phi}
    if all(name in arrays for name in "zvmu"):
        arguments |= {f: arrays[f] for f in "zvmu"} | {"scale": _scalar(arrays, "scale", path)}
        layout = Layout(LowRankRNN, arguments, "loading vectors z, v, m, u")
        implied = _as_weights(arguments)
    elif all(name in arrays for name in WEIGHTS):
        arguments |= {name: arrays[name] for name in WEIGHTS}
        for name, shape in (("w_in", (-1, 1)), ("w_out", (1, -1))):  # of a single channel
            array = arguments[name]
            arguments[name] = array.reshape(shape) if array.ndim == 1 else array
        layout = Layout(DenseRNN, arguments, "weights w, w_in, w_out", open=True)
        implied = dict.fromkeys("zvmu", np.full(1, np.nan)) | {"scale": np.ones(1)}
    else:
        raise ValueError(f"{path} must hold {_FORMATS}. It holds: {held}.")
    _check_complete(arrays, implied, path)
    return layout


def _step(
    known: float | None, arrays: dict[str, Any], options: dict[str, Any], path: str | os.PathLike
) -> float:
    """dt/τ, from the layout where that says it, from arguments and the file otherwise."""
    dt, tau = (_agreed(name, arrays.get(name), options[name], path) for name in ("dt", "tau"))
    step = known if dt is None else float(dt) / (1.0 if tau is None else float(tau))
    if step is None:
        e_g = "dt=0.05 or --dt 0.05; or both in one unit, dt=20 and tau=100"
        raise ValueError(f"{path} holds no `dt`: give the Euler step, e.g. {e_g}.")
    if known not in (None, step):
        raise ValueError(
            f"{path} is a network of dt = {known:g}, the arguments say {step:g}: leave `dt` out."
        )
    return step


def _agreed(name: str, held: Any, given: Any, path: str | os.PathLike) -> Any:
    """An option from the file or from the arguments, which must not contradict each other."""
    number = None if held is None or held.dtype.kind in "US" else _scalar({name: held}, name, path)
    if given is None or number is None:
        return number if given is None else given
    if abs(number - float(given)) > 1e-6 * abs(number):
        raise ValueError(
            f"{path} says that `{name}` is {number:g}, the argument {float(given):g}: leave it "
            f"out, or mend the file."
        )
    return given


def _as_weights(arguments: dict[str, Any]) -> dict[str, np.ndarray]:
    """W, W_in and W_out of a low-rank network."""
    z, v, m, u = (np.reshape(arguments[f], (len(arguments[f]), -1)) for f in "zvmu")
    s = len(z) if arguments["scale"] is None else arguments["scale"]
    return {"w": u @ v.T / s, "w_in": m, "w_out": z.T / s}


def _activation(arrays: dict[str, Any], path: str | os.PathLike) -> AbstractActivation:
    """φ by the name that a file gives it; linear where it gives none."""
    for name in [name for name in arrays if name.lower() in _PHI]:
        if arrays[name].size != 1 or arrays[name].dtype.kind not in "US":
            continue  # a recorded activity
        word = str(arrays[name].astype(str).reshape(())).lower()
        if word not in ACTIVATIONS:
            raise ValueError(
                f"{path}: `{name}` is {word[:40]!r}, not one of {', '.join(ACTIVATIONS)}: give "
                f"`activation`, e.g. activation=OddActivation(f)."
            )
        return ACTIVATIONS[word]
    return Identity()


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
            f"(a time constant enters as dt/τ, thresholds and biases as b, a read-out bias "
            f"as c), or leave them out of the file."
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
            f"lrnn.setup_jax()); got {shown(dtype)}."
        )
    return found

"""Networks as other programs write them: which layout it is, and our arguments made of it."""

import importlib
import os
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from lrnn_jax._checks import component
from lrnn_jax._files import read_arrays
from lrnn_jax.networks._activation import Identity, Tanh
from lrnn_jax.networks._dense import AbstractDenseRNN, DenseRNN
from lrnn_jax.networks._low_rank import LowRankRNN

CONVERT = (
    "import numpy, torch; "
    'state = torch.load({path!r}, weights_only=True, map_location="cpu"); '
    'numpy.savez("network.npz", **{{k: v.numpy() for k, v in state.items()}})'
)
WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which checkpoints keep a state dict."""
INPUTS, READOUTS = ("wi", "w_inp"), ("wo", "w_out")
SCALES = {"wi": "si", "w_inp": "w_inp_scale", "wo": "so", "w_out": "w_out_scale"}
STARTS = ("h0", "x0")
THRESHOLDS = ("threshold", "thresholds", "theta", "thetas", "thr")
RECURRENT = ("weight_hh_l0", "weight_hh")
"""Recurrent weights of `torch.nn.RNN` and `torch.nn.RNNCell`."""


class Layout(NamedTuple):
    """What a file holds.

    Fields: kind, the class; arguments, of its constructor; sentence, what was recognised; open,
    whether weights may be meant for another equation.
    """

    kind: type[LowRankRNN] | type[AbstractDenseRNN]
    arguments: dict[str, Any]
    sentence: str
    open: bool = False


def read_file(path: str | os.PathLike, wanted: Any) -> dict[str, Any]:
    """Arrays of a file by name: `.npz`, PyTorch's, `.safetensors` or `.mat`.

    Arguments:
        path: of the file.
        wanted: name → whether an entry of an `.npz` is read; of the others None.

    Errors: ValueError for a file that cannot be read, or whose reader is not installed.
    """
    component(path, (str, os.PathLike), "path", '"network.npz"')
    kind = os.path.splitext(os.fspath(path))[1].lower()
    if kind == ".safetensors":
        return _read_safetensors(path)
    if kind == ".mat":
        held = _read_matlab(path)
        return {name: array if wanted(name) else None for name, array in held.items()}
    if os.path.isfile(path) and _is_torch(path):
        return _read_torch(path)
    return read_arrays(path, wanted)


def _read_safetensors(path: str | os.PathLike) -> dict[str, Any]:
    """Arrays, and the header of what `save_network` wrote."""
    package = _module("safetensors", path, "pip install safetensors")

    def load(path: str | os.PathLike) -> dict[str, Any]:
        with package.safe_open(path, "np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = (file.metadata() or {}).get("lrnn_jax")
        return arrays if header is None else arrays | {"header": np.array(header)}

    return _safely(load, path, "a safetensors file")


def write_safetensors(file: Any, header: Any, **arrays: Any) -> None:
    """Put arrays into an open file, the header among the metadata."""
    package = _module("safetensors.numpy", "Writing .safetensors", "pip install safetensors")
    file.write(package.save(arrays, metadata={"lrnn_jax": str(header)}))


def _read_matlab(path: str | os.PathLike) -> dict[str, Any]:
    """Arrays of a MATLAB file, of version 7.3 (HDF5) or older."""
    from scipy.io import loadmat

    try:
        with open(path, "rb") as file:
            new = file.read(10) == b"MATLAB 7.3"
    except OSError:
        new = False
    advice = "pip install mat73, or save the file with -v7"
    load = _module("mat73", path, advice).loadmat if new else loadmat
    held = _safely(load, path, "a MATLAB file")
    plain = {k: v for k, v in held.items() if isinstance(v, (np.ndarray, float, int, str))}
    arrays = {k: np.asarray(v) for k, v in plain.items() if k[0] != "_"}
    return {k: v.squeeze() if k in STARTS else v for k, v in arrays.items()}


def _is_torch(path: Any) -> bool:
    """Whether a file starts like one of `torch.save`, of today (a zip with data.pkl) or of old."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                return any(name.endswith("/data.pkl") for name in file.namelist())
        with open(path, "rb") as file:
            return file.read(2) == b"\x80\x02"
    except (OSError, TypeError, ValueError, zipfile.BadZipFile):
        return False


def _read_torch(path: str | os.PathLike) -> dict[str, Any]:
    """Tensors of a state dict."""
    torch = _module(
        "torch", path, f"convert it where it is, by {CONVERT.format(path=os.fspath(path))}"
    )

    def load(path: str | os.PathLike) -> Any:
        return torch.load(path, weights_only=True, map_location="cpu")

    held = _safely(load, path, "a state dict of tensors, as torch.save(model.state_dict()) writes")
    for key in WRAPPERS:
        held = (
            held[key] if isinstance(held, Mapping) and isinstance(held.get(key), Mapping) else held
        )
    if not isinstance(held, Mapping):
        raise ValueError(
            f"{path} holds a {type(held).__name__}: save model.state_dict() in place of the model."
        )
    return {k: v.detach().numpy() for k, v in held.items() if torch.is_tensor(v)}


def _module(name: str, path: Any, otherwise: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.split(".")[0]
        raise ValueError(f"{path} needs {package}, which is not installed: {otherwise}") from None


def _safely(load: Any, path: Any, what: str) -> Any:
    if not os.path.isfile(path):
        raise ValueError(f"There is no file {path}.")
    try:
        return load(path)
    except Exception as error:  # whatever a reader says of a file that is none of its kind
        first = str(error).strip().splitlines() or [""]
        raise ValueError(
            f"{path} is not {what} ({type(error).__name__}: {first[0][:80]})."
        ) from None


def renamed(arrays: dict[str, Any], names: Mapping[str, str], path: Any) -> dict[str, Any]:
    """Arrays by our names; "arr_3.T" is the transpose of "arr_3".

    Errors: ValueError for what the file does not hold.
    """
    out = dict(arrays)
    for ours, theirs in names.items():
        name = theirs if theirs in arrays else theirs.removesuffix(".T")
        if name not in arrays:
            raise ValueError(
                f"`names` says that {ours} is {theirs!r}, but {path} holds {', '.join(arrays)}."
            )
        out.pop(name, None)
        out[ours] = arrays[name] if name == theirs else np.swapaxes(arrays[name], -1, -2)
    return out


def thresholds_of(arrays: dict[str, Any]) -> np.ndarray | None:
    """θ of φ(h + θ), taken out of the arrays; None where there are none but zeros."""
    found = [arrays.pop(name) for name in list(arrays) if name.lower() in THRESHOLDS]
    return next((np.ravel(theta) for theta in found if np.any(theta)), None)


def with_thresholds(kind: Any, arguments: dict[str, Any], theta: np.ndarray | None) -> Any:
    """A network whose neurons apply φ(h + θ): that of h + θ, whose b and h_0 are more by θ.

    Where h itself is read out, c is less by what reads θ; rates φ(W h + θ) only have b.
    """
    if theta is None:
        return kind(**arguments)
    raised = ("b",) if kind is DenseRNN else ("b", "h0")
    before = {name: 0.0 if arguments.get(name) is None else arguments[name] for name in raised}
    more: dict[str, Any] = {name: np.ravel(x) + theta for name, x in before.items()}
    network = kind(**arguments | more)
    if kind is DenseRNN or not network.readout_activation.linear or network.activation.linear:
        return network
    c = 0.0 if network.c is None else np.asarray(network.c)
    lifted = network.readout(jnp.asarray(theta, network.dtype))
    return eqx.tree_at(lambda net: net.c, network, 2 * c - lifted, is_leaf=lambda x: x is None)


def recognise(arrays: dict[str, Any], path: Any) -> Layout | None:
    """What other programs wrote; None where it is our layout, or none that is known.

    Errors: ValueError for networks of another kind, and for an orientation that shapes leave open.
    """
    short = _without_prefix(arrays)
    recurrent = [name for name in arrays if name.endswith(RECURRENT)]
    if recurrent:
        return _torch_rnn(arrays, recurrent[0], path)
    inputs, readouts = ([n for n in names if n in short] for names in (INPUTS, READOUTS))
    if {"m", "n"} <= short.keys() and inputs and readouts:
        return _writes_and_reads(short, inputs[0], readouts[0], path)
    if {"m", "n"} <= short.keys() and (inputs or readouts):
        missing = "a read-out, wo or w_out" if inputs else "inputs, wi or w_inp"
        raise ValueError(
            f"{path} holds m, which writes, and n, which reads, but not {missing}; it holds "
            f"{', '.join(arrays)}."
        )
    return None


def is_of_layout(name: str) -> bool:
    """Whether an entry of a file belongs to one of these layouts."""
    last = name.split(".")[-1]
    known = {"m", "n", "b", *INPUTS, *READOUTS, *SCALES.values(), *STARTS, "weight", "bias"}
    return last in known or "weight_" in last or "bias_" in last


def _without_prefix(arrays: dict[str, Any]) -> dict[str, Any]:
    """Arrays by the last part of their names, where these differ."""
    short = [name.split(".")[-1] for name in arrays]
    return dict(zip(short, arrays.values())) if len({*short}) == len(short) else arrays


def _torch_rnn(arrays: dict[str, Any], recurrent: str, path: Any) -> Layout:
    """`nn.RNN` or `nn.RNNCell`, and a linear read-out:

    h' = tanh(W h + W_in x + b_ih + b_hh),      y = W_out h' + c
    """
    prefix, _, layer = recurrent.rpartition("weight_hh")
    parts = (n for n in arrays if n.startswith((f"{prefix}weight_", f"{prefix}bias_")))
    own = {n.removeprefix(prefix): arrays[n] for n in parts}
    w, w_in = own[f"weight_hh{layer}"], own.get(f"weight_ih{layer}")
    n = w.shape[-1]
    gates = {4: "four gates (an LSTM)", 3: "three gates (a GRU)"}.get(len(w) // n)
    more = [name for name in own if "_l1" in name or "reverse" in name]
    if gates or more or w_in is None:
        held = more[0] if more else f"no weight_ih{layer}"
        why = f"weight_hh{layer} has {gates}" if gates else f"it holds {held}"
        raise ValueError(f"{path} is not a vanilla RNN of one layer: {why}.")
    rest = {k: a for k, a in arrays.items() if k.removeprefix(prefix) not in own}
    reads = [k for k, a in rest.items() if k.endswith("weight") and a.ndim == 2 and a.shape[1] == n]
    if len(reads) != 1:
        raise ValueError(
            f"{path} holds {len(reads)} matrices that could read out {n} neurons "
            f"({', '.join(reads) or 'none'}): say which, e.g. names={{'w_out': 'readout.weight'}} "
            f"together with w and w_in."
        )
    biases = [own[k] for k in (f"bias_ih{layer}", f"bias_hh{layer}") if k in own]
    offset = reads[0].removesuffix("weight") + "bias"
    bias = rest.get(offset)
    if unread := [k for k in rest if k not in (reads[0], offset)]:
        raise ValueError(
            f"{path} holds more than a vanilla RNN and its read-out: {', '.join(unread)}."
        )
    arguments = {"w": w, "w_in": w_in, "w_out": arrays[reads[0]], "dt": 1.0, "activation": Tanh()}
    arguments |= {"b": sum(biases)} if biases else {}
    arguments |= {} if bias is None else {"c": bias}
    said = "the layout of torch.nn.RNN, taken as tanh, which the file cannot tell from relu"
    return Layout(DenseRNN, arguments, said)


def _writes_and_reads(short: dict[str, Any], inputs: str, readout: str, path: Any) -> Layout:
    """Low-rank files of the field, in which m writes and n reads: J = m nᵀ/N."""
    used = {name: short[name] for name in ("m", "n", inputs, readout)}
    n = _neurons(used, path)
    u, v, m, z = (_columns(array, n, name, path) for name, array in used.items())
    for name, vectors in ((inputs, m), (readout, z)):
        if SCALES[name] in short:
            vectors *= np.ravel(short[SCALES[name]])
    arguments: dict[str, Any] = {"z": z, "v": v, "m": m, "u": u, "activation": Tanh()}
    starts = [short[name] for name in STARTS if name in short]
    arguments |= {"h0": np.ravel(starts[0])} if starts and starts[0].any() else {}
    arguments |= {"b": np.ravel(short["b"])} if "b" in short and short["b"].any() else {}
    states = inputs == "w_inp"  # the program that writes these names reads out h
    arguments |= {"readout": Identity()} if states else {}
    said = (
        f"a low-rank layout in which m writes and n reads, with N = {n}, s = N unless `scale` says "
        f"otherwise, tanh, and a read-out of {'h' if states else 'tanh(h)'}"
    )
    return Layout(LowRankRNN, arguments, said)


def _neurons(arrays: dict[str, Any], path: Any) -> int:
    """N, the one size that all of these have."""
    sizes = set.intersection(*({*a.shape} for a in arrays.values()))
    if len(sizes) != 1:
        shapes = ", ".join(f"{name} {a.shape}" for name, a in arrays.items())
        raise ValueError(
            f"{path}: the number of neurons is the size that all vectors share, but {shapes} share "
            f"{sorted(sizes) or 'none'}: give our names, e.g. names={{'u': 'm', 'v': 'n.T', …}}."
        )
    return sizes.pop()


def _columns(array: np.ndarray, n: int, name: str, path: Any) -> np.ndarray:
    """An array with one row a neuron."""
    if array.shape == (n,):
        return np.array(array[:, None])
    if array.ndim != 2 or array.shape == (n, n):
        raise ValueError(
            f"{path}: `{name}` of shape {array.shape} may stand either way: give our names, e.g. "
            f"names={{'v': '{name}'}} or '{name}.T'."
        )
    return np.array(array if array.shape[0] == n else array.T)

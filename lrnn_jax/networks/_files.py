"""Reading a user's own trained network from an `.npz` file."""

import os
import zipfile
from typing import Any

import numpy as np

from lrnn_jax.networks._activation import AbstractActivation, Identity
from lrnn_jax.networks._dense import WEIGHTS, DenseRNN, Factorisation, factorise
from lrnn_jax.networks._low_rank import LowRankRNN

_FORMATS = (
    "either loading vectors z, v, m, u (each (neurons, columns)) and optional biases b (neurons), "
    "or weights w (neurons, neurons), w_in (neurons, inputs), w_out (outputs, neurons) and "
    "optional biases b; optional scalars: scale, dt"
)


def load_network(
    path: str | os.PathLike,
    *,
    dt: float | None = None,
    scale: float | None = None,
    rank: int | None = None,
    energy: float | None = None,
    activation: AbstractActivation = Identity(),
) -> tuple[LowRankRNN, Factorisation | None]:
    """A low-rank network from an `.npz` file of loading vectors or of weight matrices.

    Arguments:
        path: a file written by `numpy.savez`, holding either arrays z, v, m, u, or w, w_in, w_out;
            optionally biases b and scalars `scale` and `dt`.
        dt: Euler step; needed when the file has none, and goes before the file's.
        scale: s; goes before the file's; default N for vectors, 1 for matrices.
        rank, energy: how far to factorise w, as in `factorise`.
        activation: φ.

    Returns: the network, and for weight matrices how well it was factorised (None for vectors).

    Errors: ValueError for a file that is missing, unreadable, pickled or holds other arrays, or
    when dt is nowhere given; those of `LowRankRNN`, `DenseRNN` and `factorise`.
    """
    arrays = _read(path)
    dt = dt if dt is not None else _scalar(arrays, "dt", path)
    scale = scale if scale is not None else _scalar(arrays, "scale", path)
    if dt is None:
        raise ValueError(f"{path} holds no `dt`: give the Euler step, e.g. dt=0.05 or --dt 0.05.")
    if all(name in arrays for name in "zvmu"):
        if rank is not None or energy is not None:
            raise ValueError(
                f"{path} holds loading vectors, whose rank is the number of columns of v and u: "
                f"`rank` and `energy` are for files of weight matrices."
            )
        vectors = {name: arrays[name] for name in "zvmub" if name in arrays}
        return LowRankRNN(**vectors, scale=scale, dt=dt, activation=activation), None
    if all(name in arrays for name in WEIGHTS):
        weights = {name: arrays[name] for name in (*WEIGHTS, "b") if name in arrays}
        dense = DenseRNN(**weights, dt=dt, activation=activation)
        found = factorise(dense, rank=rank, energy=energy, scale=1.0 if scale is None else scale)
        return found.network, found
    raise ValueError(f"{path} must hold {_FORMATS}. It holds: {', '.join(arrays) or 'nothing'}.")


def _read(path: str | os.PathLike) -> dict[str, Any]:
    if not os.path.exists(path):
        raise ValueError(f"There is no file {path}.")
    try:
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError):
        raise ValueError(
            f"{path} is not a readable .npz file of plain arrays. Write it with "
            f"numpy.savez(path, …): {_FORMATS}."
        ) from None
    for name, array in arrays.items():
        if not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
            raise ValueError(f"{path}: `{name}` must hold real numbers; got dtype {array.dtype}.")
    return arrays


def _scalar(arrays: dict[str, Any], name: str, path: str | os.PathLike) -> float | None:
    if name not in arrays:
        return None
    if arrays[name].size != 1:
        raise ValueError(f"{path}: `{name}` must be one number; got shape {arrays[name].shape}.")
    return float(arrays[name].reshape(()))

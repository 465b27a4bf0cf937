"""Eigenvalues of the closed loop, and when it becomes stable."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from lrnn_jax._checks import component, number, shaped, shown, whole
from lrnn_jax.environments import AbstractPlant, ClosedLoop, linear_loop
from lrnn_jax.learning import LearningCurve
from lrnn_jax.networks import AbstractRNN
from lrnn_jax.reduced import reduce


def loop_matrix(
    model: AbstractRNN | LearningCurve, plant: AbstractPlant | ClosedLoop
) -> Float[Array, "*record d d"]:
    """P of the closed loop (x, h)_{t+1} = P (x, h)_t; over the recorded epochs for a curve.

    A curve of a low-rank network or of a reduction gives the matrix of the reduction, of size state
    + inputs + rank; for a dense network, record it with `learn(watch=LoopMatrix(plant))`.

    Arguments:
        model: a network, a reduction, or a learning curve.
        plant: what it controls (nonlinear ones are linearised at rest).

    Errors: ValueError for the curve of a dense network.

    Source: [CL] eq. 9.

    >>> stability.loop_matrix(reduction, loop).shape, stability.loop_matrix(curve, loop).shape
    ((4, 4), (21, 4, 4))
    """
    component(model, (AbstractRNN, LearningCurve), "model", "a network, a reduction or a curve")
    plant = _plant(plant)
    if not isinstance(model, LearningCurve):
        return linear_loop(model, plant).matrix
    if model.roles is None:
        raise ValueError(
            "A dense network's curve holds no overlaps to make its loop from: record the matrix "
            "with learn(watch=LoopMatrix(plant)), and pass curve.watched to numpy's eigvals."
        )
    rnn = reduce(model.model)
    return jax.vmap(lambda gram: linear_loop(rnn.with_gram(gram), plant).matrix)(model.gram)


def _plant(plant: Any) -> AbstractPlant:
    """A plant, by itself or in a loop."""
    component(plant, (AbstractPlant, ClosedLoop), "plant", "KIntegrator(2), or a ClosedLoop")
    return plant.plant if isinstance(plant, ClosedLoop) else plant


def spectrum(
    model: AbstractRNN | LearningCurve | Float[Array | np.ndarray, "*record d d"],
    plant: AbstractPlant | ClosedLoop | None = None,
) -> Complex[np.ndarray, "*record d"]:
    """Eigenvalues λ of the closed loop of a controller and a plant: stable where all |λ| < 1.

    For a low-rank network of N neurons all but state + inputs + rank of them are 1 − dt (0 for
    dt = 1); the others, the outliers, are the spectrum of its reduction, exactly. Of one model they
    are sorted by size, largest first; over the epochs of a curve each column is one eigenvalue
    followed by continuity (`track`), sorted by size at epoch 0.

    Arguments:
        model: a network, a reduction, a learning curve, or P itself, shape (..., d, d).
        plant: what it controls; not needed with P.

    Returns: λ, shape (d,) or (record, d); NaN at epochs after an early end.

    Errors: ValueError for the curve of a dense network (see `loop_matrix`).

    Source: [CL] fig. 3.

    >>> small, full = lrnn.spectrum(reduction, loop), lrnn.spectrum(net, loop)
    >>> far = stability.outliers(full, 1 - 0.1, len(small))
    >>> bool(np.isclose(stability.radius(far), stability.radius(small)))
    True
    """
    if isinstance(model, (AbstractRNN, LearningCurve)):
        if plant is None:
            raise ValueError("The spectrum of a closed loop needs the `plant` of the controller.")
        model = loop_matrix(model, plant)
    matrix = np.asarray(shaped(model, "model", "…", "d", "d"))
    values = np.full(matrix.shape[:-1], np.nan + 0j)
    fine = np.isfinite(matrix).all(axis=(-2, -1))
    values[fine] = np.linalg.eigvals(matrix[fine])
    order = np.argsort(-np.abs(values), axis=-1, kind="stable")
    values = np.take_along_axis(values, order, axis=-1)
    return track(values) if values.ndim == 2 else values


def eigenvalues(values: Any, axes: int, name: str = "values") -> Complex[np.ndarray, "..."]:
    """Eigenvalues as users hand them over, with at least so many axes.

    Errors: ValueError for other numbers of axes, or what holds no numbers.
    """
    try:
        found = np.array(values).astype(complex)
    except (TypeError, ValueError):
        found = np.array(0)
    if found.ndim < axes or found.dtype != complex or np.asarray(values).dtype.kind not in "iufc":
        shape = "(record, d)" if axes == 2 else "(…, d)"
        raise ValueError(f"`{name}` must be eigenvalues, shape {shape}; got {shown(values)}.")
    return found


def track(values: Complex[np.ndarray, "record d"]) -> Complex[np.ndarray, "record d"]:
    """The same eigenvalues, so ordered that each column moves as little as possible.

    From each record to the next, the assignment that minimises Σ |λ' − λ|² (optimal assignment).
    Where eigenvalues collide and part at right angles, which one goes where is not defined.

    Arguments:
        values: eigenvalues, shape (record, d), in any order.

    >>> values = np.array([[1.0 + 0j, 0.5 + 0j], [0.49 + 0j, 0.99 + 0j]])
    >>> print(stability.track(values))
    [[1.  +0.j 0.5 +0.j]
     [0.99+0.j 0.49+0.j]]
    """
    from scipy.optimize import linear_sum_assignment

    out = eigenvalues(values, 2)
    for i in range(1, len(out)):
        if not (np.isfinite(out[i]).all() and np.isfinite(out[i - 1]).all()):
            continue
        distance = np.abs(out[i - 1][:, None] - out[i][None, :]) ** 2
        out[i] = out[i][linear_sum_assignment(distance)[1]]
    return out


def outliers(
    values: Complex[np.ndarray, "*record d"], bulk: complex | float, count: int
) -> Complex[np.ndarray, "*record count"]:
    """The `count` eigenvalues farthest from `bulk` (1 − dt for a low-rank network).

    >>> values = np.array([0.9 + 0j, 1.2 + 0j, 0.9 + 0j, 0.1 + 0j])
    >>> print(stability.outliers(values, 0.9, 2))
    [0.1+0.j 1.2+0.j]
    """
    values, count = eigenvalues(values, 1), whole(count, "count")
    point = eigenvalues(bulk, 0, "bulk")
    if point.ndim or not np.isfinite(point):
        raise ValueError(f"`bulk` is one number, 1 − dt for a low-rank network; got {shown(bulk)}.")
    order = np.argsort(-np.abs(values - bulk), axis=-1, kind="stable")[..., :count]
    return np.take_along_axis(values, order, axis=-1)


def radius(values: Any) -> Float[np.ndarray, "*record"]:
    """Spectral radius, max |λ|.

    >>> stability.radius(np.array([[0.6 + 0.8j, 0.6 - 0.8j]])).round(6).tolist()
    [1.0]
    """
    return np.asarray(np.abs(eigenvalues(values, 1)).max(axis=-1))


def leading(values: Complex[np.ndarray, "*record d"]) -> Complex[np.ndarray, "*record"]:
    """The largest eigenvalue, of a complex pair the one with Im λ ≥ 0: [CL]'s trade-off path.

    Arguments:
        values: λ, shape (..., d), e.g. spectrum(curve, loop).

    Source: [CL] fig. 4.

    >>> values = np.array([[0.9 + 0.1j, 0.9 - 0.1j, 0.5 + 0j]])
    >>> print(stability.leading(values))
    [0.9+0.1j]
    """
    values = eigenvalues(values, 1)
    upper = np.where(np.imag(values) >= 0, np.abs(values), -1.0)
    return np.take_along_axis(values, upper.argmax(axis=-1)[..., None], axis=-1)[..., 0]


def leading_is_complex(values: Complex[np.ndarray, "*record d"]) -> Bool[np.ndarray, "*record"]:
    """Whether the eigenvalue of largest |λ| is one of a complex pair (|Im λ| > 1e-9 |λ|).

    >>> values = np.array([[0.9 + 0.1j, 0.9 - 0.1j], [0.9 + 0j, 0.1 + 0j]])
    >>> stability.leading_is_complex(values).tolist()
    [True, False]
    """
    lead = leading(values)
    return np.asarray(np.abs(np.imag(lead)) > 1e-9 * np.abs(lead))


def stability_epoch(
    radii: Float[np.ndarray, " record"], epochs: Any = None, *, limit: float = 1.0
) -> int:
    """The first epoch from which on the loop is stable, max |λ| < 1, for good; −1: never.

    Arguments:
        radii: max |λ| at the recorded epochs, shape (record,); see `radius(spectrum(…))`.
        epochs: the recorded epochs; default 0, 1, 2, …
        limit: bound on |λ|.

    Source: [CL] fig. 5.

    >>> lrnn.stability_epoch(np.array([1.5, 0.9, 1.1, 0.8, 0.7]))
    3
    """
    radii, limit = np.asarray(shaped(radii, "radii", "record")), float(number(limit, "limit", 0))
    epochs = np.arange(len(radii)) if epochs is None else epochs
    epochs = np.asarray(shaped(epochs, "epochs", len(radii)))
    unstable = np.flatnonzero(~(radii < limit))
    first = unstable[-1] + 1 if len(unstable) else 0
    return int(epochs[first]) if first < len(radii) else -1


class LoopMatrix(eqx.Module):
    """Records P of a model's closed loop: `learn(watch=LoopMatrix(plant))`.

    Arguments:
        plant: what the model controls, or the closed loop around it.

    >>> watch = stability.LoopMatrix(loop)
    >>> learned = lrnn.learn(reduction, task, descent, epochs=5, watch=watch)
    >>> learned.watched.shape
    (6, 4, 4)
    """

    plant: AbstractPlant | ClosedLoop

    def __check_init__(self) -> None:
        _plant(self.plant)

    def __call__(self, model: AbstractRNN) -> Float[Array, "d d"]:
        return loop_matrix(model, self.plant)

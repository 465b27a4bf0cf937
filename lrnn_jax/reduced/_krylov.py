"""Few neurons over any recurrent matrix, for rules that send nothing back along it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import as_columns, as_dt, function, number, real_array, whole
from lrnn_jax.networks import AbstractBulk, BulkLaw, Feedback
from lrnn_jax.reduced._words import forward_only


class CoreBulk(AbstractBulk):
    """A bulk as few neurons see it that follow it forward in time: OᵀgJO.

    Arguments:
        core: OᵀgJO, shape (p, p).

    Errors: ValueError for a matrix that is not square or finite.

    Source: ours.

    >>> core = reduced.CoreBulk(np.eye(2))
    >>> print(core.product(jnp.ones(2)))
    [1. 1.]
    """

    core: Float[Array, "p p"]
    few = True

    def __init__(self, core: ArrayLike):
        self.core = real_array(core, "core")
        if self.core.ndim != 2 or self.core.shape[0] != self.core.shape[1]:
            raise ValueError(f"`core` must be square, shape (p, p); got {self.core.shape}.")

    def law(self) -> BulkLaw:
        raise ValueError("`network` is one of few neurons already, which stand for N of them.")

    def made(self, n: int, dtype: Any) -> "CoreBulk":
        if len(self.core) != n:
            raise ValueError(
                f"`bulk` is a core of {len(self.core)} neurons, and the loading vectors have {n}."
            )
        return CoreBulk(self.core.astype(dtype))

    def product(self, rates: Float[Array, "*batch n"]) -> Float[Array, "*batch n"]:
        return forward_only(lambda x: x @ self.core.T, rates)


def krylov_frame(
    product: Callable[[Any], Any],
    first: ArrayLike,
    *,
    dt: ArrayLike,
    steps: int,
    tolerance: ArrayLike = 0.0,
) -> Float[np.ndarray, "n p"]:
    """An orthonormal basis of span{W^k B, k < T}: where states can be in T steps driven through B.

    By block Arnoldi, each block made orthogonal twice. Of W^k B, a state in T steps has at most

        max_t (t choose k) dt^k (1 − dt)^{t−k} ‖H_k‖ … ‖H_1‖,     H_k: what W adds to the last block

    and blocks end where that is at most the tolerance, of the first one.

    Arguments:
        product: X → W X.
        first: B.
        dt: Euler step.
        steps: T.
        tolerance: 0 for all of them.

    Errors: ValueError for numbers out of range.

    Source: ours (block Arnoldi: Saad 2003).

    >>> w = np.diag(np.ones(4), -1)  # a chain of five neurons
    >>> reduced.krylov_frame(lambda x: w @ x, np.eye(5)[:, :1], dt=0.1, steps=3).shape
    (5, 3)
    """
    function(product, "product", "columns")
    least, steps = float(number(tolerance, "tolerance", 0)), whole(steps, "steps")
    each = float(as_dt(dt))
    block, size = np.asarray(as_columns(first, "first")), 1.0
    frame, n = np.zeros((len(block), 0), block.dtype), len(block)
    for k in range(steps):
        if k and size * _reach(k, steps, each) <= least:
            break
        length = np.linalg.norm(block, axis=0)
        for _ in range(2):
            block = block - frame @ (frame.T @ block)
        parts: Any = scipy.linalg.qr(block, mode="economic", pivoting=True)
        new, triangle = parts[:2]
        few = 64 * np.finfo(block.dtype).eps * max(float(length.max(initial=0)), 1e-300)
        kept = np.abs(np.diagonal(triangle)) > few
        size *= np.linalg.norm(triangle, 2) if k else 1.0
        new = new[:, : len(kept)][:, kept]
        frame = np.concatenate([frame, new], axis=1)
        if not new.shape[1] or frame.shape[1] >= n:
            break
        block = np.asarray(product(new))
    return frame[:, :n]


def _reach(k: int, steps: int, dt: float) -> float:
    """max over t ≤ T of the share of a state that W has moved k times."""
    t = np.arange(k, steps + 1)
    special = scipy.special
    ways = special.gammaln(t + 1) - special.gammaln(k + 1) - special.gammaln(t - k + 1)
    logs = ways + k * math.log(dt) + special.xlog1py(t - k, -dt)
    return math.exp(logs.max(initial=-math.inf))


def check_forward(fixed: Feedback) -> None:
    """Raise ValueError unless errors have another way back than the weights themselves."""
    if fixed.f is None:
        raise ValueError(
            "`steps` are for rules that send errors back by fixed vectors, such as RFLO: give "
            "`feedback`, shape (N, outputs), too; for backpropagation use words=D."
        )


def beyond(
    frame: Float[np.ndarray, "n p"], more: Float[np.ndarray, "n e"]
) -> Float[np.ndarray, "n q"]:
    """An orthonormal basis of what vectors have outside of a frame."""
    length = np.linalg.norm(more, axis=0)
    rest = more / np.where(length > 0, length, 1)
    for _ in range(2):
        rest = rest - frame @ (frame.T @ rest)
    u, size, _ = np.linalg.svd(rest, full_matrices=False)
    u = u[:, size > 64 * np.finfo(rest.dtype).eps]
    return u - frame @ (frame.T @ u)

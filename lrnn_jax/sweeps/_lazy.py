"""Arrays over the cells of a design that are read when they are used. Imports xarray."""

from collections.abc import Callable
from typing import Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing


class CellArray(BackendArray):
    """A variable over grid axes and its own, read cell by cell.

    Arguments:
        read: (cells, pick) → values of the cells, shape (cells, …), with `pick` applied to each
            block of them.
        shape: of grid axes, then the variable's own.
        axes: how many of them are grid axes.
    """

    def __init__(
        self, read: Callable[..., np.ndarray], shape: tuple[int, ...], axes: int, dtype: np.dtype
    ):
        self.read, self.shape, self.axes, self.dtype = read, shape, axes, dtype

    def __getitem__(self, key: Any) -> Any:
        outer = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, outer, self._get)

    def _get(self, key: tuple[Any, ...]) -> np.ndarray:
        wanted = [np.arange(n)[k] for n, k in zip(self.shape, key)]
        single = tuple(i for i, w in enumerate(wanted) if w.ndim == 0)
        wanted = [np.atleast_1d(w) for w in wanted]
        grid, own = wanted[: self.axes], wanted[self.axes :]
        cells = np.ravel_multi_index(np.ix_(*grid), self.shape[: self.axes]).ravel()

        def pick(block: np.ndarray) -> np.ndarray:
            return block[np.ix_(np.arange(len(block)), *own)] if own else block

        values = self.read(cells, pick).reshape(tuple(map(len, wanted)))
        return np.squeeze(values, axis=single)


def lazy(
    read: Callable[..., np.ndarray], shape: tuple[int, ...], axes: int, dtype: np.dtype
) -> Any:
    """The data of an `xarray.Variable`."""
    return indexing.LazilyIndexedArray(CellArray(read, shape, axes, dtype))

"""Matrices of numbers modulo a prime, with derivatives and, for flows, as series in time."""

from collections.abc import Sequence
from typing import Any

import numpy as np

PRIME = 2**31 - 1
"""p. A product of two residues fits into 64 bits."""
Residues = np.ndarray[Any, np.dtype[np.int64]]


class Jets:
    """A matrix whose entries are truncated series Σ_n c_n tⁿ, with their derivatives, modulo p.

    Arguments:
        c: residues, shape (rows, columns, order, 1 + directions): value first, then derivatives.

    >>> ring = inference.Ring(order=1, directions=1)
    >>> x = ring.variable(0)
    >>> square = x @ x
    >>> bool(square.c[0, 0, 0, 1] == 2 * x.c[0, 0, 0, 0] % (2**31 - 1))  # d(x²) = 2x dx
    True
    """

    __slots__ = ("c",)
    __array_priority__ = 1000

    def __init__(self, c: Residues):
        self.c = c

    @property
    def shape(self) -> tuple[int, int]:
        return self.c.shape[0], self.c.shape[1]

    @property
    def T(self) -> "Jets":
        return Jets(np.swapaxes(self.c, 0, 1))

    def __getitem__(self, where: Any) -> "Jets":
        return Jets(self.c[where])

    def __add__(self, other: "Jets") -> "Jets":
        return Jets((self.c + other.c) % PRIME)

    def __sub__(self, other: "Jets") -> "Jets":
        return Jets((self.c - other.c) % PRIME)

    def __matmul__(self, other: "Jets") -> "Jets":
        """Products of truncated series, and (AB)' = A'B + AB'."""
        order = self.c.shape[2]
        out = np.zeros((self.c.shape[0], *other.c.shape[1:]), np.int64)
        for n in range(order):
            a, b = self.c[:, :, None, None, n], other.c[None, :, :, : order - n]
            if a.any():
                term = a[..., :1] * b % PRIME
                term[..., 1:] += a[..., 1:] * b[..., :1] % PRIME
                out[:, :, n:] += np.sum(term, axis=1)
                out %= PRIME
        return Jets(out)

    def __mul__(self, other: "Jets") -> "Jets":
        """The matrix times a number, which is a 1×1 matrix."""
        rows, columns = self.shape
        flat = Jets(self.c.reshape(rows * columns, 1, *self.c.shape[2:])) @ other
        return Jets(flat.c.reshape(self.c.shape))

    def integral(self) -> "Jets":
        """∫ dt from 0, of each entry."""
        out = np.zeros_like(self.c)
        inverse = [pow(n, PRIME - 2, PRIME) for n in range(1, self.c.shape[2])]
        out[:, :, 1:] = self.c[:, :, :-1] * np.array(inverse, np.int64)[:, None] % PRIME
        return Jets(out)

    def squares(self) -> "Jets":
        """Σ of the squared entries, 1×1."""
        flat = Jets(self.c.reshape(1, -1, *self.c.shape[2:]))
        return flat @ flat.T

    def rows(self) -> "Jets":
        """All entries as one column."""
        return Jets(self.c.reshape(-1, 1, *self.c.shape[2:]))


class Ring:
    """Makes jets of one order and number of directions.

    Arguments:
        order: terms of a series; 1 for plain numbers.
        directions: parameters by which is differentiated.
        seed: of the random residues.

    >>> inference.Ring(order=1, directions=0).random(2, 3).shape
    (2, 3)
    """

    def __init__(self, order: int, directions: int, seed: int = 0):
        self.order, self.directions = order, directions
        self.rng = np.random.default_rng(seed)

    def constant(self, values: Any) -> Jets:
        """A matrix of whole numbers."""
        values = np.atleast_2d(np.asarray(values, np.int64)) % PRIME
        c = np.zeros((*values.shape, self.order, 1 + self.directions), np.int64)
        c[:, :, 0, 0] = values
        return Jets(c)

    def exact(self, values: Any) -> Jets:
        """A matrix of floating-point numbers, which are fractions over powers of two."""
        values = np.atleast_2d(np.asarray(values, float))
        ratios = [x.as_integer_ratio() for x in values.ravel().tolist()]
        found = [over % PRIME * pow(under, PRIME - 2, PRIME) % PRIME for over, under in ratios]
        return self.constant(np.reshape(found, values.shape))

    def random(self, rows: int = 1, columns: int = 1) -> Jets:
        """A matrix of random residues."""
        return self.constant(self.rng.integers(2, PRIME, (rows, columns)))

    def variable(self, index: int) -> Jets:
        """A random number, 1×1, that is the parameter of this index."""
        x = self.random()
        x.c[0, 0, 0, 1 + index] = 1
        return x

    def symmetric(self, size: int, pairs: Sequence[tuple[int, int]]) -> Jets:
        """A random symmetric matrix whose entries (i, j) are the first parameters, in order."""
        q = self.constant(np.zeros((size, size)))
        for index, (i, j) in enumerate(pairs):
            x = self.variable(index).c[0, 0]
            q.c[i, j] = q.c[j, i] = x
        return q

    def zeros(self, rows: int, columns: int) -> Jets:
        """A matrix of zeros."""
        return self.constant(np.zeros((rows, columns)))

    def eye(self, size: int) -> Jets:
        """The unit matrix."""
        return self.constant(np.eye(size))


def stacked(rows: Sequence[Sequence[Jets]]) -> Jets:
    """A matrix of blocks."""
    return Jets(np.concatenate([np.concatenate([x.c for x in row], 1) for row in rows], 0))


class Echelon:
    """The row space of a growing matrix modulo p, and its rank.

    Arguments:
        columns: how many the matrix has.
    """

    def __init__(self, columns: int):
        self.basis = np.zeros((0, columns), np.int64)
        self.pivots: list[int] = []

    @property
    def rank(self) -> int:
        return len(self.pivots)

    def add(self, rows: Residues) -> int:
        """Add rows; returns the rank."""
        for row in rows % PRIME:
            row = self.reduced(row)
            if not (there := np.flatnonzero(row)).size:
                continue
            row = row * pow(int(row[there[0]]), PRIME - 2, PRIME) % PRIME
            factors = self.basis[:, there[0], None]
            self.basis = np.concatenate([(self.basis - factors * row) % PRIME, row[None]])
            self.pivots.append(int(there[0]))
            if self.rank == self.basis.shape[1]:
                break
        return self.rank

    def reduced(self, row: Residues) -> Residues:
        """What of a row is not in the row space (pivot columns are those of unit vectors)."""
        terms = row[self.pivots][:, None] * self.basis % PRIME
        return (row - np.sum(terms, axis=0)) % PRIME

    def annihilates(self, vector: Residues) -> bool:
        """Whether the matrix times this column is zero."""
        return not np.any(np.sum(self.basis * (vector % PRIME) % PRIME, axis=1) % PRIME)

"""Words: what a random matrix is to infinitely many neurons, their learning included."""

import math
from abc import abstractmethod
from dataclasses import KW_ONLY, replace
from functools import cache, partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lrnn_jax._checks import flag, number, optional, shown, whole, whole_or_none
from lrnn_jax._devices import free_memory
from lrnn_jax._readable import AbstractReadable
from lrnn_jax.networks import AbstractBulk, BulkLaw

FURTHEST = 4096
"""The longest words that are looked at when a length is chosen."""
STEPS = 200
"""Steps of a trial of which memory is estimated, where it is not said how many there are."""


class Alphabet(NamedTuple):
    """Which words there are, and what the random matrix does to the first letter of a word.

    Fields:
        letters: how many there are.
        creates: the letter that J puts in front of a word.
        destroys: the letter that it takes away; 0 for none.
        turns: how often neighbouring letters may differ; None: as often as they like.
        back: whether Jᵀ does the same within these words, with the letters exchanged.

    >>> reduced.Words(2).alphabet(symmetric=True).letters
    1
    """

    letters: int
    creates: int
    destroys: int
    turns: int | None
    back: bool


class AbstractWords(AbstractReadable):
    """Which words stand for a random matrix, and how far they go.

    Fields:
        length: D, of the longest words; None: chosen for the tolerance.
        steps: of a trial; None: any number, for g below the edge of stability.
        tolerance: what `error` may be.

    >>> isinstance(reduced.Words(8), reduced.AbstractWords)
    True
    """

    length: eqx.AbstractVar[int | None]
    steps: eqx.AbstractVar[int | None]
    tolerance: eqx.AbstractVar[float]

    @abstractmethod
    def alphabet(self, symmetric: bool) -> Alphabet:
        """Letters, and what the matrix does to them."""

    def up_to(self, length: int) -> "AbstractWords":
        """The same with this length."""
        return replace(self, length=length)


def _from_zero(x: Any, name: str) -> int | None:
    return None if x is None else whole(x, name, 0)


def tolerance_of(tolerance: Any) -> float:
    """A positive number."""
    number(tolerance, "tolerance", 0, open_start=True)
    return float(tolerance)  # as it is given, also in single precision


length_of, turns_of = (partial(_from_zero, name=name) for name in ("length", "turns"))
steps_of = partial(whole_or_none, name="steps", none_means="any number of steps")


class Words(AbstractWords):
    """All words in two letters up to a length; of a symmetric matrix, in one.

        J → c = ℓ₁ + ℓ₂*,      (c v)[w] = [w = 1w'] v[w'] + v[2w],      J = Jᵀ: c = ℓ + ℓ*

    Moments of a random matrix and its transposed, aᵀ w(J, Jᵀ) b/s, become (aᵀb/s) ⟨Ω, w(c, c*) Ω⟩
    with the empty word Ω: Voiculescu's circular operator (of symmetric ones the semicircular one).
    There are 2^{D+1} − 1 words (D + 1 of one letter); with turns = τ about D^{τ+1}, which learning
    fills one turn after the other.

    Arguments:
        length: D ≥ 0; None: the least for which the error is below the tolerance.
        turns: τ, how often neighbouring letters may differ; None: as often as they like.
        steps: T, of a trial, where the error is to be known for g beyond the edge of stability
            (g ≥ 1; of symmetric matrices g ≥ 1/2), or more closely below it.
        tolerance: see `WordBulk.error`.

    Errors: ValueError for numbers out of range.

    Source: ours (learning); Voiculescu 1991 (the operators).

    >>> theory = lrnn.reduce(over, words=reduced.Words(5, turns=1))  # of a network with a bulk
    >>> theory.state_size // 4
    31
    """

    length: int | None = eqx.field(converter=length_of, static=True, default=None)
    _: KW_ONLY
    turns: int | None = eqx.field(converter=turns_of, static=True, default=None)
    steps: int | None = eqx.field(converter=steps_of, static=True, default=None)
    tolerance: float = eqx.field(converter=tolerance_of, static=True, default=1e-2)

    def alphabet(self, symmetric: bool) -> Alphabet:
        return Alphabet(1, 1, 1, None, True) if symmetric else Alphabet(2, 1, 2, self.turns, True)


class Powers(AbstractWords):
    """Powers of a random matrix alone: for rules that send nothing back along recurrent weights.

        J → shift,      (J v)[k] = v[k − 1]

    Under `RFLO`, and `FeedbackAlignment` with `time`, J and its transposed never meet, and D + 1
    words are enough; gradients through the states of such a network are refused.

    Arguments: as for `Words`, but for turns.

    Errors: ValueError for numbers out of range.

    Source: ours.

    >>> few = lrnn.compress(over, np.ones((40, 1)), words=reduced.Powers(20))
    >>> curve = lrnn.learn(few.network, task, lrnn.Descent(0.01, rule=lrnn.RFLO(few.feedback)),
    ...                    epochs=5)
    >>> curve.loss.shape
    (6,)
    """

    length: int | None = eqx.field(converter=length_of, static=True, default=None)
    _: KW_ONLY
    steps: int | None = eqx.field(converter=steps_of, static=True, default=None)
    tolerance: float = eqx.field(converter=tolerance_of, static=True, default=1e-2)

    def alphabet(self, symmetric: bool) -> Alphabet:
        return Alphabet(1, 1, 1, None, True) if symmetric else Alphabet(1, 1, 0, None, False)


def as_words(words: Any) -> AbstractWords:
    """Words, or those up to a length; ValueError for anything else."""
    if isinstance(words, AbstractWords):
        return words
    return Words(whole(words, "words", 0, also=", or such as Words(8, turns=2) or Powers(40)"))


def count_words(length: int, alphabet: Alphabet) -> int:
    """How many words there are up to a length.

    >>> reduced.count_words(3, reduced.Words(3).alphabet(symmetric=False))
    15
    """
    if alphabet.letters == 1:
        return length + 1
    if alphabet.turns is None or alphabet.turns >= length:
        return 2 ** (length + 1) - 1
    each = (math.comb(n - 1, j) for n in range(1, length + 1) for j in range(alphabet.turns + 1))
    return 1 + 2 * sum(each)


Table = Int[np.ndarray, " words"]


@cache
def tables(length: int, alphabet: Alphabet) -> tuple[tuple[Table, Table], tuple[Table, Table]]:
    """Where J, and its transposed, gather each word from: by creating and by destroying a letter.

    One more than the last word stands for nothing. Words come by length, the empty one first.
    """
    parent, letter, turned = ([np.zeros(1, np.int64)] for _ in range(3))
    start, turns = 0, length if alphabet.turns is None else alphabet.turns
    for _ in range(length):
        here = start + np.arange(len(parent[-1]))
        letters = np.repeat(np.arange(1, alphabet.letters + 1), len(here))
        first, before = (np.tile(x[-1], alphabet.letters) for x in (letter, turned))
        changes = before + ((first > 0) & (first != letters))
        keep = changes <= turns
        start += len(here)
        parent.append(np.tile(here, alphabet.letters)[keep])
        letter.append(letters[keep])
        turned.append(changes[keep])
    above, first = np.concatenate(parent), np.concatenate(letter)

    def gathers(creates: int, destroys: int) -> tuple[Table, Table]:
        nothing = len(above)
        down = np.full(nothing, nothing)
        taken = np.flatnonzero((first == destroys) & (first > 0))
        down[above[taken]] = taken
        up = np.where((first == creates) & (first > 0), above, nothing)
        return up.astype(np.int32), down.astype(np.int32)

    letters = alphabet.creates, alphabet.destroys
    return gathers(*letters), gathers(*letters[::-1])


def masses(g: float, dt: float, symmetric: bool, steps: int | None, most: int) -> np.ndarray:
    """How much of a bulk's own response to an impulse lies in words of each length up to `most`.

    m_k = dt Σ_t |h_t[k]|,      h' = h + dt (−h + g c h),      h_1 = Ω
    """
    k = np.arange(most + 1)
    if steps is None:
        edge = 0.5 if symmetric else 1.0
        if g >= edge:
            return np.full(most + 1, np.inf)
        if not symmetric or g == 0:
            return g**k
        ratio = (1 - math.sqrt(1 - 4 * g**2)) / (2 * g)
        return ratio ** (k + 1) / g
    h, total = np.zeros(most + 1), np.zeros(most + 1)
    h[0] = 1.0
    for _ in range(steps):
        total += dt * h
        moved = np.concatenate([[0.0], h[:-1]])
        moved = moved + np.concatenate([h[1:], [0.0]]) * symmetric
        h = h + dt * (g * moved - h)
    return total


def errors(masses: np.ndarray) -> np.ndarray:
    """Of each length D, Σ m_k² over D − 2 < k ≤ D: what the last two lengths add to products."""
    square = masses**2
    return square + np.concatenate([[0.0], square[:-1]])


def chosen(words: AbstractWords, law: BulkLaw, dt: float) -> tuple[int, float]:
    """The length of the longest words, and its error.

    Errors: ValueError where none can be chosen.
    """
    g, symmetric, steps = law.g, law.symmetric, words.steps
    if words.length is not None:
        return words.length, float(errors(masses(g, dt, symmetric, steps, words.length))[-1])
    edge = 0.5 if symmetric else 1.0
    if steps is None and g >= edge:
        raise ValueError(
            f"`words` are chosen for g below {edge:g}, beyond which a bulk amplifies without end; "
            f"with g = {g:.4g} give their length, about g·T·dt, or Words(steps=T)."
        )
    found = errors(masses(g, dt, symmetric, steps, min(FURTHEST, steps or FURTHEST)))
    enough = np.flatnonzero(found <= words.tolerance)
    enough = enough[enough > 0]
    if not len(enough):
        raise ValueError(
            f"`words` up to length {len(found) - 1} have errors above the tolerance, "
            f"{words.tolerance:g}, with g = {g:.4g}: raise it, or give a length."
        )
    return int(enough[0]), float(found[enough[0]])


def check_memory(length: int, alphabet: Alphabet, need: int) -> None:
    """Raise ValueError where learning over these words would not fit into the memory."""
    if need > (free := free_memory()):
        turns = ", or turns=2" if alphabet.letters == 2 else ""
        raise ValueError(
            f"`words` up to length {length} are {float(count_words(length, alphabet)):.3g}, and "
            f"learning takes about {need / 1e9:.3g} GB, of {free / 1e9:.3g} GB that are free: give "
            f"a smaller length{turns}."
        )


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def forward_only(product: Any, x: Array) -> Array:
    """product(x), of a matrix of which the transposed is not known."""
    return product(x)


@forward_only.defjvp
def _no_way_back(product: Any, primals: Any, tangents: Any) -> Any:
    raise ValueError(
        "`rule`: this network follows its bulk forward in time alone, so errors cannot go back "
        "along it: use RFLO(…) or FeedbackAlignment(…, time=True), or reduce(network, words=D)."
    )


symmetric_of = partial(flag, name="symmetric")
error_of = partial(optional, name="error", low=0, high=math.inf)


class WordBulk(AbstractBulk):
    """The bulk of a word network: c ⊗ 1 on R^words ⊗ R^copies, by two gathers a product.

    Arguments:
        g: strength.
        words: of a given length.
        copies: how many numbers each word has.
        symmetric: whether J = Jᵀ.
        error: what the last two lengths of words add, estimated when they were chosen: Σ m_k² over
            D − 2 < k ≤ D, with m_k = dt Σ_t |h_t[k]| of the bulk's own response to an impulse (of
            long trials g^k); see `truncation` for a measurement after learning.

    Errors: ValueError for words without a length, numbers out of range.

    Source: ours.

    >>> bulk = reduced.WordBulk(0.5, reduced.Words(1), copies=1)
    >>> print(bulk.product(jnp.eye(3)).T)  # words: none, 1, 2
    [[0.  0.  0.5]
     [0.5 0.  0. ]
     [0.  0.  0. ]]
    """

    g: Float[Array, ""] = eqx.field(converter=partial(number, name="g", low=0))
    words: AbstractWords = eqx.field(converter=as_words)
    copies: int = eqx.field(converter=partial(whole, name="copies"), static=True)
    symmetric: bool = eqx.field(converter=symmetric_of, static=True, default=False)
    error: Float[Array, ""] | None = eqx.field(converter=error_of, default=None)
    few = True

    def __check_init__(self) -> None:
        if self.words.length is None:
            raise ValueError(f"`words` of a WordBulk have a length; got {shown(self.words)}.")

    @property
    def length(self) -> int:
        """D."""
        assert self.words.length is not None
        return self.words.length

    @property
    def alphabet(self) -> Alphabet:
        """Letters, and what the matrix does to them."""
        return self.words.alphabet(self.symmetric)

    def law(self) -> BulkLaw:
        raise ValueError("`network` is one of words already, the limit of infinitely many neurons.")

    def made(self, n: int, dtype: Any) -> "WordBulk":
        size = count_words(self.length, self.alphabet) * self.copies
        if n != size:
            raise ValueError(
                f"`bulk` of words has {size} neurons, and the loading vectors have {n}: make such "
                f"networks by reduce(network, words=…)."
            )
        return self

    def product(self, rates: Float[Array, "*batch n"]) -> Float[Array, "*batch n"]:
        forward, back = tables(self.length, self.alphabet)
        x = rates.reshape(*rates.shape[:-1], -1, self.copies)
        if self.alphabet.back:  # the one linear operation of JAX that is told its transposed
            moved = jax.lax.custom_linear_solve(
                lambda y: y, x, lambda _, y: _gathered(forward, y), lambda _, y: _gathered(back, y)
            )
        else:
            moved = forward_only(lambda y: _gathered(forward, y), x)
        return self.g.astype(rates.dtype) * moved.reshape(rates.shape)


def _gathered(places: tuple[Table, Table], x: Float[Array, "*batch words copies"]) -> Array:
    """What words have from where they are gathered from; one place more is empty."""
    more = jnp.zeros((*x.shape[:-2], 1, x.shape[-1]), x.dtype)
    x = jnp.concatenate([x, more], axis=-2)
    up, down = (jnp.take(x, place, axis=-2, mode="clip") for place in places)
    return up + down

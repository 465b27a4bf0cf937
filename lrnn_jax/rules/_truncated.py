"""Backpropagation through time, cut short."""

from functools import partial

import equinox as eqx

from lrnn_jax._checks import flag, whole
from lrnn_jax.networks import AbstractRNN, Feedback
from lrnn_jax.rules._offline import AbstractOffline, Backward


class Truncated(AbstractOffline):
    """Backpropagation through time that credits the last K updates alone.

        sliding    each e_t goes back over h_{t+1} … h_{t+2−K}
        chunks     h_K, h_{2K}, … are held fixed: nothing goes back beyond them

    Overlaps under it are exact, at any step size. K = T is the gradient; K = 1 the step's own.
    Sliding windows cost K backward passes over all steps at once.

    Arguments:
        window: K, from 1 to T.
        chunks: cut the trial into pieces of K steps, in place of sliding.

    Errors: ValueError for K < 1 or K > T, and for objectives without errors of outputs.

    Source: Williams & Peng 1990; on overlaps: ours.

    >>> short = lrnn.Descent(0.05, rule=lrnn.Truncated(5))
    >>> learned = lrnn.learn(reduction, task, short, epochs=20)
    >>> bool(learned.distance(curve).max > 1e-3)  # from learning by the gradient
    True
    """

    window: int = eqx.field(converter=partial(whole, name="window"), static=True)
    chunks: bool = eqx.field(converter=partial(flag, name="chunks"), static=True, default=False)

    @property
    def backward(self) -> Backward:
        return Backward(window=self.window, chunks=self.chunks)

    def feedback_of(self, network: AbstractRNN) -> Feedback:
        return Feedback()

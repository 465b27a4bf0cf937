"""Rules that send errors back by fixed vectors, or along no recurrent weights."""

from typing import Any

import equinox as eqx
import jax.random as jr
from jaxtyping import ArrayLike, PRNGKeyArray

from lrnn_jax._checks import flag, one_key, real_array, shown
from lrnn_jax.networks import AbstractRNN, Feedback, as_feedback
from lrnn_jax.rules._offline import AbstractOffline, Backward


def as_source(feedback: Any, key: Any) -> tuple[Feedback | None, Any]:
    """Fixed vectors as given, or the key that draws them.

    Errors: ValueError unless one of both is given, and of its kind.
    """
    if (feedback is None) == (key is None):
        came = "neither" if key is None else "both"
        raise ValueError(
            f"`feedback` are fixed vectors, shape (N, outputs), or `key` draws them: give one of "
            f"the two; got {came}."
        )
    if feedback is None:
        return None, one_key(key)
    given = feedback if isinstance(feedback, Feedback) else Feedback(feedback)
    if given.f is None:
        raise ValueError(f"`feedback` needs F, shape (N, outputs); got {shown(feedback)}.")
    names = ("feedback", "feedback.c", "feedback.g")
    return Feedback(*(None if x is None else real_array(x, n) for x, n in zip(given, names))), None


def drawn(network: AbstractRNN, time: bool, key: PRNGKeyArray) -> Feedback:
    """Vectors of independent normal entries, with FᵀF/s = 1 on average."""
    path = network.backward
    first, second, third = jr.split(key, 3)
    f = path.draw(network, network.outputs, first)
    if not time:
        return Feedback(f)
    return Feedback(f, *(path.draw(network, path.rank(network), k) for k in (second, third)))


def _fixed(rule: Any, network: AbstractRNN, time: bool) -> Feedback:
    """The fixed vectors of a rule, for a network."""
    if rule.feedback is None:
        return drawn(network, time, rule.key)
    given = as_feedback(rule.feedback, network)
    if time and given.c is None:
        raise ValueError(
            "`time` needs fixed vectors C and G too: give feedback=Feedback(f, c, g), or `key`."
        )
    return Feedback(*(None if x is None else x.astype(network.dtype) for x in given))


class FeedbackAlignment(AbstractOffline):
    """Errors reach neurons by fixed vectors F in the place of the read-out Z.

        a_{t+1} = φ' ⊙ F e_t/s + 𝒥 a_{t+2}
        𝒥 = (1 − dt) + dt Wᵀ,  or with `time`  (1 − dt) + dt C Gᵀ/s  with fixed C and G

    The read-out itself learns by its gradient. Overlaps are exact at any step size, those of F too:
    `curve["zf"]` is the alignment of Z with it.

    Arguments:
        feedback: F, shape (N, outputs), or `networks.Feedback(f, c, g)`; on a reduction its
            overlaps are taken from `reduce(network, feedback=…)`.
        key: draws them in place of `feedback`: normal entries, FᵀF/s = 1 on average (for a dense
            network C and G are N×N). On a reduction that has no such columns: as of infinitely many
            neurons, orthogonal to all others.
        time: whether the recurrent weights of the backward pass are fixed too.

    Errors: ValueError for both or neither of `feedback` and `key`, for feedback of another shape,
    and for objectives without errors of outputs.

    Source: Lillicrap et al. 2016; on overlaps: ours.

    >>> rule = lrnn.FeedbackAlignment(key=key)
    >>> learned = lrnn.learn(reduction, task, lrnn.Descent(0.05, rule=rule), epochs=50)
    >>> learned["zf"].shape  # Z turns towards F
    (51,)
    """

    feedback: Feedback | None
    key: Any
    time: bool = eqx.field(static=True)

    def __init__(
        self,
        feedback: Feedback | ArrayLike | None = None,
        *,
        key: PRNGKeyArray | None = None,
        time: bool = False,
    ):
        self.feedback, self.key = as_source(feedback, key)
        self.time = flag(time, "time")

    @property
    def backward(self) -> Backward:
        return Backward("f", "c" if self.time else "v")

    def feedback_of(self, network: AbstractRNN) -> Feedback:
        return _fixed(self, network, self.time)


class RFLO(AbstractOffline):
    """Random feedback local online learning: errors reach neurons by fixed F, and stay there.

        a_{t+1} = φ' ⊙ F e_t/s + (1 − dt) a_{t+2}

    which is the same as eligibility traces forward in time, p_t = (1 − dt) p_{t−1} + dt φ(h_t) and
    ΔW ∝ Σ_t (φ' ⊙ F e_t) p_tᵀ: a weight needs what is at its two neurons only. Weights are updated
    after the trial. Linear networks: M and U move in the span of F alone (see `conserved`).

    Arguments:
        feedback: F, shape (N, outputs); on a reduction its overlaps are taken from
            `reduce(network, feedback=F)`.
        key: draws F in place of `feedback`, as for `FeedbackAlignment`.

    Errors: ValueError for both or neither of `feedback` and `key`, for feedback of another shape,
    and for objectives without errors of outputs.

    Source: Murray 2019; on overlaps: ours.

    >>> rule = lrnn.RFLO(key=key)
    >>> learned = lrnn.learn(reduction, task, lrnn.Descent(0.05, rule=rule), epochs=50)
    >>> bool(learned.loss[-1] < learned.loss[0])
    True
    """

    feedback: Feedback | None
    key: Any

    def __init__(
        self,
        feedback: Feedback | ArrayLike | None = None,
        *,
        key: PRNGKeyArray | None = None,
    ):
        self.feedback, self.key = as_source(feedback, key)

    @property
    def backward(self) -> Backward:
        return Backward("f", "")

    def feedback_of(self, network: AbstractRNN) -> Feedback:
        return _fixed(self, network, False)


class EProp(AbstractOffline):
    """E-prop with symmetric feedback: `RFLO` with the read-out Z of the moment in the place of F.

        a_{t+1} = φ' ⊙ Z e_t/s + (1 − dt) a_{t+2}

    Errors: ValueError for objectives without errors of outputs.

    Source: Bellec et al. 2020; on overlaps: ours.

    >>> slow = lrnn.Descent(0.05, rule=lrnn.EProp())
    >>> both = [lrnn.learn(model, task, slow, epochs=20) for model in (net, reduction)]
    >>> bool(both[0].distance(both[1]).max < 1e-12)
    True
    """

    @property
    def backward(self) -> Backward:
        return Backward("z", "")

    def feedback_of(self, network: AbstractRNN) -> Feedback:
        return Feedback()

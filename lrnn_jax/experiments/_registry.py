"""All experiments by name."""

import difflib

from lrnn_jax.experiments._base import Experiment
from lrnn_jax.experiments._control_cost import control_cost
from lrnn_jax.experiments._coupling import coupling
from lrnn_jax.experiments._degeneracy import degeneracy
from lrnn_jax.experiments._filter import filter
from lrnn_jax.experiments._flip_flop import flip_flop
from lrnn_jax.experiments._memory_aba import memory_aba
from lrnn_jax.experiments._memory_adam import memory_adam
from lrnn_jax.experiments._memory_twins import memory_twins
from lrnn_jax.experiments._open_vs_closed import open_vs_closed
from lrnn_jax.experiments._optimisers import optimisers
from lrnn_jax.experiments._oscillator import oscillator
from lrnn_jax.experiments._three_stages import three_stages
from lrnn_jax.experiments._tracking import tracking
from lrnn_jax.experiments._tradeoff import tradeoff

_LOW_RANK = filter, oscillator, degeneracy, memory_aba, memory_adam, flip_flop, optimisers
_OTHERS = memory_twins, coupling, open_vs_closed, three_stages, tradeoff, control_cost, tracking
REGISTRY: dict[str, Experiment] = {e.name: e for e in (*_LOW_RANK, *_OTHERS)}
"""All experiments, those of [LR] first."""


def get(name: str) -> Experiment:
    """The experiment of this name.

    Errors: ValueError with suggestions.
    """
    if name in REGISTRY:
        return REGISTRY[name]
    close = difflib.get_close_matches(name, REGISTRY, n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    raise ValueError(f"There is no experiment {name!r}.{hint} Known: {', '.join(REGISTRY)}.")

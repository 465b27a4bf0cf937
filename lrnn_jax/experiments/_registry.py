"""All experiments by name."""

import difflib
from typing import Any

from lrnn_jax.experiments import (
    _control_cost,
    _coupling,
    _degeneracy,
    _filter,
    _flip_flop,
    _memory_aba,
    _memory_adam,
    _memory_twins,
    _open_vs_closed,
    _optimisers,
    _oscillator,
    _three_stages,
    _tracking,
    _tradeoff,
)
from lrnn_jax.experiments._old import Old

REGISTRY: dict[str, Any] = {
    e.name: e
    for e in (
        _filter.filter,
        _oscillator.oscillator,
        _degeneracy.degeneracy,
        _memory_aba.memory_aba,
        _memory_adam.memory_adam,
        _flip_flop.flip_flop,
        _optimisers.optimisers,
        _memory_twins.memory_twins,
        _coupling.coupling,
        _open_vs_closed.open_vs_closed,
        Old(
            "three_stages",
            "[CL] fig. 3-5",
            "a low-rank controller learns in three stages, exactly as its overlaps say",
            _three_stages.ThreeStagesConfig(),
            _three_stages.QUICK,
            _three_stages.three_stages,
            (23, 22),
        ),
        Old(
            "tradeoff",
            "[CL] fig. 4",
            "short-term cost against long-term stability of the closed loop",
            _tradeoff.TradeoffConfig(),
            _tradeoff.QUICK,
            _tradeoff.tradeoff,
            (20, 12),
        ),
        Old(
            "control_cost",
            "[CL] fig. 5",
            "a stable policy is refined under several prices of control",
            _control_cost.ControlCostConfig(),
            _control_cost.QUICK,
            _control_cost.control_cost,
            (18, 12),
        ),
        Old(
            "tracking",
            "[CL] fig. 6",
            "a controller learns to track a reference, one frequency after another",
            _tracking.TrackingConfig(),
            _tracking.QUICK,
            _tracking.tracking,
            (220, 8),
        ),
    )
}


def get(name: str) -> Any:
    """The experiment of this name.

    Errors: ValueError with suggestions.
    """
    if name in REGISTRY:
        return REGISTRY[name]
    close = difflib.get_close_matches(name, REGISTRY, n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    raise ValueError(f"There is no experiment {name!r}.{hint} Known: {', '.join(REGISTRY)}.")

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
        Old(
            "oscillator",
            "[LR] fig. 12",
            "a rank-2 network and its 21 overlaps learn a damped oscillation alike",
            _oscillator.OscillatorConfig(),
            _oscillator.QUICK,
            _oscillator.oscillator,
            (21, 12),
        ),
        Old(
            "degeneracy",
            "[LR] fig. 2",
            "two networks that compute the same and learn differently",
            _degeneracy.DegeneracyConfig(),
            _degeneracy.QUICK,
            _degeneracy.degeneracy,
            (16, 12),
        ),
        _memory_aba.memory_aba,
        _memory_adam.memory_adam,
        _flip_flop.flip_flop,
        _optimisers.optimisers,
        _memory_twins.memory_twins,
        _coupling.coupling,
        _open_vs_closed.open_vs_closed,
        _three_stages.three_stages,
        _tradeoff.tradeoff,
        _control_cost.control_cost,
        _tracking.tracking,
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

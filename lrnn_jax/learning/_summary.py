"""A learning curve in a few numbers, and in words."""

import textwrap
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lrnn_jax._types import Scalar

STEP, REST = 0.05, 0.1
"""Shares of the loss's whole fall: of a plateau, and of the end, which is none."""
WORDS = {
    "successful": "",
    "diverged": ", diverged at epoch {}",
    "event_occurred": ", ended at epoch {}, where the loss was as small as was asked for",
    "unrealisable": ", of overlaps that no vectors have",
    "invariants_lost": ", lost what the flow conserves",
}
"""Outcomes, with the epoch of an early end."""
MOST = 12
"""Overlaps of a kind that are listed."""


@jax.jit
def plateau_length(epochs: Int[Array, " record"], loss: Float[Array, " record"]) -> Scalar:
    """The longest wait for the loss to fall by a twentieth of its whole fall.

        max_a min{b − a: M_b ≤ M_a − 0.05 F},      M_e = min_{e' ≤ e} L_e',    F = M_0 − M_end

    over all a from where M falls that much before its last tenth, M_a − 0.05 F ≥ M_end + 0.1 F.
    """
    lowest = jax.lax.cummin(jnp.where(jnp.isfinite(loss), loss, jnp.inf))
    fall = lowest[0] - lowest[-1]
    wanted = lowest - STEP * fall
    there = jnp.minimum(jnp.searchsorted(-lowest, -wanted), len(lowest) - 1)
    counts = (fall > 0) & (wanted >= lowest[-1] + REST * fall)
    waits = jnp.where(counts, epochs[there] - epochs, -1)
    longest = jnp.max(waits)
    return jnp.where(longest < 0, jnp.nan, longest.astype(loss.dtype))


def in_words(
    numbers: Mapping[str, Any], overlaps: Mapping[str, Mapping[str, tuple[float, float]]]
) -> str:
    """A curve in words.

    Arguments:
        numbers: its `summary`.
        overlaps: by kind ("visible", "invisible") and name, at its start and its end.
    """
    outcome = str(numbers["result"])
    ended = WORDS.get(outcome, f", {outcome.replace('_', ' ')}").format(numbers["stopped"])
    lines = [
        f"LearningCurve of a {numbers['model']}, {numbers['epochs']} epochs: loss "
        f"{numbers['initial_loss']:.4g} → {numbers['final_loss']:.4g}{ended}"
    ]
    for kind, values in overlaps.items():
        told = [f"{name} {a:.3g} → {b:.3g}" for name, (a, b) in values.items()]
        if len(told) > MOST:
            told = [*told[:MOST], f"and {len(told) - MOST} more"]
        first, other = f"  {kind:<9}  ", " " * 13
        whole = ", ".join(text.replace(" ", "\N{NO-BREAK SPACE}") for text in told)
        lines += textwrap.wrap(whole, 100, initial_indent=first, subsequent_indent=other)
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")


def reached(loss: Any) -> np.ndarray:
    """Which of the recorded epochs a run got to."""
    found = np.flatnonzero(~np.isnan(np.asarray(loss)))
    return np.arange(len(loss)) <= (found[-1] if len(found) else 0)

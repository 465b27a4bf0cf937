"""Arguments of sweeps: names, labels, shares, and what a function takes."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from lrnn_jax._checks import whole
from lrnn_jax.sweeps._grid import hint


def name_of(function: Callable[..., Any]) -> str:
    """Module and qualified name of a function; of the class, for objects that have none."""
    try:
        return f"{function.__module__}.{function.__qualname__}"
    except AttributeError:
        return f"{type(function).__module__}.{type(function).__name__}"


def as_labels(labels: Any) -> dict[str, tuple[str, str]]:
    """Pairs of long name and units by name; ValueError for anything else."""
    pairs = labels.items() if isinstance(labels, Mapping) else [("labels", labels)]
    for name, pair in pairs:
        if not isinstance(pair, (tuple, list)) or [type(text) for text in pair] != [str, str]:
            raise ValueError(
                f"`labels` are pairs by name, {{name: (long name, units)}}; got {pair!r} for "
                f"{name!r}."
            )
    return dict(labels)


def as_share(shard: Any) -> tuple[int, int]:
    """(i, n) with 0 ≤ i < n; ValueError for anything else."""
    try:
        i, n = shard
    except (TypeError, ValueError):
        raise ValueError(f"`shard` is (i, n) with 0 <= i < n; got {shard!r}.") from None
    n = whole(n, "shard[1]")
    return whole(i, "shard[0]", 0, n - 1), n


def check_parameters(function: Callable[..., Any], names: list[str]) -> bool:
    """Whether the function takes a key; ValueError unless it takes just these parameters."""
    parameters = inspect.signature(function).parameters
    kinds = {p.kind for p in parameters.values()}
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        for name in names:
            if name not in parameters or name == "key":
                raise ValueError(
                    f"The function has no parameter {name!r}.{hint(name, parameters)} It takes "
                    f"{', '.join(p for p in parameters if p != 'key')}."
                )
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    needed = [p.name for p in parameters.values() if p.kind in plain and p.default is p.empty]
    if missing := [n for n in needed if n not in (*names, "key")]:
        raise ValueError(f"The function needs values for {', '.join(missing)}: add axes for them.")
    return "key" in parameters

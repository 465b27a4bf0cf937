"""Combinations of overlaps that learning can fix: without a part along the flat direction."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lrnn_jax.inference._images import unread
from lrnn_jax.inference._methods import traits
from lrnn_jax.inference._predict import Setting


class Combinations(eqx.Module):
    """Linear combinations of the parameters, with names.

    Fields: weights, shape (combination, parameter); names such as "vu", "mm+zz", "mm−uu"; unread,
        names of overlaps that nothing ever shows.

    >>> both = inference.Combinations(jnp.array([[1.0, 1.0]]), ("mm+zz",))
    >>> both.weights @ jnp.array([2.0, 0.5])
    Array([2.5], dtype=float64)
    """

    weights: Float[Array, "combination parameter"]
    names: tuple[str, ...] = eqx.field(static=True)
    unread: tuple[str, ...] = eqx.field(static=True, default=())


def combinations(s: Setting) -> Combinations:
    """All parameters that anything shows, squared norms by combinations across the flat direction.

        mm + (d_m/d_z) zz, uu + (d_u/d_v) vv, …;      mm − (d_m/d_u) uu, …

    where d are the multipliers: J₀ = diag(−D, D) moves none of them. Of a nonlinear model, of
    columns that do not learn, and under other rules than the gradient, the norms themselves.

    >>> looks = inference.Setting(reduction, task, descent, inference.Visible(), (0, 5), 5, ())
    >>> inference.combinations(looks).names
    ('zm', 'zu', 'vm', 'vu', 'mu', 'zv', 'mm+zz', 'uu+vv', 'mm−uu')
    """
    roles, names = s.model.roles, s.parameters
    how = traits(s.method)
    d = np.array(s.model.multipliers(how.rates))
    index = {pair: position for position, pair in enumerate(roles.pairs)}
    hidden = [index[pair] for pair in unread(s.model, how)]
    flat = s.model.linear and how.gradient
    learns = [i for i in range(roles.right) if d[i] > 0] if flat else []
    left = [i for i in learns if i < roles.left]
    right = [i for i in learns if i >= roles.left]
    if not left or not right:
        left = right = []
    edges = [(a, b, 1.0) for a, b in zip(right, left)]
    edges += [(right[0], b, 1.0) for b in left[len(right) :]]
    edges += [(right[0], a, -1.0) for a in right[1:]]
    chained = {index[i, i] for i in left + right}
    rows, said = [], []
    for position, name in enumerate(names):
        if position not in {*chained, *hidden}:
            rows.append(np.eye(len(names))[position])
            said.append(name)
    order = len(said) - len(s.unknown)
    for a, b, sign in edges:
        row, factor = np.zeros(len(names)), float(d[a] / d[b])
        row[index[a, a]], row[index[b, b]] = 1.0, sign * factor
        first, second = names[index[a, a]], names[index[b, b]]
        scale = "" if factor == 1 else f"{factor:g}"
        rows.insert(order, row)
        said.insert(order, f"{first}{'+' if sign > 0 else '−'}{scale}{second}")
        order += 1
    return Combinations(jnp.asarray(np.array(rows)), tuple(said), tuple(names[i] for i in hidden))

"""Axis letters, tracing, and products of small matrices: shared by every layer.

Axis names used in shape annotations throughout the package:

- `n`: neurons (N); `k`: loading vectors, k = d_out + r + d_in + r; `r`: rank
- `state`: state variables, N neurons or a few latents
- `inputs`, `outputs`: channels d_in and d_out
- `time`: Euler steps; `trial`: members of a minibatch; `epoch`: parameter updates
- `cell`: members of a sweep; `*batch`: any leading axes
"""

from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
from jaxtyping import Array, Float

Same = TypeVar("Same")
Scalar = Float[Array, ""]
Gram = Float[Array, "*batch k k"]
Values = Float[Array, "..."]
Numbers = Float[Array, "*batch"]
State = Float[Array, "*batch state"]
Input = Float[Array, "*batch inputs"]
Output = Float[Array, "*batch outputs"]
States = Float[Array, "time *batch state"]
Inputs = Float[Array, "time *batch inputs"]
Outputs = Float[Array, "time *batch outputs"]
"""Of simulations: one step, or all with time first; neurons, latents or channels are last."""


def is_traced(*trees: object) -> bool:
    """Whether any array in the trees is a tracer (its values cannot be inspected yet)."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(trees))


def cast(tree: Same, dtype: Any) -> Same:
    """A tree with its inexact arrays in another floating dtype."""
    return jax.tree.map(lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x, tree)


def is_key(x: Any) -> bool:
    """Whether an array holds random keys."""
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


FEW = 8
"""Rows of matrices whose products compile into the operations around them."""


def small_matmul(a: Float[Array, "... i j"], b: Float[Array, "... j k"]) -> Float[Array, "... i k"]:
    """a @ b as a sum of products, which compiles into the operations around it.

    For the few rows and columns of overlaps a call of a matrix routine costs more than the product.
    """
    return jnp.sum(a[..., :, :, None] * b[..., None, :, :], axis=-2)


def tiny_matmul(a: Float[Array, "... i j"], b: Float[Array, "... j k"]) -> Float[Array, "... i k"]:
    """The same without a reduction, which is faster still under vmap.

    For short chains of products only: in long ones each product would be computed many times.
    """
    terms = [a[..., :, j, None] * b[..., None, j, :] for j in range(a.shape[-1])]
    return sum(terms[1:], terms[0])

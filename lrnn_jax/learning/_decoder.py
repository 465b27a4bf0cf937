"""What can be read from overlaps: a linear decoder, cross-validated over groups."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from lrnn_jax._checks import number, one_key, real_array, shown, whole


class Decoding(NamedTuple):
    """Accuracies of a decoder over random splits.

    Fields: train, test, the share of members that are told right, shape (..., split).

    >>> features = jr.normal(key, (10, 2, 3)) + jnp.array([[-3.0], [3.0]])
    >>> found = learning.decoding_accuracy(features, held_out=2, splits=5, key=key)
    >>> found.test.shape
    (5,)
    """

    train: Float[Array, "*batch split"]
    test: Float[Array, "*batch split"]


def decoding_accuracy(
    features: Float[Array, "*batch group label feature"],
    *,
    held_out: int = 2,
    splits: int = 50,
    noise: ArrayLike = 0.0,
    penalty: ArrayLike = 1.0,
    key: PRNGKeyArray,
) -> Decoding:
    """Tell two classes apart by logistic regression, trained on some groups, tested on others.

        min_{w, b}  Σ_n log(1 + e^{−s_n (wᵀx_n + b)}) + ½ λ ‖w‖²,      s = ±1

    Features are standardised by the training set's mean and standard deviation, and whole groups
    (e.g. pairs of twins) are held out.

    Arguments:
        features: x, one member of each of two classes in every group; classes along the axis
            before the last.
        held_out: groups left for testing.
        splits: how many random splits.
        noise: σ of read-out noise N(0, σ²) added to the features, in their own units, of training
            and test sets alike, afresh in each split.
        penalty: λ.
        key: draws splits and noise; the same ones for each member of the leading axes.

    Errors: ValueError unless there are two classes and 1 ≤ held_out < groups, and for features that
    are not finite.

    Source: [LR] fig. 4 (decoder of training history).

    >>> features = jr.normal(key, (10, 2, 3)) + jnp.array([[-9.0], [9.0]])  # two classes far apart
    >>> float(learning.decoding_accuracy(features, splits=5, key=key).test.mean())
    1.0
    """
    features = real_array(features, "features", advice="leave out groups whose learning diverged")
    if features.ndim < 3 or features.shape[-2] != 2 or features.shape[-3] < 2:
        raise ValueError(
            f"`features` must have shape (…, groups, 2, features), with two groups or more; got "
            f"{shown(features)}."
        )
    held_out = whole(held_out, "held_out", most=features.shape[-3] - 1)
    splits, key = whole(splits, "splits"), one_key(key)
    noise = number(noise, "noise", 0).astype(features.dtype)
    penalty = number(penalty, "penalty", 0, open_start=True).astype(features.dtype)
    flat = features.reshape(-1, *features.shape[-3:])
    train, test = _over_splits(flat, noise, penalty, jr.split(key, splits), held_out)
    shape = (*features.shape[:-3], splits)
    return Decoding(train.reshape(shape), test.reshape(shape))


@eqx.filter_jit
def _over_splits(
    features: Float[Array, "batch group label feature"],
    noise: Float[Array, ""],
    penalty: Float[Array, ""],
    keys: Array,
    held_out: int,
) -> tuple[Float[Array, "batch split"], Float[Array, "batch split"]]:
    """Accuracies on training and test sets, in the splits of the keys."""
    groups = features.shape[1]

    def one_split(x: Array, key: Array) -> tuple[Array, Array]:
        split_key, noise_key = jr.split(key)
        x = x + noise * jr.normal(noise_key, x.shape, x.dtype)
        train = jr.permutation(split_key, groups) >= held_out
        return _accuracy(x.reshape(2 * groups, -1), jnp.repeat(train, 2), penalty)

    return jax.vmap(lambda x: jax.vmap(lambda key: one_split(x, key))(keys))(features)


def _accuracy(
    x: Float[Array, "member feature"], train: Bool[Array, " member"], penalty: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Share of training and of test members told right; the classes alternate."""
    members, dtype = x.shape[0], x.dtype
    sign = jnp.where(jnp.arange(members) % 2 == 0, -1.0, 1.0).astype(dtype)
    weight = train.astype(dtype)
    count = jnp.sum(weight)
    mean = jnp.sum(weight[:, None] * x, axis=0) / count
    x = x - mean[None]
    spread = jnp.sqrt(jnp.sum(weight[:, None] * x**2, axis=0) / count)
    x = x / jnp.where(spread > 0, spread, 1)[None]
    x = jnp.concatenate([x, jnp.ones((members, 1), dtype)], axis=1)
    shrink = penalty * jnp.ones(x.shape[1], dtype).at[-1].set(1e-6)

    def newton(w: Array, _: None) -> tuple[Array, None]:
        p = jax.nn.sigmoid(-sign * (x @ w))
        slope = -x.T @ (weight * sign * p) + shrink * w
        curvature = x.T @ ((weight * p * (1 - p))[:, None] * x) + jnp.diag(shrink)
        return w - jnp.linalg.solve(curvature, slope), None

    w, _ = jax.lax.scan(newton, jnp.zeros(x.shape[1], dtype), length=12)
    margin = sign * (x @ w)  # 0: a guess
    right = jnp.where(margin == 0, 0.5, (margin > 0).astype(dtype))
    test = 1 - weight
    return jnp.sum(weight * right) / count, jnp.sum(test * right) / jnp.sum(test)

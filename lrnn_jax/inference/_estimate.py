"""Estimates of overlaps from a learning curve: intervals, what is weak, what stays open."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lrnn_jax._checks import component, names, number, one_key, real_array, shown, whole
from lrnn_jax._readable import AbstractReadable
from lrnn_jax._results import RESULTS, outcome
from lrnn_jax.inference._combinations import Combinations, combinations
from lrnn_jax.inference._fit import Fits, fit, root_of
from lrnn_jax.inference._images import Images, images
from lrnn_jax.inference._methods import traits
from lrnn_jax.inference._observations import Observations
from lrnn_jax.inference._predict import Setting, linearise, setting
from lrnn_jax.inference._saved import AbstractSaved
from lrnn_jax.inference._starts import starting
from lrnn_jax.learning import AbstractMethod
from lrnn_jax.networks import AbstractOverlapRNN
from lrnn_jax.overlaps import (
    Overlaps,
    Roles,
    check_gram,
    flat_range,
    transposed,
)
from lrnn_jax.tasks import AbstractObjective

AGREE, FEWEST = 1.0, 2
"""Starts that end within so much of the lowest cost have found the same; so many have to."""
AGAIN = 3
"""How often as many starts more are drawn while too few agree."""
WEAK = 0.05
"""A combination is weak where its deviation is more than this share of the prior's."""
SPREADS = {"lr": 1.5, "momentum": 0.3, "gain": 1.0, "offset": 1.0, "floor": 0.5, "span": 0.5}
"""Prior standard deviations beside Q; of a rate that of its logarithm."""
ENDS = 3
"""How many of the best ends of an estimate others start from."""
ROUNDS = 3
"""How often an unknown noise is set to what a fit leaves over, and the fit repeated."""


class Prior(AbstractReadable):
    """Independent normal priors of the entries of Q, cut off at the cone of Gram matrices.

    Arguments:
        mean: of Q, shape (k, k), positive semidefinite; None: the unit matrix.
        spread: standard deviation of each entry.

    Errors: ValueError for a mean outside the cone, spread ≤ 0.

    >>> mean, std = inference.Prior(spread=1.0).of(net.roles)
    >>> mean.shape, float(std[0])
    ((10,), 1.0)
    """

    mean: Float[Array, "k k"] | None
    spread: Float[Array, ""]

    def __init__(self, mean: ArrayLike | None = None, spread: ArrayLike = 2.0):
        self.spread = number(spread, "spread", 0, open_start=True)
        self.mean = None
        if mean is not None:
            mean = real_array(mean, "mean")
            if mean.ndim != 2 or mean.shape[0] != mean.shape[1]:
                raise ValueError(f"`mean` is a Gram matrix, shape (k, k); got {shown(mean)}.")
            try:
                self.mean = check_gram(mean)
            except ValueError as error:
                raise ValueError(f"`mean` of a prior lies outside the cone. {error}") from None

    def of(self, roles: Roles) -> tuple[Array, Array]:
        """Mean and standard deviation of the distinct entries of Q."""
        mean = jnp.eye(roles.size) if self.mean is None else self.mean
        if len(mean) != roles.size:
            raise ValueError(
                f"`prior` has a mean of shape {mean.shape}, but `model` has {roles.describe()}."
            )
        vector = Overlaps(mean, roles).vector()
        return vector, jnp.broadcast_to(self.spread.astype(vector.dtype), vector.shape)


class Estimate(AbstractSaved):
    """What a learning curve says of overlaps, and what it does not.

    Fields:
        theta: θ of the best start: distinct entries of Q, then the unknowns.
        covariance: of θ by Laplace: (JᵀΣ⁻¹J + prior)⁻¹, shape (parameter, parameter).
        prior_std: of each parameter.
        chi2: Σ (d − y)²/σ² there.
        scale: s, by which σ was multiplied where it was unknown: s² = χ²/(n − p), known to
            s/√(2(n − p)), p directions known from the data; else 1.
        size: how many numbers the data are.
        fits: ends of all starts.
        combined: the combinations that have an interval.
        flat_range: lowest and highest ε of Q + εJ₀ in the cone; zeros where nothing is flat.
        setting: what was assumed.
        sees_overlaps: whether S was observed.

    >>> found = inference.infer(data, task, descent, model=reduction, starts=20, key=key)
    >>> learning.outcome(found.result) in ("successful", "weak"), found.starts_agreeing > 1
    (True, True)
    >>> found.save("estimate.npz")
    >>> inference.Estimate.load("estimate.npz").names == found.names
    True
    """

    theta: Float[Array, " parameter"]
    covariance: Float[Array, "parameter parameter"]
    prior_std: Float[Array, " parameter"]
    chi2: Float[Array, ""]
    scale: Float[Array, ""]
    size: int = eqx.field(static=True)
    fits: Fits
    combined: Combinations
    flat_range: tuple[Float[Array, ""], Float[Array, ""]]
    setting: Setting
    sees_overlaps: bool = eqx.field(static=True)

    @property
    def overlaps(self) -> Overlaps:
        """Q, one of its images."""
        return Overlaps(self.setting.gram(self.theta), self.setting.model.roles)

    @property
    def unknown(self) -> dict[str, float]:
        """What was unknown beside Q."""
        n = self.setting.overlaps
        values = dict(zip(self.setting.unknown, map(float, self.theta[n:])))
        return {name: np.exp(x) if name == "lr" else x for name, x in values.items()}

    @property
    def starts_agreeing(self) -> int:
        """How many starts ended within Δχ² = 1 of the best."""
        return _agreeing(self.fits)

    @property
    def resolved(self) -> bool:
        """Whether two starts at least agree: else the lowest χ² may not have been found."""
        return self.starts_agreeing >= FEWEST

    @property
    def names(self) -> tuple[str, ...]:
        """What has an interval: the combinations of overlaps, then what was unknown beside Q."""
        return self.combined.names

    @property
    def values(self) -> Float[Array, " combination"]:
        """Combinations at the best fit."""
        return self.combined.weights @ self.theta

    @property
    def std(self) -> Float[Array, " combination"]:
        """Their standard deviations by Laplace, prior included."""
        return _deviations(self.combined.weights, self.covariance)

    @property
    def weak(self) -> tuple[str, ...]:
        """Combinations that the data hardly fix: their intervals are not calibrated."""
        prior = _deviations(self.combined.weights, jnp.diag(self.prior_std**2))
        return tuple(name for name, w in zip(self.names, self.std > WEAK * prior) if w)

    @property
    def deviance(self) -> Float[Array, ""]:
        """−2 ln likelihood, up to a constant: χ² + 2 n ln s."""
        return self.chi2 + 2 * self.size * jnp.log(self.scale)

    @property
    def result(self) -> RESULTS:
        """`rejected` (by χ²), `unresolved` (no two starts agree), `weak`, or `successful`."""
        found: Any = RESULTS.weak if self.weak else RESULTS.successful
        if not self.resolved:
            found = RESULTS.unresolved
        most = self.size + 4 * np.sqrt(2 * self.size)
        return RESULTS.rejected if float(self.chi2) > most else found

    def intervals(self, level: ArrayLike = 0.95) -> dict[str, tuple[float, float]]:
        """(lowest, highest) of each combination: value ± z σ.

        Of entries with a part along the flat direction there is none: the cone's `flat_range` is
        all that is known of them.

        Arguments:
            level: share of repetitions whose interval holds the truth.

        Errors: ValueError for a level outside (0, 1).
        """
        level = number(level, "level", 0, 1, open_start=True, open_end=True)
        z = float(jax.scipy.stats.norm.ppf(0.5 + level / 2))
        ends = zip(self.names, self.values - z * self.std, self.values + z * self.std)
        return {name: (float(low), float(high)) for name, low, high in ends}

    def images(self) -> Images:
        """All Gram matrices that the data cannot tell apart, and what would (see `images`)."""
        model = self.setting.at(self.theta)
        return images(model, self.setting.method, see_overlaps=self.sees_overlaps)

    def __str__(self) -> str:
        ends = self.intervals()
        rows = [f"{name} {(a + b) / 2:.4g} [{a:.4g}, {b:.4g}]" for name, (a, b) in ends.items()]
        rows = [row + " weak" * (name in self.weak) for name, row in zip(self.names, rows)]
        low, high = map(float, self.flat_range)
        flat = f"; along the flat direction {low:.3g} … {high:.3g}" if low < high else ""
        flat += f"; never seen: {', '.join(self.combined.unread)}" * bool(self.combined.unread)
        head = f"Estimate, {outcome(self.result)}: χ² {float(self.chi2):.4g}"
        head += f" of {self.size} numbers, noise × {float(self.scale):.3g}"
        starts = f"{self.starts_agreeing} of {len(self.fits.cost)} starts agree"
        return f"{head}, {starts}; 95 %: {', '.join(rows)}{flat}"


def infer(
    data: Observations,
    objective: AbstractObjective,
    method: AbstractMethod,
    *,
    model: AbstractOverlapRNN,
    unknown: tuple[str, ...] = (),
    prior: Prior | None = None,
    starts: int = 20,
    begin: Estimate | None = None,
    key: PRNGKeyArray,
) -> Estimate:
    """Overlaps from a learning curve.

        min over Q ⪰ 0 of   Σ (d − y(Q))²/σ² + Σ (q − q̄)²/spread²

    Levenberg–Marquardt through `learn`, all starts at once, from random overlaps, half of them
    those of fifty whose curve is nearest to the data: σ × 30, × 5, × 1 in log-Cholesky coordinates
    (Q = LLᵀ), then in the entries of Q within the cone. Compiled once for each setting; data, σ,
    prior, rate and target are arrays.

    An estimate is one of its `images`. Gaussian intervals are given for combinations without a part
    along the flat direction; `weak` ones are not calibrated, and a good χ² does not show that the
    model is right (a closure can fit a nonlinear network and be wrong).

    Arguments:
        data: what was seen.
        objective: what was learned: a task or closed loop without label noise or minibatches.
        method: how: `Descent`, `Flow`, … ; its rate is taken as known unless `unknown`.
        model: with the roles, step and activation of what learned, its Q not used: a reduction; of
            a nonlinear network `population(…)`, or its closure, which is faster and biased.
        unknown: what is to be inferred beside Q: "lr", "momentum", and of the channel: "gain" and
            "offset", or "floor" and "span"; "noise": σ up to one factor (give about its size).
        prior: of the entries of Q; default `Prior()`.
        starts: how many; as long as no two agree, as many more, three times at most.
        begin: an estimate of the same parameters, e.g. a closure's before a population's: its three
            best ends and their transposes are starts too.
        key: draws random overlaps.

    Errors: ValueError for an objective that draws data (its curves scatter by more than σ), a
    method that is not exact on overlaps, and fewer numbers than parameters.

    Source: ours.

    >>> found = inference.infer(data, task, descent, model=reduction, starts=20, key=key)
    >>> low, high = found.intervals()["vu"]
    >>> bool(low < net.overlaps["vu"] < high)
    True
    """
    component(data, Observations, "data", "Observations(Outputs(every=20), y, …)")
    prior = Prior() if prior is None else component(prior, Prior, "prior", "Prior(spread=2.0)")
    starts, key = whole(starts, "starts"), one_key(key)
    unknown = names(unknown, "unknown", ("lr", "momentum", *data.channel.extra, "noise"))
    loud, unknown = "noise" in unknown, tuple(name for name in unknown if name != "noise")
    s = setting(model, objective, method, data.channel, data.epochs, data.stride, unknown)
    if data.size < len(s.parameters):
        raise ValueError(
            f"`data` are {data.size} numbers, fewer than the {len(s.parameters)} parameters "
            f"{', '.join(s.parameters)}: observe more epochs."
        )
    spreads = jnp.array([SPREADS[name] for name in s.unknown])
    mean, std = map(jnp.append, prior.of(s.model.roles), (s.usual(), spreads))
    more = jnp.zeros((0, len(mean))) if begin is None else _ends(begin, s)
    return _fitted(s, data, (mean, std), _search(s, data, (mean, std), more, starts, key), loud)


def _search(
    s: Setting, data: Observations, prior: tuple[Array, Array], more: Array, starts: int, key: Any
) -> Fits:
    """Ends of all starts, some of which are given; and of as many again while too few agree."""
    values, noise = data.values.ravel(), data.noise.ravel()
    first = starting(s, starts, values, noise, key)
    fits = fit(s, values, noise, *prior, jnp.concatenate([first, more]))
    for _ in range(AGAIN):
        if _agreeing(fits) >= FEWEST:
            break
        key = jr.split(key, 3)[2]  # `starting` splits it in two, which are the first of three
        found = fit(s, values, noise, *prior, starting(s, starts, values, noise, key))
        fits = jax.tree.map(lambda *both: jnp.concatenate(both), fits, found)
    return fits


def _fitted(
    s: Setting, data: Observations, prior: tuple[Array, Array], fits: Fits, loud: bool
) -> Estimate:
    """The estimate; where the noise is not known, again and again with what the last one left."""
    (mean, std), values, noise = prior, data.values.ravel(), data.noise.ravel()
    found = _estimate(s, data, std, fits)
    for _ in range(ROUNDS * loud):
        known = len(mean) - jnp.sum(jnp.diagonal(found.covariance) / std**2)
        scale = found.scale * jnp.sqrt(found.chi2 / (data.size - known))
        fits = fit(s, values, noise * scale, mean, std, found.fits.theta)
        found = _estimate(s, data, std, fits, scale)
    return found


def _agreeing(fits: Fits) -> int:
    cost = np.asarray(fits.cost)
    return int(np.sum(cost < np.min(cost) + AGREE))


def _estimate(
    s: Setting, data: Observations, std: Array, fits: Fits, scale: ArrayLike = 1.0
) -> Estimate:
    """The best of all starts, and what surrounds it."""
    how = traits(s.method)
    flat = how.gradient and s.model.linear
    rates = {name: float(rate) for name, rate in (how.rates or {}).items()} if flat else None
    theta, inverse, chi2, ends = _best(s, fits, rates)
    return Estimate(
        theta=theta,
        covariance=inverse,
        prior_std=std,
        chi2=chi2,
        scale=jnp.asarray(scale, theta.dtype),
        size=data.size,
        fits=fits,
        combined=combinations(s),
        flat_range=ends,
        setting=s,
        sees_overlaps=data.channel.kind == "visible",
    )


@eqx.filter_jit
def _best(s: Setting, fits: Fits, rates: Any) -> tuple[Array, Array, Array, Any]:
    """θ of the lowest cost, its covariance and χ², and the cone's range along the flat direction:
    zeros where nothing is flat."""
    best = jnp.argmin(fits.cost)
    theta, zero = fits.theta[best], jnp.zeros(())
    low, high = (zero, zero) if rates is None else flat_range(s.at(theta), rates)
    return theta, _inverse(fits.root[best]), fits.chi2[best], (low, high)


def _ends(begin: Any, s: Setting) -> Float[Array, "start parameter"]:
    """Where the best fits of an estimate ended, and their transposes, which fit nearly as well."""
    found = component(begin, Estimate, "begin", "infer(data, task, method, …)")
    if found.setting.parameters != s.parameters:
        raise ValueError(
            f"`begin` is an estimate of {', '.join(found.setting.parameters)}, but here are "
            f"{', '.join(s.parameters)} to be found."
        )
    best = found.fits.theta[jnp.argsort(found.fits.cost)[:ENDS]]
    roles = s.model.roles
    if roles.inputs != roles.outputs:
        return best

    def turned(theta: Array) -> Array:
        q = transposed(Overlaps(s.gram(theta), roles))
        return jnp.concatenate([q.vector(), theta[s.overlaps :]])

    return jnp.concatenate([best, jax.vmap(turned)(best)])


def covariance(
    s: Setting, theta: Array, noise: Array, std: Array
) -> Float[Array, "parameter parameter"]:
    """(JᵀΣ⁻¹J + prior)⁻¹, by QR.

    >>> looks = inference.Setting(reduction, task, descent, data.channel, data.epochs, 5, ())
    >>> prior = jnp.full(10, 2.0)
    >>> inference.covariance(looks, net.overlaps.vector(), data.noise.ravel(), prior).shape
    (10, 10)
    """
    return _inverse(root_of(linearise(s, theta)[1], noise, std))


def _inverse(root: Array) -> Array:
    """(RᵀR)⁻¹."""
    inverse = jax.scipy.linalg.solve_triangular(root, jnp.eye(len(root), dtype=root.dtype))
    return inverse @ inverse.T


def _deviations(weights: Array, covariance: Array) -> Array:
    return jnp.sqrt(jnp.einsum("ci,ij,cj->c", weights, covariance, weights))

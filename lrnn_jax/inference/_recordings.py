"""Overlaps from recorded activity, before any learning: what the recurrent weights show of them."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import as_columns, as_dt, number, real_array, shown, whole
from lrnn_jax.inference._saved import AbstractSaved
from lrnn_jax.overlaps import Overlaps, Roles
from lrnn_jax.reduced import ReducedRNN


class Recorded(AbstractSaved):
    """Overlaps that recordings show: those of W = UVᵀ/s, in the gauge in which UᵀU = VᵀV.

    Recordings do not see how W is divided: U → UC, V → VC⁻ᵀ leaves every state as it is. In the
    balanced gauge all entries of Q are numbers of W, M and Z alone, up to an orthogonal C (rank 1:
    the sign of u and v): of rank 1 uu = vv = √(uu·vv). `overlaps.regauged` goes to any other.

    Fields:
        overlaps: Q, corrected for the noise in it, within the cone of Gram matrices.
        left_out: Q without each group of trials in turn, about the former; (group, k, k).
        signals: singular values of W in units of the largest that noise would have, falling.
        noise: σ, of each neuron and step.
        dt: Euler step.

    >>> quiet = inference.Recorded(net.overlaps, net.overlaps.gram[None], *map(jnp.asarray, (
    ...     [3.0, 0.9], 0.1, 0.1)))
    >>> quiet.rank_seen, quiet.model.roles == net.roles
    (1, True)
    """

    overlaps: Overlaps
    left_out: Float[Array, "group k k"]
    signals: Float[Array, " value"]
    noise: Float[Array, ""]
    dt: Float[Array, ""]

    @property
    def model(self) -> ReducedRNN:
        """The reduction that has these overlaps."""
        return ReducedRNN(self.overlaps, dt=self.dt)

    @property
    def rank_seen(self) -> int:
        """How many singular values of W stand out of the noise.

        Noise alone puts one there in about one of a thousand recordings (Tracy–Widom law). More
        than the assumed rank: W has more. Fewer: record more trials.
        """
        return int(np.sum(np.asarray(self.signals) > 1 + len(self.signals) ** (-2 / 3)))

    @property
    def std(self) -> Float[Array, " overlap"]:
        """Standard deviations of the distinct overlaps."""
        return jackknife_std(Overlaps(self.left_out, self.overlaps.roles).vector())

    def intervals(self, level: ArrayLike = 0.95) -> dict[str, tuple[float, float]]:
        """(lowest, highest) of each overlap in the balanced gauge: value ± t · std.

        t is Student's, with one degree of freedom fewer than there are groups of trials.

        Arguments:
            level: share of repetitions whose interval holds the truth.

        Errors: ValueError for a level outside (0, 1).
        """
        t = student(level, len(self.left_out))
        values, std = np.asarray(self.overlaps.vector()), np.asarray(self.std)
        ends = zip(self.overlaps.names, values - t * std, values + t * std)
        return {name: (float(low), float(high)) for name, low, high in ends}

    def __str__(self) -> str:
        ends = self.intervals().items()
        rows = [f"{name} {(a + b) / 2:.4g} [{a:.4g}, {b:.4g}]" for name, (a, b) in ends]
        head = f"Recorded, rank {self.overlaps.roles.rank} ({self.rank_seen} above the noise)"
        return f"{head}, σ {float(self.noise):.3g}; 95 %, balanced gauge: {', '.join(rows)}"


def student(level: ArrayLike, groups: int) -> float:
    """Student's t that a value lies within with this probability, from so many groups.

    Errors: ValueError for a level outside (0, 1).
    """
    level = float(number(level, "level", 0, 1, open_start=True, open_end=True))
    return float(scipy.special.stdtrit(groups - 1, 0.5 + level / 2))


def jackknife_std(left_out: Float[Array, "group *axes"]) -> Float[Array, "*axes"]:
    """Standard deviation of an estimate from its values without each group of data in turn.

    std² = (G − 1)/G Σ_g (x_g − x̄)²
    """
    groups = len(left_out)
    return jnp.sqrt((groups - 1) * jnp.var(left_out, axis=0))


def from_recordings(
    states: ArrayLike,
    inputs: ArrayLike,
    outputs: ArrayLike | None = None,
    *,
    z: ArrayLike | None = None,
    rank: int = 1,
    dt: ArrayLike,
    scale: ArrayLike | None = None,
    groups: int = 20,
) -> Recorded:
    """Overlaps of a linear network from its activity, its private noise being the probe.

        d_t = (h_{t+1} − (1 − dt) h_t)/dt = W h_t + M x_t + (σ/dt) ε_t,      W = UVᵀ/s,  ε ~ N(0, 1)

    is a linear regression whose W has rank r; σ is that of `PrivateNoise`. The likeliest W projects
    that of least squares on the first r eigenvectors of W S Wᵀ, S = Σ h hᵀ less what x explains of
    h. Inputs show what W does in the span of M and U; private noise goes in all directions, and so
    shows V. But noise in V makes VᵀV/s too large, by about 2N/(uu · trials · T dt): all is done
    again without each of G groups of trials in turn, and the jackknife takes off what falls as
    1/trials,

        Q̂ = G Q − (G − 1) Q̄,      std² = (G − 1)/G Σ_g (Q_g − Q̄)²,      Q̄ = Σ_g Q_g/G

    σ, h_0 and equal inputs in all trials are not needed.

    Arguments:
        states: h_0 … h_T, of N neurons (membrane potentials), shape (trial, T + 1, N).
        inputs: x_0 … x_{T−1}, shape (trial, T, inputs), or (T, inputs) for all trials.
        outputs: y_t = Zᵀh_{t+1}/s, shape (trial, T, outputs); their own noise must be below what
            private noise makes of them.
        z: Z, shape (N, outputs), where it is known, in place of outputs.
        rank: r. See `Recorded.rank_seen`.
        dt: time between states in membrane time constants.
        scale: s; default N.
        groups: G, at most as many as trials.

    Returns: Q with intervals, computed in float64 whatever JAX's precision.

    Errors: ValueError for shapes that do not fit, numbers that are not finite, too few trials,
    inputs that do not vary independently, no private noise, both or none of outputs and z.

    Source: ours; reduced-rank regression: Izenman 1975; jackknife: Quenouille 1956, Tukey 1958.

    >>> x = jr.normal(jr.key(1), (200, 50, 1))
    >>> kicks = 0.1 * jr.normal(jr.key(2), (200, 50, 40))  # σ ε
    >>> h = jnp.concatenate([jnp.zeros((200, 1, 40)), net.states(x, noise=kicks)], axis=1)
    >>> found = inference.from_recordings(h, x, z=net.z, dt=0.1)
    >>> low, high = found.intervals()["vu"]
    >>> found.rank_seen, bool(low < net.overlaps["vu"] < high)
    (1, True)
    """
    h, x, y, z = _recordings(states, inputs, outputs, z)
    trials, steps, n = len(h), h.shape[1] - 1, h.shape[2]
    rank, dt = whole(rank, "rank", most=n), as_dt(dt)
    s = float(number(n if scale is None else scale, "scale", 0, open_start=True))
    groups = _enough(trials, steps, n + x.shape[-1], whole(groups, "groups", 2))
    parts = [
        _sums(h[i], x[i], None if y is None else y[i], float(dt))
        for i in np.array_split(np.arange(trials), groups)
    ]
    every = Sums(*map(sum, zip(*parts)))
    _check_excitation(every)
    centre, left_out = _jackknifed(every, parts, rank, s, z)
    signals, noise = _signals(every, trials * steps)
    left_out, signals, noise = map(jnp.asarray, (left_out, signals, noise * float(dt)))
    roles = Roles(len(centre) - 2 * rank - x.shape[-1], rank, x.shape[-1])
    return Recorded(Overlaps(jnp.asarray(centre), roles), left_out, signals, noise, dt)


class Sums(NamedTuple):
    """Sums over samples that the regressions need, with w_t = (h_t, x_t).

    Fields: ww, Σ w wᵀ; dw, Σ d wᵀ; dd, Σ d²; hh, yh: Σ h hᵀ and Σ y hᵀ after each step.
    """

    ww: Any
    dw: Any
    dd: Any
    hh: Any
    yh: Any


class Vectors(NamedTuple):
    """Loading vectors, U and V in the balanced gauge."""

    z: np.ndarray
    v: np.ndarray
    m: np.ndarray
    u: np.ndarray

    def gram(self, s: float) -> np.ndarray:
        """Q."""
        theta = np.concatenate(self, axis=1)
        return theta.T @ theta / s

    def aligned(self, other: "Vectors") -> "Vectors":
        """Others, their U and V turned as near to these as they go."""
        a, _, b = np.linalg.svd(other.u.T @ self.u + other.v.T @ self.v)
        return other._replace(v=other.v @ a @ b, u=other.u @ a @ b)


def _sums(h: np.ndarray, x: np.ndarray, y: np.ndarray | None, dt: float) -> Sums:
    """Those of some trials."""
    n = h.shape[-1]
    before, after = h[:, :-1].reshape(-1, n), h[:, 1:].reshape(-1, n)
    d = (after - (1 - dt) * before) / dt
    w = np.concatenate([before, x.reshape(len(d), -1)], axis=1)
    seen = (0.0, 0.0)
    if y is not None:
        seen = _float(after.T @ after), _float(y.reshape(len(d), -1).T @ after)
    return Sums(_float(w.T @ w), _float(d.T @ w), float(np.vdot(d, d)), *seen)


def _jackknifed(
    every: Sums, parts: list[Sums], rank: int, s: float, z: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Q̂, and the Q_g moved so that their mean is there."""
    first = _vectors(every, rank, s, z)
    rest = (Sums(*(a - b for a, b in zip(every, part))) for part in parts)
    grams = [first.aligned(_vectors(sums, rank, s, z)).gram(s) for sums in rest]
    left_out, groups = np.stack(grams), len(parts)
    mean = left_out.mean(axis=0)
    centre = groups * first.gram(s) - (groups - 1) * mean
    return _in_cone(centre), _in_cone(centre + left_out - mean)


def _float(x: np.ndarray) -> np.ndarray:
    return x.astype(float)


def _vectors(sums: Sums, rank: int, s: float, z: np.ndarray | None) -> Vectors:
    """Reduced-rank regression of d on h, with x beside it; of y on h where Z is not known."""
    n = len(sums.dw)
    hx, xx, dx = sums.ww[:n, n:], sums.ww[n:, n:], sums.dw[:, n:]
    w = _least_squares(sums)[:, :n]
    powers = w @ _spread(sums) @ w.T
    left = scipy.linalg.eigh(powers, subset_by_index=[n - rank, n - 1])[1][:, ::-1]
    q, r = np.linalg.qr(w.T @ left)  # left leftᵀ W = (left a) values (q bᵀ)ᵀ, singular values
    a, values, b = np.linalg.svd(r.T)
    u, v = left @ a * np.sqrt(s * values), q @ b.T * np.sqrt(s * values)
    m = np.linalg.solve(xx, (dx - u @ (v.T @ hx) / s).T).T
    sign = np.where((v.T @ m).sum(axis=1) < 0, -1.0, 1.0)
    read = s * np.linalg.solve(sums.hh, sums.yh.T) if z is None else z
    return Vectors(read, v * sign, m, u * sign)


def _least_squares(sums: Sums) -> np.ndarray:
    """[W M], W of any rank."""
    return np.linalg.solve(sums.ww, sums.dw.T).T


def _spread(sums: Sums) -> np.ndarray:
    """S, of h about what x explains of it."""
    n = len(sums.dw)
    hx, xx = sums.ww[:n, n:], sums.ww[n:, n:]
    return sums.ww[:n, :n] - hx @ np.linalg.solve(xx, hx.T)


def _signals(sums: Sums, samples: int) -> tuple[np.ndarray, float]:
    """Singular values of W S^½ over the largest of noise alone, 2√N σ/dt; and σ/dt."""
    n, columns = sums.dw.shape
    both = _least_squares(sums)
    noise = np.sqrt((sums.dd - np.sum(sums.dw * both)) / (n * (samples - columns)))
    w = both[:, :n]
    powers = np.maximum(np.linalg.eigvalsh(w @ _spread(sums) @ w.T)[::-1], 0)
    return np.sqrt(powers) / (2 * np.sqrt(n) * noise), float(noise)


def _in_cone(gram: np.ndarray) -> np.ndarray:
    """The nearest Gram matrix: what a correction made negative is zero."""
    values, vectors = np.linalg.eigh(gram)
    return (vectors * np.maximum(values, 0)[..., None, :]) @ np.swapaxes(vectors, -1, -2)


def _recordings(
    states: ArrayLike, inputs: ArrayLike, outputs: ArrayLike | None, z: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """States, inputs of each trial, and outputs or Z: checked."""
    h = np.asarray(real_array(states, "states"))
    if h.ndim != 3 or h.shape[1] < 2 or 0 in h.shape:
        raise ValueError(
            f"`states` have shape (trial, time + 1, neuron), the first before any input; got "
            f"{shown(h)}."
        )
    trials, steps, n = h.shape[0], h.shape[1] - 1, h.shape[2]
    x = np.asarray(real_array(inputs, "inputs")).astype(h.dtype)
    if x.ndim == 2:
        x = np.broadcast_to(x, (trials, *x.shape))
    x = _in_each(x, "inputs", trials, steps)
    if (outputs is None) == (z is None):
        raise ValueError("`outputs`, or `z` where Z is known: give one of the two.")
    if z is None:
        y = np.asarray(real_array(outputs, "outputs")).astype(h.dtype)
        return h, x, _in_each(y, "outputs", trials, steps), None
    columns = np.asarray(as_columns(z, "z")).astype(float)
    if len(columns) != n:
        raise ValueError(f"`z` has one row a neuron, {n} as in `states`; got {shown(columns)}.")
    return h, x, None, columns


def _in_each(x: np.ndarray, name: str, trials: int, steps: int) -> np.ndarray:
    if x.ndim != 3 or x.shape[:2] != (trials, steps) or not x.shape[2]:
        raise ValueError(
            f"`{name}` have one row for each step between `states`, shape ({trials}, {steps}, "
            f"channel); got {shown(x)}."
        )
    return x


def _enough(trials: int, steps: int, unknown: int, groups: int) -> int:
    """Groups of trials.

    Errors: ValueError for fewer trials than groups, or samples than unknowns of a neuron.
    """
    if trials < groups:
        raise ValueError(
            f"`groups` are at most as many as trials, {trials}; got {groups}: give fewer, or "
            f"record more trials."
        )
    kept = (trials - -(-trials // groups)) * steps
    if kept <= unknown:
        raise ValueError(
            f"`states` hold {kept} samples without one group of trials, and each neuron has "
            f"{unknown} unknown weights: record more trials, or longer ones."
        )
    return groups


def _check_excitation(sums: Sums) -> None:
    """Errors: ValueError where a weight is not determined by the data."""
    n = len(sums.dw)
    xx = sums.ww[n:, n:]
    if np.linalg.matrix_rank(xx, hermitian=True) < len(xx):
        raise ValueError(
            "`inputs` must vary independently of each other, and not be zero: otherwise M is "
            "not determined."
        )
    values = np.linalg.eigvalsh(_spread(sums))
    if values[0] <= 10 * n * np.finfo(float).eps * values[-1]:
        raise ValueError(
            "`states` fill fewer dimensions than there are neurons: without private noise, or "
            "with a neuron twice, V is not seen."
        )

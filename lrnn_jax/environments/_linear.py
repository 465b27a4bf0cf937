"""Linear plants: chains of integrators, and any matrices."""

import math
import warnings

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import real_array, same_dtype, whole
from lrnn_jax._types import Numbers, State, is_traced
from lrnn_jax.environments._base import (
    AbstractAutonomousPlant,
    Controls,
    Matrices,
    Seen,
    as_plant_dt,
)
from lrnn_jax.environments._starts import NOISE, AbstractStart, as_start, check_noise


class AbstractLinearPlant(AbstractAutonomousPlant):
    """x_{t+1} = A x_t + B u_t, observed through C, with the cost xᵀQx + uᵀRu.

    >>> isinstance(lrnn.KIntegrator(2), environments.AbstractLinearPlant)
    True
    >>> isinstance(environments.Pendulum(), environments.AbstractLinearPlant)
    False
    """

    a: Float[Array, "state state"]
    b: Float[Array, "state controls"]
    c: Float[Array, "seen state"]
    q: Float[Array, "state state"]
    r: Float[Array, "controls controls"]
    start: AbstractStart
    process_noise: Float[Array, "state state"] | None
    observation_noise: Float[Array, "seen seen"] | None

    @property
    def matrices(self) -> Matrices:
        return Matrices(self.a, self.b, self.c, self.q, self.r)

    @property
    def state_size(self) -> int:
        return self.a.shape[0]

    @property
    def controls(self) -> int:
        return self.b.shape[1]

    @property
    def observations(self) -> int:
        return self.c.shape[0]

    @property
    def linear_within(self) -> float:
        return math.inf

    def step(self, x: State, u: Controls) -> State:
        return _rows(x, self.a) + _rows(u, self.b)

    def observe(self, x: State, signal: None) -> Seen:
        return _rows(x, self.c)

    def cost(self, x: State, u: Controls, signal: None) -> Numbers:
        return jnp.sum(x * _rows(x, self.q), axis=-1) + jnp.sum(u * _rows(u, self.r), axis=-1)


class LinearPlant(AbstractLinearPlant):
    """A linear plant from your own matrices.

        x_{t+1} = A x_t + B u_t + F_w w_t,   o_t = C x_t + F_v v_t,   cost xᵀQx + uᵀRu

    Arguments:
        a, b, c: A (state, state), B (state, controls), C (observed, state), per time step.
        q: Q, state cost, symmetric and positive semidefinite; default 1/state (the mean square).
        r: R, control cost, likewise; default 0.
        start: law of x_0; a number or an array is the half-width of a uniform one.
        process_noise: standard deviation per step, one or one for each state, or F_w.
        observation_noise: likewise, or F_v.
        dt: time step in membrane time constants, to be compared with the controller's; None: not
            compared.

    Errors: ValueError for matrices that do not fit each other, entries that are not finite, costs
    that are not symmetric or have a negative eigenvalue, dt ≤ 0. Warns, naming the modes, when
    some cannot be controlled or observed.

    >>> a, b, c = np.array([[1, 0.1], [0, 1]]), np.array([[0], [0.1]]), np.array([[1, 0]])
    >>> own = lrnn.ClosedLoop(lrnn.LinearPlant(a, b, c, dt=0.1), horizon=20)
    >>> bool(jnp.isclose(own.loss(net, None), loop.loss(net, None)))
    True
    """

    dt: Float[Array, ""] | None

    def __init__(
        self,
        a: ArrayLike,
        b: ArrayLike,
        c: ArrayLike,
        q: ArrayLike | None = None,
        r: ArrayLike | None = None,
        *,
        start: AbstractStart | ArrayLike = 1.0,
        process_noise: ArrayLike | None = None,
        observation_noise: ArrayLike | None = None,
        dt: ArrayLike | None = None,
    ):
        given = (real_array(x, name) for name, x in zip("abc", (a, b, c)))
        self.a, self.b, self.c = same_dtype(*given)
        a_shape, b_shape, c_shape = shapes = [x.shape for x in (self.a, self.b, self.c)]
        wanted = [a_shape[:1] * 2, a_shape[:1] + b_shape[1:], c_shape[:1] + a_shape[:1]]
        if shapes != wanted or any(len(s) != 2 or 0 in s for s in shapes):
            raise ValueError(
                f"A plant of n states takes `a` (n, n), `b` (n, controls) and `c` (observed, n); "
                f"got A {a_shape}, B {b_shape}, C {c_shape}."
            )
        n = len(self.a)
        self.q = check_cost(jnp.eye(n) / n if q is None else q, n, "q")
        self.r = check_cost(jnp.zeros((self.controls,) * 2) if r is None else r, self.controls, "r")
        self.start = as_start(start, n)
        self.process_noise = check_noise(process_noise, n, "process_noise")
        self.observation_noise = check_noise(
            observation_noise, self.observations, "observation_noise"
        )
        self.dt = None if dt is None else as_plant_dt(dt)
        warn_of_hidden_modes(self)


class KIntegrator(AbstractLinearPlant):
    """A chain of k integrators: x_i' = x_i + dt x_{i+1}, controls at its end.

        A = 1 + dt (ones above the diagonal),   B = dt (last columns of 1),   C = first rows of 1

    The cost is the mean square of the state, Q = 1/k.

    Arguments:
        k: number of states; 2 is the double integrator (position, velocity).
        inputs: control inputs: on the last state, the last but one, …
        observed: how many states are seen, from the first on.
        dt: time step in membrane time constants; the controller's.
        noise: standard deviation of the process noise per step, one or one for each state.
        observation_noise: standard deviation of the observation noise, likewise.
        start: law of x_0; a number or an array is the half-width of a uniform one.

    Errors: ValueError for k < 1, inputs or observed outside 1 … k, dt ≤ 0, negative noise.

    Source: [CL] eq. 3 (k = 2).

    >>> plant = lrnn.KIntegrator(k=3, dt=0.1)
    >>> plant.state_size, plant.controls, plant.observations
    (3, 1, 1)
    """

    dt: Float[Array, ""]
    process_noise: Float[Array, "state state"] | None = eqx.field(metadata=NOISE)

    def __init__(
        self,
        k: int = 2,
        inputs: int = 1,
        observed: int = 1,
        *,
        dt: ArrayLike = 1.0,
        noise: ArrayLike | None = None,
        observation_noise: ArrayLike | None = None,
        start: AbstractStart | ArrayLike = 1.0,
    ):
        k = whole(k, "k")
        inputs, observed = whole(inputs, "inputs", most=k), whole(observed, "observed", most=k)
        self.dt = as_plant_dt(dt)
        eye = jnp.eye(k, dtype=self.dt.dtype)
        self.a = eye + self.dt * jnp.eye(k, k=1, dtype=self.dt.dtype)
        self.b = self.dt * eye[:, k - inputs :]
        self.c = eye[:observed]
        self.q = eye / k
        self.r = jnp.zeros((inputs, inputs), self.dt.dtype)
        self.start = as_start(start, k)
        self.process_noise = check_noise(noise, k, "noise")
        self.observation_noise = check_noise(observation_noise, observed, "observation_noise")

    @property
    def k(self) -> int:
        """Number of integrators."""
        return len(self.a)

    @property
    def inputs(self) -> int:
        """Control inputs."""
        return self.b.shape[1]

    @property
    def observed(self) -> int:
        """How many states are seen."""
        return self.c.shape[0]


def check_cost(cost: ArrayLike, size: int, name: str) -> Array:
    """A cost matrix; a number is that multiple of the unit matrix.

    Errors: ValueError unless it fits, is symmetric and has no negative eigenvalue.
    """
    cost = real_array(cost, name)
    if cost.ndim == 0:
        cost = cost * jnp.eye(size, dtype=cost.dtype)
    if cost.shape != (size, size):
        raise ValueError(f"`{name}` must be a number or a {size}×{size} matrix; got {cost.shape}.")
    if is_traced(cost):
        return cost
    values = np.asarray(cost)
    small = 1e-6 * np.abs(values).max()
    if np.abs(values - values.T).max() > small:
        raise ValueError(f"`{name}` must be symmetric; symmetrise it: ({name} + {name}.T) / 2.")
    lowest = float(np.linalg.eigvalsh(values).min())
    if lowest < -small:
        raise ValueError(
            f"`{name}` weighs a cost and must have no negative eigenvalue, but one is "
            f"{lowest:.4g}: a loop would learn to make that cost large."
        )
    return cost


def hidden_modes(a: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Eigenvalues of A on the subspace that C never sees (of Aᵀ and Bᵀ: that B never reaches).

    The null space of [C; CA; CA²; …], in units of ‖A‖; A restricted to it has these eigenvalues.
    Dimensions count as unseen below 1e-9 of the largest singular value.
    """
    scale = max(float(np.linalg.norm(a, 2)), 1e-300)
    rows = [c]
    for _ in range(len(a) - 1):
        rows.append(rows[-1] @ a / scale)
    _, sigma, vt = np.linalg.svd(np.concatenate(rows))
    seen = int((sigma > 1e-9 * max(float(sigma[0]), 1e-300)).sum())
    null = vt[seen:].T
    return np.linalg.eigvals(null.T @ a @ null)


def warn_of_hidden_modes(plant: AbstractLinearPlant) -> None:
    """Warn of modes that the controls do not move, or that cannot be seen (outside a trace)."""
    if is_traced(plant):
        return
    a, b, c = (np.asarray(x, float) for x in (plant.a, plant.b, plant.c))
    for modes, problem in (
        (hidden_modes(a.T, b.T), "uncontrollable: its controls never move"),
        (hidden_modes(a, c), "unobservable: its observations never show"),
    ):
        if len(modes):
            named = ", ".join(f"λ = {mode:.4g}" for mode in np.real_if_close(modes, tol=1e6))
            bad = int((np.abs(modes) >= 1).sum())
            fate = (
                f"{bad} of them do not decay, and no controller can change that"
                if bad
                else "they decay by themselves"
            )
            warnings.warn(
                f"This plant is {problem} the mode(s) {named}; {fate}.", UserWarning, stacklevel=3
            )


def _rows(x: Float[Array, "*batch i"], matrix: Float[Array, "j i"]) -> Float[Array, "*batch j"]:
    """The matrix times every row of x; few states compile into the operations around."""
    if matrix.size <= 16:
        return jnp.sum(x[..., None, :] * matrix.reshape(*[1] * (x.ndim - 1), *matrix.shape), -1)
    return x @ matrix.T

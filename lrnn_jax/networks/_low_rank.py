"""Low-rank recurrent networks of N neurons."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from lrnn_jax._checks import (
    as_columns,
    as_dt,
    as_readout_bias,
    as_scale,
    component,
    names,
    one_key,
    same_dtype,
    whole,
)
from lrnn_jax._types import Input, Output, State, is_traced
from lrnn_jax.networks._activation import (
    READOUT,
    AbstractActivation,
    Identity,
    as_activation,
    read_out,
)
from lrnn_jax.networks._backward import THROUGH_FACTORS
from lrnn_jax.networks._base import (
    AbstractOverlapRNN,
    Equilibria,
    Simulation,
    plus_bias,
)
from lrnn_jax.networks._bulk import AbstractBulk
from lrnn_jax.networks._constraints import as_signs, kept, non_negative
from lrnn_jax.networks._feedback import Feedback
from lrnn_jax.networks._steps import (
    drift_of_latents,
    latents,
    mean_square,
    share_rates,
    state_of_latents,
    states_of_latents,
)
from lrnn_jax.networks._vector_space import vectors_and_bias
from lrnn_jax.networks._vectors import transport, vectors_with_overlaps
from lrnn_jax.overlaps import Overlaps, Roles, one_set, stack


def keep_signs(network: "LowRankRNN") -> "LowRankRNN":
    """The nearest network with u ≥ 0, and v of its neuron's sign."""
    assert network.signs is not None
    u, v = non_negative(network.u), non_negative(network.v, network.signs[:, None])
    return eqx.tree_at(lambda net: (net.u, net.v), network, (u, v))


class LowRankRNN(AbstractOverlapRNN):
    """A network of N neurons whose recurrent weights have rank r, or learn in rank r over a bulk.

        h_{t+1} = h_t + dt (−h_t + (1/s) U Vᵀ φ(h_t) + M x_t + b),      y_t = (1/s) Zᵀ φ(h_{t+1})

    from h_0; y_t = (1/s) Zᵀ h_{t+1} where the activity itself is read out; plus c, a bias. A bulk
    adds g J φ(h_t), which does not learn.

    Arguments:
        z: Z, read-out vectors, shape (N, d_out).
        v: V, vectors that read the recurrent activity, shape (N, r).
        m: M, input vectors, shape (N, d_in).
        u: U, vectors that write the recurrent activity, shape (N, r).
        scale: s; default N (entries of order 1, [LR]); 1 for entries of order 1/√N ([CL]). An
            array of shape (N,) gives neuron j the weight 1/s_j in place of 1/s: (1/s)Σ_i becomes
            Σ_j x_j/s_j (see `population`).
        b: biases, shape (N,); None: none. They learn like the vectors.
        h0: h_0, the state that every trial starts from, shape (N,); None: 0. It learns likewise, is
            the family "h" of vectors, and its latent starts at 1 and decays.
        c: bias of the read-out, shape (outputs,); None: none. It learns beside the vectors, at the
            rate η (not sη), and is recorded as `curve.c`.
        signs: 1 or −1 a neuron, shape (N,), kept while learning (Dale's law): u ≥ 0, and v of the
            neuron's sign, so that all it sends has that sign; None: free.
        bulk: recurrent weights that do not learn, such as `RandomBulk(g, key=key)`; None: none.
        dt: Euler step in membrane time constants, in (0, 1].
        activation: φ.
        readout: `Identity()` to read out h in place of φ(h); None: φ(h).
        frozen: what does not learn: families ("m"), single columns ("u2"), or "c".

    Errors: ValueError for arrays that do not fit each other, entries that are not finite, dt
    outside (0, 1], scale ≤ 0, rank > N, a read-out of neither h nor φ(h), weights against their
    signs, signs with a bulk, a bulk of another N; UnknownOverlap for a wrong name in `frozen`.

    Source: [LR] eq. 1.

    >>> wide = lrnn.LowRankRNN.normalised(n=500, rank=2, dt=0.1, key=key)
    >>> wide.z.shape, wide.u.shape, float(wide.scale)
    ((500, 1), (500, 2), 500.0)
    >>> own = lrnn.LowRankRNN(net.z, net.v, net.m, net.u, dt=0.1, activation=lrnn.Tanh())
    >>> own.rollout(jnp.ones((50, 1))).shape
    (50, 1)
    """

    z: Float[Array, "n outputs"]
    v: Float[Array, "n rank"]
    m: Float[Array, "n inputs"]
    u: Float[Array, "n rank"]
    b: Float[Array, "n 1"] | None
    h0: Float[Array, "n 1"] | None
    c: Float[Array, " outputs"] | None
    signs: Int[Array, " n"] | None
    bulk: AbstractBulk | None
    scale: Float[Array, "*neuron"]
    dt: Float[Array, ""]
    activation: AbstractActivation
    readout_activation: AbstractActivation = eqx.field(metadata=READOUT)
    frozen: tuple[str, ...] = eqx.field(static=True)
    simulation = Simulation(states_of_latents, share_rates, power=mean_square)
    equilibria = Equilibria(latents, state_of_latents, drift_of_latents)
    space = staticmethod(vectors_and_bias)
    backward = THROUGH_FACTORS

    def __init__(
        self,
        z: ArrayLike,
        v: ArrayLike,
        m: ArrayLike,
        u: ArrayLike,
        scale: ArrayLike | None = None,
        *,
        b: ArrayLike | None = None,
        h0: ArrayLike | None = None,
        c: ArrayLike | None = None,
        signs: ArrayLike | None = None,
        bulk: AbstractBulk | None = None,
        dt: ArrayLike,
        activation: AbstractActivation = Identity(),
        readout: AbstractActivation | None = None,
        frozen: tuple[str, ...] = (),
    ):
        vectors = [as_columns(x, f) for f, x in {"z": z, "v": v, "m": m, "u": u}.items()]
        vectors += [None if x is None else as_columns(x, f) for f, x in (("b", b), ("h0", h0))]
        bias = as_readout_bias(c, as_columns(z, "z").shape[1])
        self.z, self.v, self.m, self.u, self.b, self.h0, self.c = same_dtype(*vectors, bias)
        _, roles = stack(z=self.z, v=self.v, m=self.m, u=self.u, b=self.b, h=self.h0)
        n = self.z.shape[0]
        whole(roles.rank, "rank", most=n)
        self.scale = as_scale(n if scale is None else scale)
        if self.scale.shape not in ((), (n,)):
            raise ValueError(
                f"`scale` is one number, or one per neuron, shape ({n},); got {self.scale.shape}."
            )
        self.signs = as_signs(signs, n)
        if self.signs is not None:
            allowed = keep_signs(self)
            kept(self.u, allowed.u, "u", "is at least 0 where neurons have `signs`", "abs(u)")
            rule = "has the sign of its neuron (`signs`)"
            kept(self.v, allowed.v, "v", rule, "signs[:, None] * abs(v)")
            if bulk is not None:
                raise ValueError(
                    "`signs` of all that a neuron sends leave no `bulk` of both signs."
                )
        such_as = "RandomBulk(0.5, key=key)"
        bulk = None if bulk is None else component(bulk, AbstractBulk, "bulk", such_as)
        self.bulk = None if bulk is None else bulk.made(n, self.dtype)
        self.dt = as_dt(dt)
        self.activation = as_activation(activation)
        self.readout_activation = read_out(self.activation, readout)
        self.frozen = names(frozen, "frozen")
        roles.frozen_columns(self.frozen_vectors)

    @classmethod
    def normalised(
        cls,
        n: int,
        rank: int = 1,
        inputs: int = 1,
        outputs: int = 1,
        *,
        dt: ArrayLike,
        key: PRNGKeyArray,
        activation: AbstractActivation = Identity(),
        readout: AbstractActivation | None = None,
        c: ArrayLike | None = None,
        bulk: AbstractBulk | None = None,
        frozen: tuple[str, ...] = (),
    ) -> "LowRankRNN":
        """Gaussian vectors with Frobenius norm √N in each of Z, V, M and U, and s = N.

        Rank 1: every vector has norm √N; rank 2: uu_1 + uu_2 = 1.

        Arguments: numbers of neurons, ranks and channels; the rest as for the class.

        Errors: ValueError for rank 0 or rank > N.

        Source: [LR] methods.
        """
        roles = Roles(outputs=outputs, rank=rank, inputs=inputs)
        whole(rank, "rank", most=whole(n, "n"))

        def family(key: PRNGKeyArray, columns: int) -> Array:
            x = jr.normal(key, (n, columns))
            return x * jnp.sqrt(n) / jnp.linalg.norm(x)

        keys = jr.split(one_key(key), 4)
        vectors: dict[str, Any] = {f: family(k, c) for k, (f, c) in zip(keys, roles.sizes.items())}
        options = {"dt": dt, "activation": activation, "readout": readout, "c": c, "bulk": bulk}
        return cls(**vectors, scale=n, frozen=frozen, **options)

    @classmethod
    def with_overlaps(
        cls,
        overlaps: Overlaps,
        n: int,
        scale: ArrayLike | None = None,
        *,
        dt: ArrayLike,
        key: PRNGKeyArray,
        activation: AbstractActivation = Identity(),
        readout: AbstractActivation | None = None,
        c: ArrayLike | None = None,
        bulk: AbstractBulk | None = None,
        frozen: tuple[str, ...] = (),
    ) -> "LowRankRNN":
        """A network whose loading vectors have these overlaps (to rounding), at any N ≥ rank(Q).

            Θ = √s E A,   E: N×min(N, k) with orthonormal columns (Haar),   AᵀA = Q

        Where Q has means, Θ is reflected so that its last column consists of ones (then s = N).

        Arguments:
            overlaps: Q and roles.
            n, scale: N and s (default N).
            key: draws E, the orientation of the vectors among the neurons.

        Errors: ValueError when N < rank(Q), or for means with s ≠ N.

        Source: ours.
        """
        scale = as_scale(whole(n, "n") if scale is None else scale)
        theta = vectors_with_overlaps(one_set(overlaps), whole(n, "n"), scale, key=one_key(key))
        options = {"dt": dt, "activation": activation, "readout": readout, "c": c, "bulk": bulk}
        return cls.from_stack(theta, overlaps.roles, scale, frozen=frozen, **options)

    @classmethod
    def from_stack(
        cls, theta: Float[Array, "n k"], roles: Roles, scale: ArrayLike, **options: Any
    ) -> "LowRankRNN":
        """A network from its stacked vectors Θ, a column of ones left out; `options` as above."""
        parts: dict[str, Any] = roles.split(theta)
        start = {"h0": parts.pop("h")} if roles.start else {}
        return cls(**parts, **start, scale=scale, **options)

    @property
    def constrain(self) -> Any:
        return None if self.signs is None else keep_signs

    @property
    def roles(self) -> Roles:
        """What each column of `vectors` is."""
        counts = self.z.shape[1], self.v.shape[1], self.m.shape[1]
        start = self.h0 is not None
        return Roles(*counts, bias=self.b is not None, start=start, means=self._means)

    @property
    def _means(self) -> bool:
        """Whether the theory of this network needs the means of its vectors."""
        phi = self.activation
        return not phi.linear and (not phi.odd or self.biased)

    @property
    def vectors(self) -> Float[Array, "n k"]:
        """Θ = [Z | V | M | U]; then b, h_0, and the column of ones where the theory needs means."""
        parts = {"z": self.z, "v": self.v, "m": self.m, "u": self.u, "b": self.b, "h": self.h0}
        return stack(**parts, means=self._means)[0]

    def with_vectors(self, theta: Float[Array, "n k"]) -> "LowRankRNN":
        """The same network with other loading vectors Θ, columns as in `vectors`."""
        parts = self.roles.split(theta)
        fields = ["h0" if family == "h" else family for family in parts]
        return eqx.tree_at(lambda net: [getattr(net, f) for f in fields], self, [*parts.values()])

    def transformed(
        self,
        transform: Float[Array, "all all"],
        c: Float[Array, " outputs"] | None = None,
        fixed: Feedback = Feedback(),
    ) -> "LowRankRNN":
        """The same network with vectors Θ T, and read-out bias c: what learning makes of it.

        Where a rule holds vectors fixed, these are columns of Θ too.
        """
        network = self.with_vectors(fixed.beside(self.vectors, self.roles.means) @ transform)
        return network if c is None else eqx.tree_at(lambda net: net.c, network, c)

    @property
    def overlaps(self) -> Overlaps:
        """Q = ΘᵀΘ/s."""
        theta = self.vectors
        return Overlaps(theta.T @ self.weighted(theta), self.roles)

    def weighted(self, theta: Float[Array, "n k"]) -> Float[Array, "n k"]:
        """Θ/s, row by row, so that Q = ΘᵀΘ/s."""
        return theta / self.scale.astype(theta.dtype).reshape(-1, 1)

    @property
    def inputs(self) -> int:
        return self.m.shape[1]

    @property
    def outputs(self) -> int:
        return self.z.shape[1]

    @property
    def state_size(self) -> int:
        return self.z.shape[0]

    @property
    def biased(self) -> bool:
        return self.b is not None or self.h0 is not None

    @property
    def mean_field(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.scale.ndim > 0

    @property
    def dtype(self) -> jnp.dtype:
        return self.z.dtype

    @property
    def initial_state(self) -> Float[Array, " n"]:
        return jnp.zeros(self.state_size, self.dtype) if self.h0 is None else self.h0[:, 0]

    def moved_to(self, overlaps: Overlaps) -> "LowRankRNN":
        if self.bulk is not None:
            raise ValueError(
                "Over a `bulk` outputs are no function of the overlaps alone, so a network with "
                "others of them is no twin: take one without a bulk."
            )
        centre = jnp.zeros_like(self.vectors)
        if self.roles.means:  # the same in both: move the vectors about their means
            centre = jnp.broadcast_to(overlaps.mean, centre.shape).at[:, -1].set(0)
        free = slice(0, self.roles.right)
        old, new = (q.covariance[free, free] for q in (self.overlaps, overlaps))
        moved = transport((self.vectors - centre)[:, free], old, new) + centre[:, free]
        return self.with_vectors(moved)

    def check_reducible(self) -> None:
        if self.bulk is not None:
            raise ValueError(
                f"Overlaps do not close over a `bulk`, here a {type(self.bulk).__name__}: use "
                f"reduce(network, words=…), the limit of infinitely many neurons, for linear φ; or "
                f"compress(network, feedback, steps=…) for rules like RFLO."
            )
        if self.signs is not None:
            raise ValueError(
                "Signs of neurons (Dale's law) are kept neuron by neuron, which overlaps cannot "
                "follow: let the network itself learn, or population(LoadingLaw(…)) for infinitely "
                "many neurons."
            )
        if self.linear or is_traced(self.scale):
            return
        weight = float(jnp.sum(1 / jnp.broadcast_to(self.scale, (self.state_size,))))
        if abs(weight - 1) > 1e-4:
            raise ValueError(
                f"The closure of a nonlinear network averages over neurons: it takes the scaling "
                f"s = N = {self.state_size}, with loadings of order 1; got s = {self.scale}."
            )

    def step(self, state: State, x: Input) -> State:
        return self.advance(state, self.project(self.activation(state), self.v), x)

    def readout(self, state: State) -> Output:
        return self.output(self.readout_activation(state))

    def output(self, rates: State) -> Output:
        """(1/s) Zᵀ of what is read out, plus c."""
        return plus_bias(self.project(rates, self.z), self.c)

    def advance(self, state: State, kappa: Float[Array, "*batch rank"], x: Input) -> State:
        """`step` where κ = (1/s) Vᵀφ(h) is known."""
        dt = self.dt.astype(self.dtype)
        new = (1 - dt) * state + kappa @ (dt * self.u.T) + x @ (dt * self.m.T)
        if self.bulk is not None:
            new = new + dt * self.bulk.product(self.activation(state))
        if self.b is None:
            return new
        return new + dt * jnp.broadcast_to(self.b[:, 0], new.shape)

    def project(self, rates: State, vectors: Float[Array, "state c"]) -> Float[Array, "*batch c"]:
        """(1/s) Vᵀφ, with the weights on the smaller side."""
        scale = self.scale.astype(self.dtype)
        if scale.ndim == 0:
            return rates @ vectors / scale
        return rates @ self.weighted(vectors)

"""Linear networks on tasks and in loops, modulo a prime: outputs, loss, and slopes along S."""

from collections.abc import Sequence
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np

from lrnn_jax._checks import shown
from lrnn_jax.environments import ClosedLoop
from lrnn_jax.inference._modular import Jets, Ring, stacked
from lrnn_jax.overlaps import Roles
from lrnn_jax.tasks import ExponentialFilter, ImpulseResponse, OscillatingFilter


class Observed(NamedTuple):
    """What one epoch shows, and the slope it learns by.

    Fields: outputs, one column; loss, 1×1; slope, ∂L/∂S.
    """

    outputs: Jets
    loss: Jets
    slope: Jets


class System(NamedTuple):
    """A linear system that depends on S = [S_z; S_v], rows of read-outs above those of V.

        X_{t+1} = (base + into_v S_v κ + into_z S_z κ) X_t,      κ: latents of the state
        y_t = S_z κ X_t, or seen X_t where that is given;      L = Σ_t ‖y_t − F_t‖²

    Fields: base, (n, n); into_v, (n, r); into_z, (n, d_out) or None; latents κ, (d, n); start X_0,
        (n, trials); seen, (o, n) or None; target F, one matrix for each step; first, the first step
        that counts; dt of a task's network, 1×1; steps of the objective, of which few are taken.

    >>> made = inference.system(task, net.roles, inference.Ring(order=1, directions=0))
    >>> made.base.shape, len(made.target), made.steps
    ((2, 2), 6, 50)
    """

    base: Jets
    into_v: Jets
    into_z: Jets | None
    latents: Jets
    start: Jets
    seen: Jets | None
    target: Sequence[Jets]
    first: int
    dt: Jets | None = None
    steps: int = 0

    def observe(self, s: Jets, outputs: int) -> Observed:
        """Outputs, loss and slope, by adjoints."""
        s_z, s_v = s[:outputs], s[outputs:]
        step = self.base + self.into_v @ s_v @ self.latents
        if self.into_z is not None:
            step = step + self.into_z @ s_z @ self.latents
        read = s_z @ self.latents if self.seen is None else self.seen
        states = [self.start]
        for _ in range(self.first + len(self.target) - 1):
            states.append(step @ states[-1])
        counted = states[self.first :]
        ys = [read @ x for x in counted]
        errors = [y - f for y, f in zip(ys, self.target)]
        loss = sum((e.squares() for e in errors[1:]), errors[0].squares())
        twice = [None] * self.first + [e + e for e in errors]
        back, g_z, g_v = None, None, None
        for x, e in zip(states[::-1], twice[::-1]):
            kappa = (self.latents @ x).T
            parts = [] if back is None or self.into_z is None else [self.into_z.T @ back @ kappa]
            parts += [e @ kappa] if self.seen is None and e is not None else []
            g_z = _sum(g_z, *parts)
            g_v = _sum(g_v, *([] if back is None else [self.into_v.T @ back @ kappa]))
            terms = ([] if back is None else [step.T @ back]) + ([] if e is None else [read.T @ e])
            back = _sum(None, *terms)
        assert g_z is not None
        assert g_v is not None
        return Observed(stacked([[y.rows()] for y in ys]), loss, stacked([[g_z], [g_v]]))


def _sum(*terms: Jets | None) -> Any:
    there = [x for x in terms if x is not None]
    return sum(there[1:], there[0]) if there else None


@singledispatch
def system(objective: Any, roles: Roles, ring: Ring) -> System:
    """A system with generic numbers and the objective's structure; few steps are as good as many.

    Exact ranks of a task or loop of your own: `inference.system.register(Own)` of such a function.

    Arguments: the objective; the network's roles; the ring that makes numbers.

    Errors: ValueError for an objective that is no linear task or loop.

    >>> loops = inference.system(loop, net.roles, inference.Ring(order=1, directions=0))
    >>> loops.dt is None, loops.first
    (True, 1)
    """
    raise ValueError(
        f"`objective` must be a filter task or a ClosedLoop of a linear plant, whose exact rank "
        f"can be found; got {shown(objective)}."
    )


@system.register(ImpulseResponse)
@system.register(ExponentialFilter)
@system.register(OscillatingFilter)
def _(objective: Any, roles: Roles, ring: Ring) -> System:
    r, i, o = roles.rank, roles.inputs, roles.outputs
    dt, d = ring.random(), r + i
    steps = min(objective.steps, 2 * r + 4)
    return System(
        base=ring.eye(d) * (ring.eye(1) - dt),
        into_v=stacked([[ring.zeros(i, r)], [ring.eye(r) * dt]]),
        into_z=None,
        latents=ring.eye(d),
        start=stacked([[ring.eye(i)], [ring.zeros(r, i)]]),
        seen=None,
        target=[ring.random(o, i) for _ in range(steps)],
        first=0,
        dt=dt,
        steps=objective.steps,
    )


@system.register
def _(objective: ClosedLoop, roles: Roles, ring: Ring) -> System:
    plant, r, i, o = objective.plant, roles.rank, roles.inputs, roles.outputs
    if plant.matrices is None or float(objective.control_cost):
        raise ValueError(
            f"`objective` must be a loop of a linear plant without control cost, whose exact rank "
            f"can be found; got {type(plant).__name__}."
        )
    a, b, c = (ring.exact(np.asarray(x)) for x in plant.matrices[:3])
    n, dt = a.shape[0], ring.random()
    keep = ring.eye(1) - dt
    seen = c @ a * dt
    base = stacked(
        [
            [a, ring.zeros(n, i), ring.zeros(n, r)],
            [seen, ring.eye(i) * keep, ring.zeros(i, r)],
            [ring.zeros(r, n), ring.zeros(r, i), ring.eye(r) * keep],
        ]
    )
    steps = min(objective.horizon, n + 2 * r + 2)
    return System(
        base=base,
        into_v=stacked([[ring.zeros(n + i, r)], [ring.eye(r) * dt]]),
        into_z=stacked([[b], [c @ b * dt], [ring.zeros(r, o)]]),
        latents=stacked([[ring.zeros(r + i, n), ring.eye(r + i)]]),
        start=stacked([[ring.eye(n)], [ring.zeros(r + i, n)]]),
        seen=stacked([[ring.eye(n), ring.zeros(n, r + i)]]),
        target=[ring.zeros(n, n) for _ in range(steps)],
        first=1,
    )

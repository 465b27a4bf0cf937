"""What learning rules write into a linear network on a task, modulo a prime."""

from lrnn_jax.inference._modular import Jets, Ring, stacked
from lrnn_jax.inference._systems import System
from lrnn_jax.overlaps import Roles
from lrnn_jax.rules import Backward


class Columns:
    """A linear network in the coefficients of its columns Θ, those that a rule holds fixed too.

        h_{t+1} = (1 − dt) h_t + dt U (Vᵀh_t),      h_0 = M

    Arguments:
        system: a task.
        gram: ΘᵀΘ/s.
        roles: of its columns.
        ring: makes numbers.

    >>> ring = inference.Ring(order=1, directions=0)
    >>> theta = ring.random(7, 4)
    >>> linear = inference.system(task, net.roles, ring)
    >>> columns = inference.Columns(linear, theta.T @ theta, net.roles, ring)
    >>> columns.direction(lrnn.EProp().backward).shape
    (4, 4)
    """

    def __init__(self, system: System, gram: Jets, roles: Roles, ring: Ring):
        assert system.dt is not None
        self.system, self.gram, self.at, self.dt = system, gram, roles.slices, system.dt
        self.keep, self.unit = ring.eye(1) - system.dt, ring.eye(roles.size)
        self.nothing = ring.zeros(roles.size, roles.size - roles.right)

    def moved(self, x: Jets, to: str, by: str) -> Jets:
        """(1 − dt) x + dt · to (byᵀx): a state by U and V, a signal by V and U."""
        return x * self.keep + self.unit[:, self.at[to]] @ (self.gram[self.at[by]] @ x) * self.dt

    def direction(self, way: Backward) -> Jets:
        """A of the direction ΘA, against which a rule learns.

        A_z = Σ h_t e_tᵀ,   A_v = dt Σ h_t (Uᵀa_{t+1})ᵀ,   A_m = a_0,   A_u = dt Σ a_{t+1} (Vᵀh_t)ᵀ
        """
        at, gram, target = self.at, self.gram, self.system.target
        h = [self.unit[:, at["m"]]]
        for _ in target[1:]:
            h.append(self.moved(h[-1], "u", "v"))
        misses = [gram[at["z"]] @ x - f for x, f in zip(h, target)]
        errors = [e + e for e in misses]
        a = self.signals([self.unit[:, at[way.source]] @ e for e in errors], way)
        z = [x @ e.T for x, e in zip(h, errors)]
        v = [x @ (gram[at["u"]] @ later).T * self.dt for x, later in zip(h, a[1:])]
        u = [later @ (gram[at["v"]] @ x).T * self.dt for x, later in zip(h, a[1:])]
        columns = [sum(x[1:], x[0]) for x in (z, v, a[:1], u)]
        return stacked([[*columns, self.nothing]])

    def signals(self, sources: list[Jets], way: Backward) -> list[Jets]:
        """a_t: what errors are at neurons, sent back in time."""

        def carried(a: Jets) -> Jets:
            if not way.carried:
                return a * self.keep
            return self.moved(a, way.carried, {"v": "u", "c": "g"}[way.carried])

        window, steps = way.window, len(sources)
        if window is not None:  # a part of a trial stays one
            window = steps if window >= self.system.steps else min(window, steps - 1)
        found = [sources[-1]]
        for t in range(steps - 2, -1, -1):
            if window is None or way.chunks:
                cut = window is not None and (t + 1) % window == 0
                found.append(sources[t] if cut else sources[t] + carried(found[-1]))
                continue
            a = sources[min(t + window, steps) - 1]
            for s in range(min(t + window, steps) - 2, t - 1, -1):
                a = sources[s] + carried(a)
            found.append(a)
        return found[::-1]

"""Exact generic rank of what learning shows of overlaps, in arithmetic modulo a prime."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Int

from lrnn_jax._checks import component, names, whole
from lrnn_jax.inference._images import Direction, symmetries
from lrnn_jax.inference._methods import Traits, traits
from lrnn_jax.inference._modular import PRIME, Echelon, Jets, Ring, stacked
from lrnn_jax.inference._systems import Observed, System, system
from lrnn_jax.inference._written import Columns
from lrnn_jax.learning import AbstractMethod
from lrnn_jax.overlaps import AbstractOverlapModel, Roles
from lrnn_jax.tasks import AbstractObjective

KINDS = ("outputs", "loss", "visible")
UNKNOWN = ("lr", "momentum", "gain", "offset")


class Ranks(eqx.Module):
    """How many numbers each kind of observation fixes, exactly, for all but special overlaps.

    Fields:
        epochs: 0 … E.
        outputs, loss, visible: rank after each epoch, if all epochs so far are observed; of the
            outputs y, of the loss alone, and of the visible overlaps S.
        parameters: what is unknown: overlaps by name, then learning rate and so on.
        null: by kind, names of symmetries' directions that the kind does not see.
        unnamed: by kind, how many directions are not seen and are none of these (not yet, or never:
            more epochs tell).

    >>> found = inference.exact_ranks(task, lrnn.Flow(1e-2), net, epochs=3)
    >>> found.visible.tolist(), found.null["visible"]
    ([4, 8, 9, 9], ('flat',))
    """

    epochs: Int[np.ndarray, " epoch"]
    outputs: Int[np.ndarray, " epoch"]
    loss: Int[np.ndarray, " epoch"]
    visible: Int[np.ndarray, " epoch"]
    parameters: tuple[str, ...] = eqx.field(static=True)
    null: dict[str, tuple[str, ...]] = eqx.field(static=True)
    unnamed: dict[str, int] = eqx.field(static=True)


def exact_ranks(
    objective: AbstractObjective,
    method: AbstractMethod,
    overlaps: AbstractOverlapModel,
    *,
    epochs: int,
    unknown: tuple[str, ...] = (),
    seed: int = 0,
) -> Ranks:
    """The exact generic rank of ∂(observations)/∂(Q, unknowns), epoch by epoch.

    Outputs, losses and steps of descent are polynomials of Q and η. They are computed with
    derivatives for random numbers modulo p = 2³¹ − 1, where elimination is exact: the rank is the
    one of all but special overlaps with probability 1 − O(10⁻⁸), without any tolerance. For `Flow`,
    numbers are series in time, and "after epoch e" means derivatives in time up to order e. Fixed
    vectors of a rule are orthogonal to all others, as those that a `key` draws for a reduction.

    Arguments:
        objective: a filter task, or a `ClosedLoop` of a linear plant. Only its structure counts;
            target and step are generic.
        method: `Descent` (momentum, rates) or `Flow`, with any rule that sends errors back; its
            multipliers are taken as they are.
        overlaps: a model whose roles and frozen columns count; values do not.
        epochs: E, updates.
        unknown: what is to be found beside Q: "lr", "momentum", and "gain", "offset" of what is
            observed (not of S).
        seed: of the random numbers; every seed gives the same ranks.

    Errors: ValueError for other objectives and methods, a rule that is not for this objective, a
    network that is not linear or has biases, names that are unknown.

    Source: ours.

    >>> inference.exact_ranks(task, descent, net, epochs=4, unknown=("lr",)).outputs.tolist()
    [3, 6, 9, 11, 11]
    """
    component(objective, AbstractObjective, "objective", "ExponentialFilter(…), or ClosedLoop(…)")
    component(overlaps, AbstractOverlapModel, "overlaps", "Overlaps, a network, or a reduction")
    how, epochs = traits(method), whole(epochs, "epochs", 0)
    how.rule.check(objective)
    unknown, seed = names(unknown, "unknown", UNKNOWN), whole(seed, "seed", 0)
    if not how.plain:
        raise ValueError(
            "`method` must take polynomial steps for an exact rank: no clip, decay, Nesterov or "
            "schedule, neither normalised nor Muon."
        )
    if "momentum" in unknown and not how.momentum:
        raise ValueError("`unknown` names the momentum, but `method` has none.")
    roles = overlaps.roles
    if not overlaps.linear or roles.size > 2 * roles.rank + roles.inputs + roles.outputs:
        raise ValueError(
            f"`overlaps` must be those of a linear network of Z, V, M and U alone; got "
            f"{roles.describe()}."
        )
    return _ranks(objective, how, overlaps, epochs, unknown, seed)


def _ranks(
    objective: Any,
    how: Traits,
    model: AbstractOverlapModel,
    epochs: int,
    unknown: tuple[str, ...],
    seed: int,
) -> Ranks:
    roles = model.roles
    overlaps = len(roles.names)
    parameters = (*roles.names, *unknown)
    ring = Ring(epochs + 1 if how.flow else 1, len(parameters), seed)
    q = ring.symmetric(roles.size, roles.pairs)
    more = {
        name: ring.variable(overlaps + unknown.index(name)) if name in unknown else ring.random()
        for name in UNKNOWN
    }
    if not {"gain", "offset"} & set(unknown):
        more |= {"gain": ring.eye(1), "offset": ring.zeros(1, 1)}
    found = {kind: Echelon(len(parameters)) for kind in KINDS}
    table = {kind: [] for kind in KINDS}
    learner = _Learner(system(objective, roles, ring), roles, ring, how, model)
    run = learner.flow if how.flow else learner.descent
    for order, (s, seen) in enumerate(run(q, more, epochs, how.momentum)):
        linked = [x * more["gain"] for x in (seen.outputs, seen.loss)]
        linked = [x + ring.constant(np.ones(x.shape)) * more["offset"] for x in linked]
        for kind, jets in zip(KINDS, (*linked, s.rows())):
            term = order if how.flow else 0
            table[kind].append(found[kind].add(jets.c[:, 0, term, 1:]))
    null = {kind: [] for kind in KINDS}
    for see in (False, True):
        for direction in symmetries(model, how, see=see)[1]:
            vector = _parameters(q, direction, roles, ring, len(unknown))
            for kind in KINDS:
                if (kind == "visible") == see and found[kind].annihilates(vector):
                    null[kind].append(direction.name)
    return Ranks(
        epochs=np.arange(epochs + 1),
        **{kind: np.array(table[kind]) for kind in KINDS},
        parameters=parameters,
        null={kind: tuple(named) for kind, named in null.items()},
        unnamed={k: len(parameters) - found[k].rank - len(null[k]) for k in KINDS},
    )


class _Learner:
    """Learning modulo a prime: Q' = (1 − ηA)ᵀ Q (1 − ηA), with momentum, or its flow.

    A = ΓD for the gradient; another rule has fixed columns beside those of the network.
    """

    def __init__(
        self, linear: System, roles: Roles, ring: Ring, how: Traits, model: AbstractOverlapModel
    ):
        way = how.backward
        fixed = {"feedback": roles.outputs * (way.source == "f")}
        fixed |= {"through": roles.rank * (way.carried == "c")}
        self.system, self.ring, self.how = linear, ring, how
        self.roles = replace(roles, **fixed)
        self.more = self.roles.size - roles.size
        d = (*model.multipliers(how.rates), *[0.0] * self.more)
        self.d = ring.exact(np.diag(d))

    def begun(self, q: Jets) -> Jets:
        """QᵀQ with that of the fixed columns."""
        if not self.more:
            return q
        rows, zeros = q.shape[0], self.ring.zeros
        below = [zeros(self.more, rows), self.ring.eye(self.more)]
        return stacked([[q, zeros(rows, self.more)], below])

    def gamma(self, q: Jets) -> tuple[Jets, Observed, Jets]:
        """S, what is observed, and A."""
        left, right = self.roles.left, self.roles.right
        s = q[:left, left:right]
        seen = self.system.observe(s, self.roles.outputs)
        if not self.how.gradient:
            columns = Columns(self.system, q, self.roles, self.ring)
            return s, seen, columns.direction(self.how.backward) @ self.d
        g, zeros = seen.slope, self.ring.zeros
        gamma = stacked([[zeros(left, left), g], [g.T, zeros(right - left, right - left)]])
        return s, seen, gamma @ self.d

    def descent(
        self, q0: Jets, more: dict[str, Jets], epochs: int, momentum: bool
    ) -> Iterator[tuple[Jets, Observed]]:
        """S and what is observed at each epoch."""
        q0, t, memory = self.begun(q0), self.ring.eye(self.roles.size), None
        for epoch in range(epochs + 1):
            s, seen, gamma = self.gamma(t.T @ q0 @ t)
            yield s, seen
            if epoch < epochs:
                change = t @ gamma
                if momentum and memory is not None:
                    change = change + memory * more["momentum"]
                memory = change
                t = t - memory * more["lr"]

    def flow(
        self, q0: Jets, more: dict[str, Jets], epochs: int, momentum: bool
    ) -> list[tuple[Jets, Observed]]:
        """S and what is observed, as series in time, once for each order, by Picard iteration."""
        q = q0 = self.begun(q0)
        for _ in range(epochs):
            change = q @ self.gamma(q)[2] * more["lr"]
            q = q0 - (change + change.T).integral()
        s, seen, _ = self.gamma(q)
        return [(s, seen)] * (epochs + 1)


def _parameters(
    q: Jets, direction: Direction, roles: Roles, ring: Ring, more: int
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The tangent AᵀQ + QA + B at the random Q, as a change of the parameters."""
    turn = q @ ring.exact(direction.a)
    change = (turn + turn.T + ring.exact(direction.b)).c[:, :, 0, 0]
    rows, columns = np.array(roles.pairs).T
    return np.r_[change[rows, columns] % PRIME, np.zeros(more, np.int64)]

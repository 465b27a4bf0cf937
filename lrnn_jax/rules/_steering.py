"""Which overlaps can change the course of what a loss sees: they steer; others record alone."""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from lrnn_jax._checks import component, names, number, whole
from lrnn_jax.overlaps import Overlaps, Roles, from_vector, visible
from lrnn_jax.reduced import ReducedRNN
from lrnn_jax.rules._base import AbstractRule, Backward, EpochLoss
from lrnn_jax.tasks import AbstractTask


class Steering(eqx.Module):
    """Overlaps on which the course of the visible ones depends, under a rule, in linear networks.

    Arguments:
        roles: the columns of Q, with those that the rule holds fixed.
        mask: True where an entry of Q steers, shape (k, k), symmetric.

    >>> found = rules.steering(lrnn.RFLO(key=key), net.roles)
    >>> len(found.steering), found.hidden
    (12, ('mu', 'mm', 'uu', 'zf', 'vf', 'mf', 'uf', 'ff'))
    """

    roles: Roles = eqx.field(static=True)
    mask: Bool[np.ndarray, "k k"]

    @property
    def steering(self) -> tuple[str, ...]:
        """Names of the overlaps that steer, visible or not."""
        return tuple(n for n, pair in zip(self.roles.names, self.roles.pairs) if self.mask[pair])

    @property
    def hidden(self) -> tuple[str, ...]:
        """Those that steer and that no loss sees: they act by learning alone."""
        seen = visible(self.roles).visible
        return tuple(name for name in self.steering if name not in seen)

    @property
    def silent(self) -> tuple[str, ...]:
        """Those that neither a loss nor learning sees, though learning may write them."""
        return tuple(name for name in self.roles.names if name not in self.steering)


def steering(rule: AbstractRule, roles: Roles, *, frozen: tuple[str, ...] = ()) -> Steering:
    """Which overlaps can steer learning in a linear network, by the structure of the rule.

        dQ = −η (AᵀQ + QA),      A_Z, A_V: coefficients of writing vectors;  A_M, A_U of the columns
                                 of α (source, and what carries it);  factors Q_U α and Q_V f

    Starting from S = [Z V]ᵀ[M U]/s, all that the change of any steering overlap contains steers
    too. Rank 1: all ten under the gradient, 12 of 15 under RFLO, where zz, zv, vv never do.

    Arguments:
        rule: the gradient, or another rule that says how errors go back.
        roles: of the network, e.g. `net.roles`; fixed vectors are added.
        frozen: families that do not learn, such as ("m",).

    Errors: ValueError for a rule that does not say (perturbation), and families it does not have.

    Source: ours.

    >>> len(rules.steering(lrnn.Gradient(), net.roles).steering)
    10
    >>> rules.steering(lrnn.RFLO(key=key), net.roles).silent
    ('zv', 'vv', 'zz')
    >>> rules.steering(lrnn.Gradient(), net.roles, frozen=("z", "v")).silent
    ('mu', 'mm', 'uu')
    """
    way, roles = _way(rule), component(roles, Roles, "roles", "net.roles")
    still = names(frozen, "frozen", tuple(roles.sizes))
    through = roles.rank * (way.carried == "c")
    roles = replace(roles, feedback=roles.outputs * (way.source == "f"), through=through)
    write = [f for f in "mubh" if f in roles.sizes]
    carries = way.carried and way.window != 1
    alpha = {way.source, way.carried} if carries else {way.source}
    reaches = {("u", a) for a in alpha}
    carried = {({"v": "u", "c": "g"}[way.carried], a) for a in alpha} if carries else set()
    seen = {(a, b) for a in "zv" for b in write}
    columns = {f: set(write) for f in "zv"} | dict.fromkeys(write, alpha)
    factors = {"z": set(), "v": reaches | carried} | dict.fromkeys(write, carried)
    columns, factors = ({f: x[f] for f in x if f not in still} for x in (columns, factors))
    found, new = set(), {tuple(sorted(pair)) for pair in seen}
    while new:
        found |= new
        more = set()
        for pair in new:
            for a, b in (pair, pair[::-1]):
                more |= {(other, b) for other in columns.get(a, ())} | factors.get(a, set())
        new = {tuple(sorted(pair)) for pair in more} - found
    mask = np.zeros((roles.size, roles.size), bool)
    for a, b in found:
        mask[roles.slices[a], roles.slices[b]] = mask[roles.slices[b], roles.slices[a]] = True
    return Steering(roles, mask)


def _way(rule: AbstractRule) -> Backward:
    """How a rule sends errors back."""
    component(rule, AbstractRule, "rule", "RFLO(key=…)")
    if rule.backward is None:
        raise ValueError(
            f"`rule` must say how errors go back, as Gradient() and RFLO(…) do; a "
            f"{type(rule).__name__} takes no errors back."
        )
    return rule.backward


def measured_steering(
    rule: AbstractRule,
    model: ReducedRNN,
    task: AbstractTask,
    *,
    lr: ArrayLike = 0.02,
    epochs: int = 20,
    batch: Any = None,
    tolerance: float = 1e-10,
) -> Steering:
    """Which overlaps the course of the visible ones depends on, from its derivative by each of Q_0.

        ∂S_e/∂Q_0,      e ≤ epochs,      X' = X − lr · direction

    Arguments:
        rule: any that is exact on overlaps.
        model: a linear reduction at a generic point.
        task: what it learns.
        lr, epochs: learning rate, and how long.
        batch: the task's data, the same in all epochs; None for a deterministic task.
        tolerance: largest derivative that counts as zero; entries of S themselves are 1.

    Errors: ValueError for a nonlinear model, and where rule, model and task do not fit.

    Source: ours.

    >>> measured = rules.measured_steering(lrnn.EProp(), reduction, task, epochs=5)
    >>> bool((measured.mask <= rules.steering(lrnn.EProp(), net.roles).mask).all())
    True
    """
    component(rule, AbstractRule, "rule", "RFLO(key=…)")
    component(model, ReducedRNN, "model", "reduce(network)")
    component(task, AbstractTask, "task", "ExponentialFilter(…)")
    lr, epochs = number(lr, "lr", 0, open_start=True), whole(epochs, "epochs")
    tolerance = float(number(tolerance, "tolerance", 0, open_start=True))
    task.check(model)
    rule.check(task)
    start: Any = rule.space(model).network
    roles = start.roles
    slopes = _slopes(rule, start, task, batch, lr, epochs)
    moved = np.abs(np.asarray(slopes)).max(axis=(0, 1, 2)) > tolerance
    mask = np.zeros((roles.size, roles.size), bool)
    rows, columns = np.array(roles.pairs).T
    mask[rows, columns] = mask[columns, rows] = moved
    return Steering(roles, mask | visible(roles).mask)


@eqx.filter_jit
def _slopes(
    rule: AbstractRule, start: Any, task: AbstractTask, batch: Any, lr: Any, epochs: int
) -> Float[Array, "epoch a b overlap"]:
    """∂S_e/∂Q_0 at all epochs e, of what the rule's space starts from."""
    roles = start.roles

    def course(vector: Float[Array, " overlap"]) -> Array:
        begin = start.with_gram(from_vector(vector, roles))
        space = rule.space(begin)

        def step(state: Any, epoch: Array) -> tuple[Any, Array]:
            weights, memory = state
            loss = EpochLoss(task, batch, epoch, lambda model, task, batch: task.loss(model, batch))
            _, way, memory = rule.direction(space, loss, weights, memory)
            weights = jax.tree.map(lambda a, b: a - lr.astype(a.dtype) * b, weights, way)
            return (weights, memory), Overlaps(space.gram(weights), roles).S

        first = space.start, rule.init(space)
        return jax.lax.scan(step, first, jnp.arange(epochs))[1]

    return jax.jacfwd(course)(start.overlaps.vector())

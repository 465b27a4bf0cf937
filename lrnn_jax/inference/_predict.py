"""Parameters of a learning curve, and the curve as a function of them."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lrnn_jax._checks import component, names
from lrnn_jax.inference._channels import AbstractChannel
from lrnn_jax.inference._methods import traits
from lrnn_jax.learning import AbstractMethod, LearningCurve, learn
from lrnn_jax.networks import AbstractOverlapRNN
from lrnn_jax.overlaps import Overlaps, from_vector
from lrnn_jax.tasks import AbstractObjective


class Setting(eqx.Module):
    """Everything that a curve depends on but the parameters θ = (distinct entries of Q, unknowns).

    A rate is held as its logarithm, momentum as μ itself.

    Arguments:
        model: a reduction, closure or population (or a network), whose Q is replaced.
        objective: the task or loop.
        method: how it learns; a rate or momentum that is unknown is replaced.
        channel: what is seen.
        epochs: at which epochs, rising.
        stride: a divisor of all of them.
        unknown: names of what is unknown beside Q.

    >>> looks = inference.Setting(reduction, task, descent, inference.Loss(), (0, 20), 20, ("lr",))
    >>> looks.parameters[-2:]
    ('zz', 'log lr')
    >>> theta = jnp.append(net.overlaps.vector(), jnp.log(0.05))
    >>> bool(jnp.allclose(looks.predict(theta)[:, 0], curve.loss[::20]))
    True
    """

    model: AbstractOverlapRNN
    objective: AbstractObjective
    method: AbstractMethod
    channel: AbstractChannel
    epochs: tuple[int, ...] = eqx.field(static=True)
    stride: int = eqx.field(static=True)
    unknown: tuple[str, ...] = eqx.field(static=True)

    @property
    def overlaps(self) -> int:
        """How many of the parameters are overlaps."""
        return len(self.model.roles.names)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of θ; of a rate that of its logarithm."""
        said = {"lr": "log lr"}
        return (*self.model.roles.names, *(said.get(name, name) for name in self.unknown))

    def gram(self, theta: Float[Array, " parameter"]) -> Float[Array, "k k"]:
        """Q."""
        return from_vector(theta[: self.overlaps], self.model.roles)

    def at(self, theta: Float[Array, " parameter"]) -> AbstractOverlapRNN:
        """The model with these overlaps: of nodes, the nearest that have them."""
        return self.model.moved_to(Overlaps(self.gram(theta), self.model.roles))

    def usual(self) -> Float[Array, " unknown"]:
        """Unknowns as method and channel have them."""
        how = traits(self.method)
        said = {name: jnp.asarray(x) for name, x in self.channel.extra.items()}
        said["lr"] = jnp.log(how.lr) if "lr" in self.unknown else jnp.zeros(())
        if "momentum" in self.unknown:
            said["momentum"] = self.method.momentum  # pyright: ignore[reportAttributeAccessIssue]
        values = [jnp.asarray(said[name], float) for name in self.unknown]
        return jnp.stack(values) if values else jnp.zeros(0)

    def learned(self, theta: Float[Array, " parameter"], record: int) -> LearningCurve:
        """The learning curve at θ; what the channel sees is its `watched`."""
        method, given = self.method, dict(zip(self.unknown, theta[self.overlaps :]))
        if "lr" in given:
            method = eqx.tree_at(_lr, method, jnp.exp(given["lr"]))
        if "momentum" in given:
            method = eqx.tree_at(_momentum, method, given["momentum"])
        return learn(
            self.at(theta),
            self.objective,
            method,
            epochs=self.epochs[-1],
            record=record,
            watch=eqx.Partial(self.channel.look, self.objective),
            throw=False,
        )

    def expected(
        self, watched: Float[Array, "record number"], theta: Float[Array, " parameter"], record: int
    ) -> Float[Array, "epoch number"]:
        """Expected data, from what was watched at every so many epochs."""
        given = dict(zip(self.unknown, theta[self.overlaps :]))
        usual = self.channel.extra.items()
        extra = {name: given.get(name, jnp.asarray(x, theta.dtype)) for name, x in usual}
        return self.channel.link(watched[np.array(self.epochs) // record], watched[0], extra)

    def predict(self, theta: Float[Array, " parameter"]) -> Float[Array, "epoch number"]:
        """Expected data at θ."""
        return self.expected(self.learned(theta, self.stride).watched, theta, self.stride)

    def linearised(
        self, theta: Float[Array, " parameter"]
    ) -> tuple[Float[Array, " datum"], Float[Array, "datum parameter"]]:
        """Expected data, and their derivatives by forward mode: few parameters, many data."""

        def run(theta: Array) -> tuple[Array, Array]:
            y = self.predict(theta).ravel()
            return y, y

        jacobian, y = jax.jacfwd(run, has_aux=True)(theta)
        return y, jacobian


linearise = eqx.filter_jit(Setting.linearised)
"""`Setting.linearised`, compiled once for each setting."""


@eqx.filter_jit
def predict_many(
    s: Setting, thetas: Float[Array, "network parameter"]
) -> Float[Array, "network epoch number"]:
    """Expected data of several networks, compiled once for each setting."""
    return jax.vmap(s.predict)(thetas)


def _lr(method: Any) -> Any:
    return method.lr


def _momentum(method: Any) -> Any:
    return method.momentum


def setting(
    model: AbstractOverlapRNN,
    objective: AbstractObjective,
    method: AbstractMethod,
    channel: AbstractChannel,
    epochs: tuple[int, ...],
    stride: int,
    unknown: Any,
) -> Setting:
    """A setting, checked.

    Errors: ValueError for a model that its Q does not determine (a mixture, a bulk), an objective
    that draws data, a method whose steps are not exact on overlaps, unknowns without a meaning.
    """
    component(model, AbstractOverlapRNN, "model", "reduce(network), or population(…)")
    component(objective, AbstractObjective, "objective", "ExponentialFilter(…), or ClosedLoop(…)")
    component(channel, AbstractChannel, "observe", "Outputs(every=20)")
    model.moved_to(model.overlaps)  # raises where Q does not determine the model
    roles = model.roles
    if roles.size > 2 * roles.rank + roles.inputs + roles.outputs:
        raise ValueError(
            f"`model` must have Z, V, M and U alone, whose overlaps can be inferred; got "
            f"{roles.describe()}."
        )
    if objective.stochastic:
        raise ValueError(
            "`objective` must have no label noise and no minibatches: their curves scatter by more "
            "than the noise of observation, which would be taken for structure."
        )
    how = traits(method)
    known = ("lr", "momentum", *channel.extra)
    unknown = names(unknown, "unknown", known)
    if "momentum" in unknown and not how.momentum:
        raise ValueError("`unknown` names the momentum, but `method` has none.")
    if "lr" in unknown and callable(how.lr):
        raise ValueError("`unknown` names the rate, but that of `method` is a schedule.")
    objective.check(model)
    return Setting(model, objective, method, channel, epochs, stride, unknown)

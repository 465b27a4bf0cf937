"""Programs without checks that always pass: a check at run time is a call of the host, which no
GPU waits for gladly and no cache of compiled programs keeps."""

from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun


def unchecked(function: Callable[..., Any], *arrays: Any) -> Any:
    """function(*arrays) without the `error_if` of equinox on its way, but for those in loops.

    For what is right by construction, in functions of others that check it all the same.

    Arguments:
        function: of arrays; may hold others, also traced ones.
        arrays: pytrees of them.
    """
    program, shapes, rest = eqx.filter_make_jaxpr(function)(*arrays)
    found = jaxpr_as_fun(_without_checks(program))(*jax.tree.leaves(arrays))
    return eqx.combine(jax.tree.structure(shapes).unflatten(found), rest)


def _without_checks(program: ClosedJaxpr) -> ClosedJaxpr:
    """The same program, in which what a check passes on is what it was given."""
    jaxpr, same, equations = program.jaxpr, {}, []

    def now(variable: Any) -> Any:
        return variable if isinstance(variable, Literal) else same.get(variable, variable)

    for equation in jaxpr.eqns:
        taken = [now(variable) for variable in equation.invars]
        if _is_check(equation):
            start = equation.params["num_consts"]  # then comes what is passed on
            same.update(zip(equation.outvars, taken[start:]))
            continue
        inner = {
            name: _without_checks(value)
            for name, value in equation.params.items()
            if equation.primitive.name in ("jit", "pjit") and isinstance(value, ClosedJaxpr)
        }
        equations.append(equation.replace(invars=taken, params=equation.params | inner))
    outvars = [now(variable) for variable in jaxpr.outvars]
    return ClosedJaxpr(jaxpr.replace(eqns=equations, outvars=outvars), program.consts)


def _is_check(equation: JaxprEqn) -> bool:
    """Whether this is `eqx.error_if`: what it was given, or a call of the host that raises."""
    if equation.primitive.name != "custom_jvp_call":
        return False
    return any(
        inner.primitive.name == "pure_callback"
        and inner.params["callback"].callback_func.__module__.startswith("equinox.")
        for inner in _inside(equation.params["call_jaxpr"].jaxpr)
    )


def _inside(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """All equations of a program, those of programs inside it included."""
    for equation in jaxpr.eqns:
        yield equation
        parameters = list(equation.params.values())
        for inner in jax.tree.leaves(parameters, is_leaf=lambda x: isinstance(x, ClosedJaxpr)):
            if isinstance(inner, ClosedJaxpr):
                yield from _inside(inner.jaxpr)

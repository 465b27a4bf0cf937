"""Descent on overlaps in extended precision: what rounding errors are measured against."""

import functools

import numpy as np
from measure import DT, LR


def descent(model, task, epochs):
    """Q after some epochs of plain descent, from simulation and its adjoint in `np.longdouble`.

    Arguments:
        model: a linear network or reduction.
        task: an impulse-response task.
        epochs: number of updates.
    """
    roles, target = model.roles, np.asarray(task.samples, float)
    sizes = roles.outputs, roles.rank, roles.inputs
    gram = np.asarray(model.overlaps.gram, float)
    return _descent(sizes, gram.tobytes(), target.tobytes(), len(target), epochs)


@functools.cache
def _descent(sizes, gram, target, steps, epochs):
    outputs, rank, inputs = sizes
    left, size = outputs + rank, outputs + inputs + 2 * rank
    q = np.frombuffer(gram).reshape(size, size).astype(np.longdouble)
    target = np.frombuffer(target).reshape(steps, inputs, outputs).astype(np.longdouble)
    dt, lr, eye = np.longdouble(DT), np.longdouble(LR), np.eye(size, dtype=np.longdouble)
    for _ in range(epochs):
        slope = _slope(q[:outputs, left:], q[outputs:left, left:], target, dt)
        gamma = np.zeros_like(q)
        gamma[:left, left:], gamma[left:, :left] = slope, slope.T
        q = (eye - lr * gamma) @ q @ (eye - lr * gamma)
    return q


def _slope(c, s_v, target, dt):
    """∂L/∂S of dt Σ_t ‖C Aᵗ B − F_tᵀ‖², A = 1 − dt + dt [0; S_v]."""
    inputs = target.shape[1]
    a = (1 - dt) * np.eye(c.shape[1], dtype=np.longdouble)
    a[inputs:] += dt * s_v
    states = [np.eye(c.shape[1], inputs, dtype=np.longdouble)]
    for _ in target[1:]:
        states.append(a @ states[-1])
    by_c, by_a, adjoint = np.zeros_like(c), np.zeros_like(a), np.zeros_like(states[0])
    for state, wanted in zip(states[::-1], target[::-1]):
        by_a += adjoint @ state.T
        error = 2 * dt * (c @ state - wanted.T)
        by_c += error @ state.T
        adjoint = c.T @ error + a.T @ adjoint
    return np.concatenate([by_c, dt * by_a[inputs:]])

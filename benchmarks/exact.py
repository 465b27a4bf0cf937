"""What errors are measured against: learning with gradients written by hand."""

import functools

import numpy as np
import scipy.special
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


def erf_losses(network, trials, lr, epochs):
    """Losses before each update of an erf network of rank 1, by backpropagation written by hand.

    Arguments:
        network: a `LowRankRNN` with φ = erf(√π h/2), one input and one output.
        trials: `Trials` of each epoch.
        lr, epochs: η, number of updates.
    """
    z, v, m, u = (np.asarray(x)[:, 0] for x in (network.z, network.v, network.m, network.u))
    dt, n, losses = float(network.dt), len(z), []
    for e in range(epochs):
        x, target = (np.asarray(a)[e, :, :, 0].T for a in (trials.inputs, trials.target))
        mask = np.asarray(trials.mask)[e].T
        h, states = np.zeros((x.shape[1], n)), []
        for now in x:
            kappa = scipy.special.erf(np.sqrt(np.pi) / 2 * h) @ v / n
            h = (1 - dt) * h + dt * (np.outer(kappa, u) + np.outer(now, m))
            states.append(h)
        rates = [scipy.special.erf(np.sqrt(np.pi) / 2 * h) for h in states]
        error = np.stack([r @ z / n for r in rates]) - target
        losses.append(np.sum(mask * error**2) / mask.sum())
        by_y = 2 * mask * error / mask.sum()
        by_h, by = np.zeros_like(h), {name: np.zeros(n) for name in "zvmu"}
        for t in reversed(range(len(x))):
            slope = np.exp(-np.pi / 4 * states[t] ** 2)
            by["z"] += by_y[t] @ rates[t] / n
            by_h = by_h + slope * np.outer(by_y[t], z) / n
            before = rates[t - 1] if t else np.zeros_like(h)
            kappa, by_kappa = before @ v / n, dt * by_h @ u
            by["m"] += dt * x[t] @ by_h
            by["u"] += dt * kappa @ by_h
            by["v"] += by_kappa @ before / n
            earlier = states[t - 1] if t else np.zeros_like(h)
            slope = np.exp(-np.pi / 4 * earlier**2)
            by_h = (1 - dt) * by_h + slope * np.outer(by_kappa, v) / n
        z, v, m, u = (a - lr * n * by[name] for a, name in zip((z, v, m, u), "zvmu"))
    return np.array(losses)

"""Erf networks on batches of trials in PyTorch: N neurons, or the closure of their overlaps."""

import math
from typing import Any

import torch

from peers.compiling import compiled_once

CHUNK = 40  # steps per compiled graph
CLOSURE_CHUNK = 10  # compiling 40 of these takes more than ten minutes


def phi(h):
    """erf(√π h / 2)."""
    return torch.erf(math.sqrt(math.pi) / 2 * h)


def advance(h, drive, v, u, keep):
    """h_{t+1} = keep · h_t + U (Vᵀφ(h_t)) + drive_t; φ of all states after h_0, and the last."""
    rates, now = [], phi(h)
    for x in drive:
        h = torch.addmm(keep * h, torch.mm(now, v), u) + x
        now = phi(h)
        rates.append(now)
    return torch.stack(rates), h


def train_network(vectors, batches, *, dt, lr, epochs, compiled=False):
    """SGD with learning rate N·lr on z, v, m, u; loss before each update, shape (epochs,).

    Arguments:
        vectors: z, v, m, u, each of shape (N, 1).
        batches: inputs, targets, masks, each of shape (epochs, trial, time).
        dt, lr, epochs: Euler step, η, number of updates.
        compiled: torch.compile the loop over time in chunks.
    """
    z, v, m, u = (torch.tensor(x, requires_grad=True) for x in vectors)
    n = len(z)
    optimiser = torch.optim.SGD([z, v, m, u], lr=n * lr)
    run: Any = compiled_once(advance) if compiled else advance
    losses = []
    for x, target, mask in _epochs(batches, epochs):
        steps = len(x)
        drive = dt * x[..., None] * m[:, 0]
        h, parts, done = torch.zeros((x.shape[1], n), dtype=z.dtype), [], 0
        v_scaled, u_scaled = v / n, dt * u.T
        while done < steps:
            count = min(CHUNK, steps - done) if compiled else steps - done
            rates, h = run(h, drive[done : done + count], v_scaled, u_scaled, 1 - dt)
            parts.append(rates)
            done += count
        y = (torch.cat(parts) @ z)[..., 0] / n
        loss = torch.sum(mask * (y - target) ** 2) / torch.sum(mask)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    return torch.stack(losses).numpy()


def closure(kappa_m, drive, kappa_u, s, r, dt: float):
    """κ_m and κ_u after each step; gains by the formula for erf."""
    us, ms = [], []
    for x in drive:
        variance = (
            r[0, 0] * kappa_m * kappa_m
            + 2 * r[0, 1] * kappa_m * kappa_u
            + r[1, 1] * kappa_u * kappa_u
        )
        gain = torch.rsqrt(1 + math.pi / 2 * variance)
        kappa_u = kappa_u + dt * (gain * (s[1, 0] * kappa_m + s[1, 1] * kappa_u) - kappa_u)
        kappa_m = kappa_m + dt * (x - kappa_m)
        us.append(kappa_u)
        ms.append(kappa_m)
    return torch.stack(ms), torch.stack(us)


def train_closure(gram, batches, *, dt, lr, epochs, compiled=False):
    """Q' = (1 − ηΓ) Q (1 − ηΓ), columns z, v, m, u; loss before each update, shape (epochs,).

    Arguments:
        gram: Q, shape (4, 4).
        batches, dt, lr, epochs: as for `train_network`.
        compiled: torch.compile the loop over time in chunks; otherwise TorchScript.
    """
    q = torch.tensor(gram)
    eye = torch.eye(4, dtype=q.dtype)
    run: Any = compiled_once(closure) if compiled else _scripted()
    losses = []
    for x, target, mask in _epochs(batches, epochs):
        q = q.detach().requires_grad_()
        s, r = q[:2, 2:], q[2:, 2:]
        zero = torch.zeros(x.shape[1], dtype=q.dtype)
        m, u, ms, us, done = zero, zero, [], [], 0
        while done < len(x):
            count = min(CLOSURE_CHUNK, len(x) - done) if compiled else len(x)
            m_states, u_states = run(m, x[done : done + count], u, s, r, dt)
            m, u, done = m_states[-1], u_states[-1], done + count
            ms.append(m_states)
            us.append(u_states)
        m, u = torch.cat(ms), torch.cat(us)
        variance = r[0, 0] * m * m + 2 * r[0, 1] * m * u + r[1, 1] * u * u
        y = torch.rsqrt(1 + math.pi / 2 * variance) * (s[0, 0] * m + s[0, 1] * u)
        loss = torch.sum(mask * (y - target) ** 2) / torch.sum(mask)
        (slope,) = torch.autograd.grad(loss, q)
        step = eye - lr * (slope + slope.T)
        q = step.T @ q @ step
        losses.append(loss.detach())
    return torch.stack(losses).numpy()


def _epochs(batches, epochs):
    """Inputs, targets and masks of each epoch, time first."""
    for e in range(epochs):
        yield [torch.tensor(a[e].T.copy()) for a in batches]


def _scripted():
    global _closure_script
    if _closure_script is None:
        _closure_script = torch.jit.script(closure)
    return _closure_script


_closure_script = None

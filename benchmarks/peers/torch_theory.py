"""The ten overlaps of a rank-1 linear network in PyTorch: exact gradient descent on a 4×4 matrix.

The loss comes from a simulation of the two latents or from the formula for their response.
"""

import torch


@torch.jit.script
def latent_response(zm, zu, vm, vu, dt: float, steps: int):
    """y_0 … y_{T-1} by simulation of κ_u' = (1 − dt) κ_u + dt (vm κ_m + vu κ_u)."""
    k_m = torch.ones_like(zm)
    k_u = torch.zeros_like(zm)
    out = []
    for _ in range(steps):
        out.append(zm * k_m + zu * k_u)
        k_u = (1 - dt) * k_u + dt * (vm * k_m + vu * k_u)
        k_m = (1 - dt) * k_m
    return torch.stack(out)


def response_formula(zm, zu, vm, vu, powers, times, dt):
    """The same, all t at once: y_t = (zm − w) pᵗ + w qᵗ, q = 1 − dt + dt·vu, w = zu·vm/vu."""
    w = zu * vm / vu
    return (zm - w) * powers + w * (1 - dt + dt * vu) ** times


def train(gram, target, *, dt, lr, epochs, formula):
    """Q' = (1 − ηΓ) Q (1 − ηΓ), columns z, v, m, u; loss before each update, shape (epochs,).

    Arguments:
        gram: Q, shape (4, 4).
        target: impulse response, shape (T,).
        dt, lr, epochs: Euler step, η, number of updates.
        formula: use the formula for the response; otherwise simulate.
    """
    q, target = torch.tensor(gram), torch.tensor(target)
    steps = len(target)
    eye, times = torch.eye(4, dtype=q.dtype), torch.arange(steps, dtype=q.dtype)
    powers = (1 - dt) ** times
    losses = []
    for _ in range(epochs):
        s = q[:2, 2:].clone().requires_grad_()
        entries = s[0, 0], s[0, 1], s[1, 0], s[1, 1]
        if formula:
            y = response_formula(*entries, powers, times, dt)
        else:
            y = latent_response(*entries, dt, steps)
        loss = dt * torch.sum((y - target) ** 2)
        (slope,) = torch.autograd.grad(loss, s)
        gamma = torch.zeros_like(q)
        gamma[:2, 2:], gamma[2:, :2] = slope, slope.T
        step = eye - lr * gamma
        q = step.T @ q @ step
        losses.append(loss.detach())
    return torch.stack(losses).numpy(), q.numpy()

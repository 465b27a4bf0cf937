"""Full linear low-rank network in PyTorch: simulation of N neurons, autograd, plain SGD.

The rank-1 product is never formed as a matrix, the impulse is the first state, and the read-out is
one product after the loop.
"""

import torch
import torch._inductor.config

CHUNK = 80  # steps per compiled graph: a third of the time of 20, two minutes of compiling


def advance(h, v, u, keep, steps):
    """h_{t+1} = keep · h_t + u (v·h_t), `steps` times; all states."""
    states = []
    for _ in range(steps):
        h = keep * h + u * torch.dot(v, h)
        states.append(h)
    return torch.stack(states)


def train(vectors, target, *, dt, lr, epochs, compiled=False):
    """SGD with learning rate N·lr on z, v, m, u; loss before each update, shape (epochs,).

    Arguments:
        vectors: four arrays of shape (N,): z, v, m, u.
        target: impulse response, shape (T,).
        dt, lr, epochs: Euler step, η, number of updates.
        compiled: torch.compile the loop over time in chunks.
    """
    z, v, m, u = (torch.tensor(x, requires_grad=True) for x in vectors)
    target = torch.tensor(target)
    n, steps = len(z), len(target)
    optimiser = torch.optim.SGD([z, v, m, u], lr=n * lr)
    run = _compiled() if compiled else advance
    losses = []
    for _ in range(epochs):
        h, parts, done = m, [m[None]], 1
        v_scaled, u_scaled = v / n, dt * u
        while done < steps:
            count = min(CHUNK, steps - done) if compiled else steps - done
            states = run(h, v_scaled, u_scaled, 1 - dt, count)
            h, done = states[-1], done + count
            parts.append(states)
        y = torch.cat(parts) @ z / n
        loss = dt * torch.sum((y - target) ** 2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    return torch.stack(losses).numpy()


def _compiled():
    global _advance
    if _advance is None:
        torch._inductor.config.force_disable_caches = True  # compile times are reported
        _advance = torch.compile(advance, dynamic=False)
    return _advance


_advance = None

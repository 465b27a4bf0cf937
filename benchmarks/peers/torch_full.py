"""Full linear low-rank network in PyTorch: simulation of N neurons, autograd, plain SGD.

The low-rank product is never formed as a matrix, the impulse is the first state, and the read-out
is one product after the loop.
"""

from typing import Any

import torch

from peers.compiling import compiled_once

CHUNK = 80  # steps per compiled graph: a third of the time of 20, two minutes of compiling


def advance(h, v, u, keep, steps):
    """h_{t+1} = keep · h_t + U (Vᵀh_t), `steps` times; all states."""
    states = []
    for _ in range(steps):
        h = torch.addmv(keep * h, u, torch.mv(v.T, h))
        states.append(h)
    return torch.stack(states)


def advance_rank_one(h, v, u, keep, steps):
    """The same with vectors: the compiler fuses these into one pass over the neurons."""
    states = []
    for _ in range(steps):
        h = keep * h + u * torch.dot(v, h)
        states.append(h)
    return torch.stack(states)


def train(vectors, target, *, dt, lr, epochs, compiled=False):
    """SGD with learning rate N·lr on Z, V, M, U; loss before each update, shape (epochs,).

    Arguments:
        vectors: Z, V, M, U, shapes (N, 1), (N, r), (N, 1), (N, r).
        target: impulse response, shape (T,).
        dt, lr, epochs: Euler step, η, number of updates.
        compiled: torch.compile the loop over time in chunks.
    """
    one = vectors[1].shape[1] == 1
    z, v, m, u = (torch.tensor(x[:, 0] if one else x, requires_grad=True) for x in vectors)
    target = torch.tensor(target)
    n, steps = len(z), len(target)
    optimiser = torch.optim.SGD([z, v, m, u], lr=n * lr)
    run = advance_rank_one if one else advance
    run: Any = compiled_once(run) if compiled else run
    losses = []
    for _ in range(epochs):
        h, parts, done = m.reshape(n), [m.reshape(1, n)], 1
        v_scaled, u_scaled = v / n, dt * u
        while done < steps:
            count = min(CHUNK, steps - done) if compiled else steps - done
            states = run(h, v_scaled, u_scaled, 1 - dt, count)
            h, done = states[-1], done + count
            parts.append(states)
        y = torch.cat(parts) @ z.reshape(n) / n
        loss = dt * torch.sum((y - target) ** 2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    return torch.stack(losses).numpy()

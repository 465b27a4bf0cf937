"""Controllers in their loops in PyTorch: simulation of all trials, autograd, SGD or Adam.

    u_t = y(h_t),   x_{t+1} = A x_t + B u_t,   h_{t+1} = h-step(h_t, o_{t+1}),   h_0 = 0

The plants are ours with their numbers written out: the double integrator, and the tracked point.
"""

from typing import Any

import torch

from peers.compiling import compiled_once


def double_integrator(dtype):
    """A and B of x_1' = x_1 + x_2, x_2' = x_2 + u."""
    return torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=dtype), torch.tensor(
        [0.0, 1.0], dtype=dtype
    )


def low_rank_loop(x, z, v, m, u, a, b, steps: int):
    """States x_1 … x_T of a linear low-rank controller that sees x_1, dt = 1, s = 1."""
    h = torch.zeros((x.shape[0], z.shape[0]), dtype=x.dtype)
    states = []
    for _ in range(steps):
        x = x @ a.T + (h @ z) * b
        h = torch.addmm(x[:, :1] @ m.T, h @ v, u.T)
        states.append(x)
    return torch.stack(states)


def overlap_loop(x, s, a, b, steps: int):
    """The same from the overlaps: κ = (κ_m, κ_u)."""
    m = torch.zeros(x.shape[0], dtype=x.dtype)
    u = torch.zeros(x.shape[0], dtype=x.dtype)
    states = []
    for _ in range(steps):
        control = s[0, 0] * m + s[0, 1] * u
        x = x @ a.T + control[:, None] * b
        u = s[1, 0] * m + s[1, 1] * u
        m = x[:, 0]
        states.append(x)
    return torch.stack(states)


def dense_loop(x, w, w_in, w_out, a, b, steps: int):
    """States and controls of a dense tanh controller, dt = 1."""
    h = torch.zeros((x.shape[0], w.shape[0]), dtype=x.dtype)
    states, controls = [], []
    for _ in range(steps):
        control = h @ w_out.T
        x = x @ a.T + control * b
        h = torch.tanh(torch.addmm(x[:, :1] @ w_in.T, h, w.T))
        states.append(x)
        controls.append(control)
    return torch.stack(states), torch.stack(controls)


def open_loop(seen, w, w_in, w_out):
    """Outputs of a dense tanh network on given observations, time first; dt = 1."""
    drive = seen @ w_in.T
    h, states = torch.zeros_like(drive[0]), []
    for now in drive:
        h = torch.tanh(torch.addmm(now, h, w.T))
        states.append(h)
    return torch.stack(states) @ w_out.T


def tracking_loop(signals, w, w_in, w_out, dt: float, clamp: float):
    """Positions p_1 … p_T of a dense linear controller; signals, shape (T, trial, 2)."""
    p = torch.zeros_like(signals[0])
    v = torch.zeros_like(p)
    h = torch.zeros((p.shape[0], w.shape[0]), dtype=p.dtype)
    positions = []
    for r in signals:
        control = h @ w_out.T
        p, v = (p + dt * v).clamp(-clamp, clamp), (v + dt * control).clamp(-clamp, clamp)
        drive = torch.addmm(torch.cat([p, r], dim=1) @ w_in.T, h, w.T)
        h = h + dt * (drive - h)
        positions.append(p)
    return torch.stack(positions)


def train_low_rank(vectors, starts, *, horizon, lr, clip, frozen_m=True, compiled=False):
    """Clipped SGD on Z, V, M, U; loss before each update, shape (epochs,).

    Arguments:
        vectors: Z, V, M, U, each of shape (N, 1).
        starts: x_0, shape (epochs, trial, 2).
        horizon, lr, clip: T, η, bound on the gradient's norm.
    """
    weights = [torch.tensor(x, requires_grad=True) for x in vectors]
    weights[2].requires_grad_(not frozen_m)
    a, b = double_integrator(weights[0].dtype)
    run: Any = compiled_once(low_rank_loop) if compiled else low_rank_loop
    learned = [w for w in weights if w.requires_grad]

    def loss_of(x):
        return torch.mean(run(x, *weights, a, b, horizon) ** 2)

    return _descend(learned, loss_of, starts, torch.optim.SGD(learned, lr=lr), clip)


def train_overlaps(gram, starts, *, horizon, lr, clip, compiled=False):
    """Q' = (1 − ηΓD) … of the reduction, M frozen; loss before each update, shape (epochs,)."""
    q = torch.tensor(gram)
    eye, free = torch.eye(4, dtype=q.dtype), torch.tensor([1.0, 1.0, 0.0, 1.0], dtype=q.dtype)
    a, b = double_integrator(q.dtype)
    run: Any = compiled_once(overlap_loop) if compiled else overlap_loop
    losses = []
    for x in torch.tensor(starts):
        s = q[:2, 2:].clone().requires_grad_()
        loss = torch.mean(run(x, s, a, b, horizon) ** 2)
        (slope,) = torch.autograd.grad(loss, s)
        gamma = torch.zeros_like(q)
        gamma[:2, 2:], gamma[2:, :2] = slope, slope.T
        gamma = gamma * free
        size = torch.sqrt(torch.trace(gamma.T @ q @ gamma))
        step = eye - lr * min(1.0, clip / float(size)) * gamma
        q = step.T @ q @ step
        losses.append(loss.detach())
    return torch.stack(losses).numpy()


def train_dense(weights, starts, *, horizon, lr, clip, control_cost, compiled=False):
    """Clipped SGD on W, W_in, W_out in the loop of the double integrator; losses."""
    weights = [torch.tensor(x, requires_grad=True) for x in weights]
    a, b = double_integrator(weights[0].dtype)
    run: Any = compiled_once(dense_loop) if compiled else dense_loop

    def loss_of(x):
        states, controls = run(x, *weights, a, b, horizon)
        return torch.mean(states**2) + control_cost * horizon * torch.mean(controls**2)

    return _descend(weights, loss_of, starts, torch.optim.SGD(weights, lr=lr), clip)


def train_student(weights, teacher, observations, *, lr, clip, compiled=False):
    """Clipped SGD on W, W_in, W_out to imitate a teacher; losses.

    Arguments:
        weights, teacher: W, W_in, W_out of each.
        observations: shape (epochs, trial, time, 1).
    """
    weights = [torch.tensor(x, requires_grad=True) for x in weights]
    teacher = [torch.tensor(x) for x in teacher]
    run: Any = compiled_once(open_loop) if compiled else open_loop

    def loss_of(seen):
        seen = seen.transpose(0, 1).contiguous()
        with torch.no_grad():
            wanted = open_loop(seen, *teacher)
        return torch.mean((run(seen, *weights) - wanted) ** 2)

    return _descend(weights, loss_of, observations, torch.optim.SGD(weights, lr=lr), clip)


def train_tracking(weights, signals, *, dt, clamp, lr, compiled=False):
    """Adam on W, W_in, W_out of the linear controller; signals, shape (epochs, T, trial, 2)."""
    weights = [torch.tensor(x, requires_grad=True) for x in weights]
    run: Any = compiled_once(tracking_loop) if compiled else tracking_loop

    def loss_of(r):
        return torch.mean(torch.sum((run(r, *weights, dt, clamp) - r) ** 2, dim=-1))

    return _descend(weights, loss_of, signals, torch.optim.Adam(weights, lr=lr), None)


def _descend(weights, loss_of, data, optimiser, clip):
    """Loss before each update, shape (epochs,)."""
    losses = []
    for now in data:
        loss = loss_of(torch.tensor(now))
        optimiser.zero_grad()
        loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(weights, clip)
        optimiser.step()
        losses.append(loss.detach())
    return torch.stack(losses).numpy()

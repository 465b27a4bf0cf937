"""Gradient flow of the ten overlaps of a rank-1 linear network with NumPy and SciPy."""

import numpy as np
from scipy.integrate import solve_ivp


def flow(gram, target, *, dt, lr, epochs, rtol=1e-9, atol=1e-11):
    """dQ/de = −η (ΓQ + QΓ) from the formula for the response and its derivatives.

    Arguments:
        gram: Q, shape (4, 4), columns z, v, m, u.
        target: impulse response, shape (T,).
        dt, lr, epochs: Euler step, η, time in units of updates.
        rtol, atol: tolerances of DOP853.

    Returns: Q at epochs 0 … epochs, shape (epochs + 1, 4, 4).
    """
    times = np.arange(len(target), dtype=float)
    p = 1 - dt
    powers = p**times

    def slope(_, flat):
        q = flat.reshape(4, 4)
        (zm, zu), (vm, vu) = q[:2, 2:]
        pole = p + dt * vu
        grown = pole**times
        d = (grown - powers) / vu  # response to vu through the loop, times zu·vm
        error = 2 * dt * (zm * powers + zu * vm * d - target)
        by_pole = (times * grown / pole * dt - d) / vu
        along = error @ d
        gamma = np.zeros((4, 4))
        gamma[:2, 2:] = [[error @ powers, vm * along], [zu * along, zu * vm * (error @ by_pole)]]
        gamma += gamma.T
        return (-lr * (gamma @ q + q @ gamma)).ravel()

    solution = solve_ivp(
        slope,
        (0.0, float(epochs)),
        np.asarray(gram, float).ravel(),
        method="DOP853",
        t_eval=np.arange(epochs + 1.0),
        rtol=rtol,
        atol=atol,
    )
    return solution.y.T.reshape(-1, 4, 4)

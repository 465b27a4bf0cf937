"""What the theory says about a user's own network."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from lrnn_jax._checks import component, whole
from lrnn_jax.experiments._analysis_base import SHARE, AnalysisConfig
from lrnn_jax.experiments._analysis_linear import analyse_linear, linear_notes
from lrnn_jax.experiments._analysis_nonlinear import analyse_nonlinear, nonlinear_notes
from lrnn_jax.experiments._analysis_spectrum import MOST, analyse_spectrum, spectrum_notes, too_high
from lrnn_jax.experiments._base import Experiment, experiment
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.networks import (
    AbstractDenseRNN,
    CurrentRNN,
    Factorisation,
    LowRankRNN,
    check_factorisable,
    describe,
    factorise,
    recurrent_change,
)
from lrnn_jax.tasks import AbstractTask

_OURS: dict[str, Any] = {"source": "ours", "quick": AnalysisConfig()}


def analyse(
    network: LowRankRNN | AbstractDenseRNN,
    *,
    task: AbstractTask | None = None,
    rank: int | None = None,
    energy: float | None = None,
    initial: AbstractDenseRNN | None = None,
    remarks: Sequence[str] = (),
) -> Experiment:
    """What the theory says about your own network: an experiment, run by calling it with a config.

        experiment = experiments.analyse(lrnn.load_network("net.pt", dt=0.2))
        print(experiment.before)
        report = experiment()
        report.draw()

    Linear networks: overlaps, what a loss sees of them, what is conserved, how learning would go.
    Nonlinear ones: what outputs depend on (measured), how Gaussian the loadings are, how far
    closure and population are from the network on the task's trials, and learning predicted by
    each. Dense ones are factorised first. Where more than rank 10 would be kept, or more than 5 %
    of the norm of W discarded, and no `rank` is given, and where no low-rank network equals them:
    the spectrum of W in place of all that, and what can be done.

    Arguments:
        network: low-rank or dense, e.g. from `load_network`.
        task: what it would learn; default the config's filter, on white noise for nonlinear ones.
        rank: r to keep of W, also of a low-rank network; or
        energy: keep the fewest singular values whose Σσ² reaches this share; default as many as
            discard 5 % of the norm of W.
        initial: the dense network before learning: ΔW = W − W_0 is analysed in place of W.
        remarks: sentences that are told first; default what the network is.

    Errors: ValueError for another network, ranks out of range, rank and energy both, an `initial`
    of another size or of a low-rank network; when it runs, those of `learn`.

    Source: ours.

    >>> analysis = experiments.analyse(net)
    >>> analysis.name, analysis.source
    ('analyse', 'ours')
    """
    such_as = "LowRankRNN(…), or CurrentRNN(w, w_in, w_out, dt=…)"
    component(network, (LowRankRNN, AbstractDenseRNN), "network", such_as)
    lines = [*remarks] or [f"{describe(network)}."]
    dense, own = _as_dense(network), network.roles.rank if network.roles else None
    rank = None if rank is None else whole(rank, "rank", most=network.state_size)
    given = rank is not None or energy is not None
    if own and initial is not None:
        raise ValueError("`initial` is for dense networks: a low-rank one holds no W_0.")
    if own and (rank == own or (own <= MOST and not given)):
        return _of_low_rank(network, None, task, lines)
    w = recurrent_change(dense, initial)
    lines += [] if initial is None else [_of_change(w, np.asarray(initial.w))]
    try:
        check_factorisable(dense)
    except ValueError as why:
        return _of_spectrum(network, w, lines, str(why))
    share = energy if given else 1 - SHARE**2
    scale = 1.0 if dense.activation.linear else float(network.state_size)
    found = factorise(dense, rank=rank, energy=share, scale=scale, initial=initial)
    lines.append(f"W: {found}" if initial is None else f"ΔW: {found}")
    if rank is None and (found.rank > MOST or found.discarded > SHARE * (1 + 1e-9)):
        return _of_spectrum(network, w, lines, too_high(found, w))
    return _of_low_rank(found.network, found, task, lines)


def _of_low_rank(
    network: Any, factorisation: Factorisation | None, task: AbstractTask | None, lines: list[str]
) -> Experiment:
    """The analysis of a low-rank network, by whether it is linear."""
    linear = network.linear and network.readout_activation.linear
    if not linear and network.scale.ndim == 0 and float(network.scale) != network.state_size:
        lines.append(
            f"The scaling s = {float(network.scale):g} becomes s = N, which the closure takes: the "
            f"same network with Z times N/s, V and U times √(N/s), and the learning rates of these."
        )
        network = _in_mean_scaling(network)
    run, notes = (analyse_linear, linear_notes) if linear else (analyse_nonlinear, nonlinear_notes)

    @experiment(seconds=(20, 20), before=tuple(lines), notes=notes, **_OURS)
    def analyse(config: AnalysisConfig, recorder: Recorder) -> Any:
        """What the theory says about your own network."""
        return run(network, factorisation, task, config, recorder)

    return analyse


def _of_spectrum(network: Any, w: np.ndarray, lines: list[str], offer: str) -> Experiment:
    """The analysis of weights that are not of low rank."""
    lines += [
        offer,
        "Trained networks are often W_0 + low rank: with the weights before learning (--initial "
        "FILE, or initial=) ΔW = W − W_0 is analysed.",
    ]

    @experiment(seconds=(10, 10), before=tuple(lines), notes=spectrum_notes, **_OURS)
    def analyse(config: AnalysisConfig, recorder: Recorder) -> Any:
        """What the weights of your own network look like."""
        return analyse_spectrum(network, w, config, recorder)

    return analyse


def _as_dense(network: Any) -> AbstractDenseRNN:
    """The same network by its matrices."""
    if network.roles is None:
        return network
    b, h0 = (None if x is None else x[:, 0] for x in (network.b, network.h0))
    return CurrentRNN(
        network.u @ network.weighted(network.v).T,
        network.m,
        network.weighted(network.z).T,
        b,
        h0=h0,
        c=network.c,
        dt=network.dt,
        activation=network.activation,
        readout=network.readout_activation,
    )


def _in_mean_scaling(network: LowRankRNN) -> LowRankRNN:
    """The same network with s = N."""
    n = jnp.asarray(network.state_size, network.scale.dtype)
    more = n / network.scale
    parts = (network.z * more, network.v * more**0.5, network.u * more**0.5, n)
    return eqx.tree_at(lambda net: (net.z, net.v, net.u, net.scale), network, parts)


def _of_change(change: np.ndarray, before: np.ndarray) -> str:
    """What it means to analyse ΔW."""
    radius = np.abs(np.linalg.eigvals(before)).max()
    return (
        f"ΔW = W − W_0 has {np.linalg.norm(change) / (np.linalg.norm(before) or 1):.3g} times the "
        f"norm of W_0 and is analysed in the place of W: what learning added, alone; W_0, of "
        f"spectral radius {radius:.3g}, stays as a fixed part, which these overlaps leave out."
    )

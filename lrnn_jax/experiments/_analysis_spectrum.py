"""What recurrent weights look like that are not of low rank."""

from typing import Any, NamedTuple

import numpy as np

from lrnn_jax.experiments._analysis_base import SHARE, AbstractAnalysis, AnalysisConfig
from lrnn_jax.experiments._base import Columns, claim, labelled
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import (
    VISIBLE,
    Figure,
    panels,
    plot_eigenvalue_plane,
    plot_lines,
    plot_singular_values,
)
from lrnn_jax.networks import AbstractRNN, Factorisation

MOST = 10
"""Rank up to which an analysis in terms of overlaps starts without being asked."""


class Spectrum(NamedTuple):
    """Singular values, eigenvalues and size of a recurrent matrix W.

    Fields:
        singular_values: σ, descending, shape (N,).
        eigenvalues: "real" and "imag", Re λ and Im λ, shape (N,).
        effective_rank: (Σσ²)²/Σσ⁴, the participation ratio.
        stable_rank: Σσ²/σ_1².
        spectral_radius: largest |λ|.
        gain: g = ‖W‖/√N: a random matrix of this norm has eigenvalues in a disk of radius g, and
            singular values up to 2g.
        threshold: 2.858 times the median σ; what is above stands out of a random bulk.
        standing_out: how many do.

    Source of the threshold: Gavish & Donoho 2014.
    """

    singular_values: np.ndarray
    eigenvalues: dict[str, np.ndarray]
    effective_rank: float
    stable_rank: float
    spectral_radius: float
    gain: float
    threshold: float
    standing_out: int

    @classmethod
    def of(cls, w: np.ndarray) -> "Spectrum":
        """The spectrum of W, shape (N, N)."""
        sigma, values = np.linalg.svd(w, compute_uv=False), np.linalg.eigvals(w)
        power = float((sigma**2).sum()) or 1.0
        rounding = len(w) * np.finfo(sigma.dtype).eps * float(sigma[0])
        threshold = max(2.858 * float(np.median(sigma)), rounding)
        return cls(
            singular_values=sigma,
            eigenvalues={"real": np.real(values), "imag": np.imag(values)},
            effective_rank=power**2 / (float((sigma**4).sum()) or 1.0),
            stable_rank=power / (float(sigma[0]) ** 2 or 1.0),
            spectral_radius=float(np.abs(values).max()),
            gain=float((power / len(w)) ** 0.5),
            threshold=threshold,
            standing_out=int((sigma > threshold).sum()),
        )


def lost(singular_values: np.ndarray, rank: int) -> float:
    """‖W − W_r‖/‖W‖ of the best approximation of rank r."""
    power = singular_values**2
    return float((power[rank:].sum() / (power.sum() or 1)) ** 0.5)


class SpectrumResults(AbstractAnalysis):
    """The spectrum of recurrent weights of high rank, and what can be done with them."""

    effective_rank: float
    stable_rank: float
    spectral_radius: float
    gain: float
    threshold: float
    standing_out: int
    ranks: dict[str, int]
    """How many singular values keep a share of Σσ²."""
    singular_values: Any = labelled("singular values of the recurrent weights", "number")
    eigenvalues: dict[str, Any] = labelled("eigenvalues of the recurrent weights", "number")

    @claim(
        f"the recurrent weights are low-rank: discarded part of the Frobenius norm at rank {MOST}",
        high=SHARE,
    )
    def discarded_at_most(self) -> float:
        return lost(self.singular_values, MOST)

    def table(self) -> Columns:
        """What is kept and discarded at some ranks."""
        n, sigma = self.neurons, self.singular_values
        some = [r for r in (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000) if r < n] + [n]
        parts = [lost(sigma, r) for r in some]
        return {
            "rank": (some, ""),
            "share of Σσ² kept": ([1 - x**2 for x in parts], ".4%"),
            "discarded ‖W − W_r‖/‖W‖": (parts, ".4f"),
            "next singular value": (np.append(sigma, 0.0)[some], ".4g"),
        }

    def draw(self) -> Figure:
        figure, axes = panels(1, 3, height=2.6)
        sigma, values = self.singular_values, self.eigenvalues
        plot_eigenvalue_plane(axes[0], values["real"] + 1j * values["imag"], self.gain)
        names = ("standing out", "bulk")
        plot_singular_values(axes[1], sigma, self.standing_out, self.threshold, names)
        ranks = range(1, len(sigma) + 1)
        parts = [lost(sigma, rank) for rank in ranks]
        plot_lines(axes[2], ranks, [(None, parts, {"color": VISIBLE[1]})])
        axes[2].axhline(SHARE, color="0.6", linewidth=0.8, linestyle="--", label=f"{SHARE:.0%}")
        axes[2].set(xlabel="rank $r$", ylabel=r"discarded $\|W - W_r\|/\|W\|$", ylim=(0, None))
        axes[2].legend()
        return figure


def analyse_spectrum(
    network: AbstractRNN, w: np.ndarray, config: AnalysisConfig, recorder: Recorder
) -> SpectrumResults:
    """Singular values and eigenvalues of W, and what its rank would be."""
    found = recorder.timed("spectrum", lambda: Spectrum.of(w))
    kept = np.cumsum(found.singular_values**2) / ((found.singular_values**2).sum() or 1)
    shares = {f"{share:.0%}": share for share in (0.5, 0.9, 0.95, 0.99)}
    return SpectrumResults(
        config=config,
        factorisation=None,
        neurons=network.state_size,
        inputs=network.inputs,
        outputs=network.outputs,
        ranks={name: int((kept < share).sum()) + 1 for name, share in shares.items()},
        **found._asdict(),
    )


def too_high(found: Factorisation, w: np.ndarray) -> str:
    """Why an analysis by overlaps stops, and what it offers."""
    spectrum = Spectrum.of(w)
    out = min(max(spectrum.standing_out, 1), len(w))
    return (
        f"Rank {found.rank} of {len(w)} would be kept and {found.discarded:.1%} of the norm "
        f"discarded (an analysis starts by itself up to rank {MOST} and {SHARE:.0%}): choose with "
        f"--rank, or rank=, e.g. {out}, the singular values that stand out of a random bulk, which "
        f"discards {lost(spectrum.singular_values, out):.1%}."
    )


def spectrum_notes(r: SpectrumResults) -> list[str]:
    """What is printed before the table."""
    ranks = ", ".join(f"{rank} for {share}" for share, rank in r.ranks.items())
    return [
        f"effective rank {r.effective_rank:.1f} of {r.neurons} (participation ratio of σ²), stable "
        f"rank {r.stable_rank:.1f}; singular values that keep a share of Σσ²: {ranks}",
        f"largest |λ| {r.spectral_radius:.3g}; a random matrix of the same norm: {r.gain:.3g}. "
        f"{r.standing_out} singular value(s) stand out of a random bulk (above {r.threshold:.3g})",
    ]

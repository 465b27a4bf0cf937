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
        eigenvalues: λ, shape (N,).
        effective_rank: (Σσ²)²/Σσ⁴, the participation ratio.
        stable_rank: Σσ²/σ_1².
        radius: largest |λ|.
        gain: g = ‖W‖/√N: a random matrix of this norm has eigenvalues in a disk of radius g, and
            singular values up to 2g.
        threshold: 2.858 times the median σ; what is above stands out of a random bulk.
        standing_out: how many do.

    Source of the threshold: Gavish & Donoho 2014.
    """

    singular_values: np.ndarray
    eigenvalues: np.ndarray
    effective_rank: float
    stable_rank: float
    radius: float
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
            eigenvalues=values.astype(complex),
            effective_rank=power**2 / (float((sigma**4).sum()) or 1.0),
            stable_rank=power / (float(sigma[0]) ** 2 or 1.0),
            radius=float(np.abs(values).max()),
            gain=float((power / len(w)) ** 0.5),
            threshold=threshold,
            standing_out=int((sigma > threshold).sum()),
        )

    def discarded(self, rank: int) -> float:
        """‖W − W_r‖/‖W‖ of the best approximation of rank r."""
        power = self.singular_values**2
        return float((power[rank:].sum() / (power.sum() or 1)) ** 0.5)


class SpectrumResults(AbstractAnalysis):
    """The spectrum of recurrent weights of high rank, and what can be done with them."""

    config: AnalysisConfig
    factorisation: Factorisation | None
    neurons: int
    inputs: int
    outputs: int
    effective_rank: float
    stable_rank: float
    spectral_radius: float
    gain: float
    threshold: float
    standing_out: int
    ranks: dict[str, int]
    """How many singular values keep a share of Σσ²."""
    spectrum: Spectrum
    singular_values: Any = labelled("singular values of the recurrent weights", "number")
    eigenvalues: dict[str, Any] = labelled("eigenvalues of the recurrent weights", "number")

    @claim(
        f"the recurrent weights are low-rank: discarded part of the Frobenius norm at rank {MOST}",
        high=SHARE,
    )
    def discarded_at_most(self) -> float:
        return self.spectrum.discarded(MOST)

    def table(self) -> Columns:
        """What is kept and discarded at some ranks."""
        n, sigma = self.neurons, np.asarray(self.singular_values)
        some = [r for r in (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000) if r < n] + [n]
        lost = [self.spectrum.discarded(r) for r in some]
        return {
            "rank": (some, ""),
            "share of Σσ² kept": ([1 - x**2 for x in lost], ".4%"),
            "discarded ‖W − W_r‖/‖W‖": (lost, ".4f"),
            "next singular value": (np.append(sigma, 0.0)[some], ".4g"),
        }

    def draw(self) -> Figure:
        figure, axes = panels(1, 3, height=2.6)
        found, sigma = self.spectrum, np.asarray(self.singular_values)
        plot_eigenvalue_plane(axes[0], found.eigenvalues, self.gain)
        names = ("standing out", "bulk")
        plot_singular_values(axes[1], sigma, self.standing_out, self.threshold, names)
        ranks = np.arange(1, len(sigma) + 1)
        lost = [found.discarded(int(rank)) for rank in ranks]
        plot_lines(axes[2], ranks, [(None, lost, {"color": VISIBLE[1]})])
        axes[2].axhline(SHARE, color="0.6", linewidth=0.8, linestyle="--", label=f"{SHARE:.0%}")
        axes[2].set(xlabel="rank $r$", ylabel=r"discarded $\|W - W_r\|/\|W\|$", ylim=(0, None))
        axes[2].legend()
        return figure


def analyse_spectrum(
    network: AbstractRNN,
    w: np.ndarray,
    config: AnalysisConfig,
    recorder: Recorder,
) -> SpectrumResults:
    """Singular values and eigenvalues of W, and what its rank would be."""
    found = recorder.timed("spectrum", lambda: Spectrum.of(w))
    values = found.eigenvalues
    kept = np.cumsum(found.singular_values**2) / ((found.singular_values**2).sum() or 1)
    shares = {f"{share:.0%}": share for share in (0.5, 0.9, 0.95, 0.99)}
    return SpectrumResults(
        config=config,
        factorisation=None,
        neurons=network.state_size,
        inputs=network.inputs,
        outputs=network.outputs,
        effective_rank=found.effective_rank,
        stable_rank=found.stable_rank,
        spectral_radius=found.radius,
        gain=found.gain,
        threshold=found.threshold,
        standing_out=found.standing_out,
        ranks={name: int((kept < share).sum()) + 1 for name, share in shares.items()},
        spectrum=found,
        singular_values=found.singular_values,
        eigenvalues={"real": np.real(values), "imag": np.imag(values)},
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

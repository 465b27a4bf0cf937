"""What the theory says about a user's own network."""

from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from lrnn_jax._results import RESULTS
from lrnn_jax.experiments._old import Claim, Progress, Report, check_config, reporter, timed
from lrnn_jax.learning import Descent, Flow, LearningCurve, learn, outcome
from lrnn_jax.networks import Factorisation, LowRankRNN
from lrnn_jax.overlaps import Overlaps, gram_rank, invariants, visible
from lrnn_jax.reduced import reduce
from lrnn_jax.tasks import AbstractFilter, ExponentialFilter, OscillatingFilter


@dataclass(frozen=True)
class AnalysisConfig:
    """The task and learning whose course is predicted for a network."""

    task: Literal["exponential", "oscillating"] = "exponential"
    """Target filter on every pair of channels: a* exp(−c* τ), or a* exp(−c* τ) cos(ω* τ)."""
    rate: float = 0.2
    """c*, decay rate of the target [1 / membrane time constant]."""
    frequency: float = 2.0
    """ω*, angular frequency of the oscillating target [radians / membrane time constant]."""
    amplitude: float = 1.0
    """a*, amplitude of the target."""
    steps: int = 400
    """T, steps of the impulse response."""
    lr: float = 5e-3
    """η, learning rate (the network's own is s η)."""
    epochs: int = 2000
    """Parameter updates."""

    def __post_init__(self) -> None:
        check_config(self, steps=(2, 1e6), epochs=(2, 1e8), lr=(0, 1e3), rate=(0, 1e3))


def analyse(
    network: LowRankRNN,
    config: AnalysisConfig = AnalysisConfig(),
    factorisation: Factorisation | None = None,
    progress: Progress | None = None,
) -> Report:
    """Overlaps of a network, what a loss sees of them, what is conserved, and how it would learn.

    Arguments:
        network: a linear low-rank network, e.g. from `load_network`.
        config: the task to predict learning on.
        factorisation: how the network was made from a dense one, if it was.
        progress: called as progress(what, epoch, epochs, loss).

    Returns: a `Report` with the predicted curves "descent" and "flow" (up to where they diverge,
    if they do).

    Source: ours.
    """
    reduction = reduce(network)
    shape = (network.inputs, network.outputs)
    amplitude = jnp.full(shape, config.amplitude)
    task: AbstractFilter
    if config.task == "exponential":
        task = ExponentialFilter(config.rate, network.dt, config.steps, amplitude)
    else:
        task = OscillatingFilter(config.rate, config.frequency, network.dt, config.steps, amplitude)
    curves, seconds = {}, {}
    methods: dict[str, Any] = {"descent": Descent(config.lr)}
    if reduction.roles.size <= 20:  # the flow's cost grows with k⁴, and adds little
        methods["flow"] = Flow(config.lr)
    for name, method in methods.items():
        shown = reporter(progress, f"predicted {name}")

        def work(method: Any = method, shown: Any = shown) -> Any:
            options: dict[str, Any] = {"epochs": config.epochs, "throw": False}
            return learn(reduction, task, method, progress=shown, **options)

        curves[name], seconds[name] = timed(work)
    report = _report(network, config, factorisation, curves, task)
    report.seconds = seconds
    return report


def _report(
    network: LowRankRNN,
    config: AnalysisConfig,
    factorisation: Factorisation | None,
    curves: dict[str, Any],
    task: AbstractFilter,
) -> Report:
    overlaps, sees, kept = network.overlaps, visible(network), invariants(network)
    roles, descent = overlaps.roles, curves["descent"]
    rank = gram_rank(overlaps.gram)
    recurrent = np.linalg.eigvals(np.asarray(overlaps.block("v", "u")))
    growth = float(np.abs(1 - float(network.dt) * (1 - recurrent)).max())
    values = {
        "neurons": network.state_size,
        "rank": roles.rank,
        "inputs": roles.inputs,
        "outputs": roles.outputs,
        "gram_rank": rank,
        "overlaps": {n: float(x) for n, x in zip(overlaps.names, overlaps.vector())},
        "visible": list(sees.visible),
        "invisible": list(sees.invisible),
        "invariants": {
            "spectrum": [float(x) for x in kept.spectrum],
            "balance": np.asarray(kept.balance).tolist(),
            "notes": list(kept.why),
        },
        "discarded": None if factorisation is None else factorisation.discarded,
        "initial_loss": float(descent.loss[0]),
        "final_loss": float(task.loss(descent.model)),
        "result": outcome(descent.result),
    }
    return Report(
        name="analyse",
        config=config,
        claims=_claims(factorisation, growth, descent),
        values=values,
        table=_table(overlaps, descent.model.overlaps, sees.visible, config.epochs),
        seconds={},
        curves=curves,
    )


def _claims(
    factorisation: Factorisation | None, growth: float, descent: LearningCurve
) -> list[Claim]:
    claims = [
        Claim(
            "the activity without input decays (|1 − dt + dt λ| < 1, λ: eigenvalues of VᵀU/s)",
            f"largest |1 − dt + dt λ| = {growth:.4g}",
            growth < 1,
        ),
        Claim(
            "predicted learning on the task succeeds",
            f"{_ending(descent)}, loss {float(descent.loss[0]):.3g} → "
            f"{float(descent.loss[~jnp.isnan(descent.loss)][-1]):.3g}",
            bool(descent.result == RESULTS.successful),
        ),
    ]
    if factorisation is not None:
        claims.insert(
            0,
            Claim(
                "the recurrent weights are low-rank (discarded part < 5 % of the Frobenius norm)",
                str(factorisation),
                factorisation.discarded < 0.05,
            ),
        )
    return claims


def _ending(curve: LearningCurve) -> str:
    """How a run ended, and what to do about it."""
    if curve.result == RESULTS.successful:
        return "successful"
    return f"{outcome(curve.result)} at epoch {int(curve.stopped)} (try a smaller --lr)"


def _table(
    before: Overlaps, after: Overlaps, seen: tuple[str, ...], epochs: int
) -> tuple[list[str], list[list[str]]]:
    """Every overlap now and after learning; for many of them, norms of their blocks."""
    last = f"after {epochs} epochs"
    if len(before.names) <= 60:
        kinds = ["visible" if name in seen else "invisible" for name in before.names]
        numbers = zip(before.names, kinds, before.vector(), after.vector())
        rows = [[n, kind, f"{x:.6g}", f"{y:.6g}"] for n, kind, x, y in numbers]
        return ["overlap", "loss sees it", "now", last], rows
    rows = []
    families = list(before.roles.sizes)
    for i, a in enumerate(families):
        for b in families[i:]:
            kind = "visible" if a in "zv" and b in "mu" else "invisible"
            norms = (float(jnp.linalg.norm(q.block(a, b))) for q in (before, after))
            rows.append([a + b, kind, *(f"{x:.6g}" for x in norms)])
    return ["block (Frobenius norm)", "loss sees it", "now", last], rows

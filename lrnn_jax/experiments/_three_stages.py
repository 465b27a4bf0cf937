"""`three_stages`: a low-rank controller learns in three stages, exactly as its overlaps say."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from lrnn_jax.environments import ClosedLoop, FixedStart, KIntegrator
from lrnn_jax.experiments._controllers import (
    double_integrator,
    initial_states,
    low_rank_controller,
    trial_by_trial,
)
from lrnn_jax.experiments._old import Claim, Progress, Report, check_config, reporter, timed
from lrnn_jax.learning import Descent, LearningCurve, learn
from lrnn_jax.overlaps import Overlaps
from lrnn_jax.reduced import ReducedRNN, reduce
from lrnn_jax.stability import (
    LoopMatrix,
    Stages,
    outliers,
    radius,
    spectrum,
    stage_one_loss,
    stages,
    track,
)


@dataclass(frozen=True)
class ThreeStagesConfig:
    """Learning to control a double integrator with a rank-1 network. [CL] fig. 3-5."""

    n: int = 100
    """N, neurons."""
    steps: int = 50
    """T, steps of a trial."""
    batch: int = 100
    """Trials per epoch."""
    width: float = 2.0
    """Initial states ~ U(−width, width)."""
    lr: float = 0.01
    """η, learning rate."""
    clip: float = 1.0
    """Bound on the norm of the gradient."""
    epochs: int = 1000
    """Parameter updates."""
    seeds: int = 20
    """Networks whose stages are counted."""
    seed: int = 7
    """Random seed of the first network and of the trials (7: one that starts in stage 1)."""

    def __post_init__(self) -> None:
        check_config(self, n=(2, 1e6), steps=(2, 1e5), batch=(1, 1e6), epochs=(2, 1e7))
        check_config(self, lr=(0, 1e3), clip=(0, 1e6), seeds=(1, 1e5), width=(1e-9, 1e6))


QUICK = ThreeStagesConfig(n=20, batch=10, epochs=1000, seeds=3, seed=0)
FEEDBACKS = np.linspace(-0.5, 0.3, 33)
"""zm at which the formula of the first stage is compared with the loop."""


def three_stages(
    config: ThreeStagesConfig = ThreeStagesConfig(), progress: Progress | None = None
) -> Report:
    """Train a rank-1 controller in closed loop: full network, exact theory, expected loss.

    Arguments:
        config: sizes and learning rate.
        progress: called as progress(what, epoch, epochs, loss).

    Returns: a `Report` with curves "full", "reduced" (the same batches), "expected" (no batch),
    eigenvalue paths, and the stages of many networks.

    Source: [CL] fig. 3-5; in overlap space: ours.
    """
    loop = double_integrator(config.steps, config.width)
    keys = jr.split(jr.key(config.seed), config.seeds + 1)
    batches = initial_states(loop, config.epochs, config.batch, key=keys[-1])
    net, method = low_rank_controller(config.n, key=keys[0]), Descent(config.lr, clip=config.clip)
    curves: dict[str, LearningCurve] = {}
    seconds: dict[str, Any] = {}

    def run(name: str, model: Any, loop: ClosedLoop, **options: Any) -> None:
        options = {"epochs": config.epochs, **options}
        curves[name], seconds[name] = timed(lambda: learn(model, loop, method, **options))

    shown = reporter(progress, "full network")
    options: dict[str, Any] = {"progress": shown, "watch": LoopMatrix(loop)}
    run("full", net, trial_by_trial(loop), batches=batches, **options)
    run("reduced", reduce(net), loop, batches=batches)
    run("expected", reduce(net), loop)

    def one(key: Any) -> LearningCurve:
        start = reduce(low_rank_controller(config.n, key=key))
        return learn(start, loop, method, epochs=config.epochs, batches=batches, throw=False)

    many, seconds["many starts"] = timed(lambda: jax.jit(jax.vmap(one))(keys[:-1]))
    singles = [jax.tree.map(lambda x, i=i: x[i], many) for i in range(config.seeds)]
    found = [stages(curve, loop) for curve in singles]
    values = spectrum(curves["reduced"], loop)
    report = _report(config, loop, curves, found, values)
    report.seconds = seconds
    dims, loss, zm = ("start", "epoch"), np.asarray(many.loss), np.asarray(many.overlaps["zm"])
    report.arrays |= {
        "many_loss": (dims, loss, {"long_name": "loss by start", "units": "state²"}),
        "many_zm": (dims, zm, {"long_name": "zm by start", "units": "1"}),
    }
    return report


def stage_one_losses(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """½ Σ_t ‖x_t‖² of the loop under zm alone from x_0 = (1, −1), and the formula, over zm."""
    loop = ClosedLoop(KIntegrator(2), steps, start=FixedStart(jnp.array([1.0, -1.0])))
    others = dict.fromkeys(("zu", "vm", "vu", "mu", "zv"), 0.0)
    norms = dict.fromkeys(("mm", "uu", "vv", "zz"), 1.0)

    def simulated(zm: float) -> float:
        overlaps = Overlaps.from_values(zm=zm, **others, **norms)
        # T times the mean over time of half the norm, and x_0
        return float(steps * loop.loss(ReducedRNN(overlaps, dt=1.0))) + 1.0

    return np.array([simulated(float(zm)) for zm in FEEDBACKS]), np.asarray(
        stage_one_loss(FEEDBACKS, steps)
    )


def outlier_gap(matrices: np.ndarray, values: np.ndarray) -> float:
    """Largest distance between the outliers of a network's loop and its reduction's spectrum.

    Arguments:
        matrices: P of the network's loop at some epochs, shape (record, N + 2, N + 2).
        values: eigenvalues of the reduction's, shape (record, 4), one of them 0.
    """
    pairs = zip(outliers(np.linalg.eigvals(matrices), 0.0, 3), outliers(values, 0.0, 3))
    both = [track(np.stack(pair)) for pair in pairs]
    return float(max(np.abs(a - b).max() for a, b in both))


def _report(
    config: ThreeStagesConfig,
    loop: ClosedLoop,
    curves: dict[str, LearningCurve],
    found: list[Stages],
    values: np.ndarray,
) -> Report:
    exact = curves["reduced"].distance(curves["full"])
    loss = float(jnp.max(jnp.abs(curves["reduced"].loss / curves["full"].loss - 1)))
    gap = outlier_gap(np.asarray(curves["full"].watched), spectrum(curves["full"], loop))
    simulated, formula = stage_one_losses(config.steps)
    off = np.abs(np.log10(formula / simulated))
    negative, stable = [s.oscillatory for s in found], [s.stable for s in found]
    share = {
        "complex pair": float(np.mean([e >= 0 for e in negative])),
        "stable": float(np.mean([e >= 0 for e in stable])),
        "all three": float(np.mean([s.stable > s.oscillatory >= 0 for s in found])),
    }
    own = stages(curves["reduced"], loop)
    final = [s.losses[-1] for s in found]
    claims = [
        *_exactness(float(exact.max), loss, gap),
        _stages_claim(found, share),
        _formula_claim(off),
    ]
    report = Report(
        name="three_stages",
        config=config,
        claims=claims,
        values={
            "max_abs_dq": float(exact.max),
            "max_relative_dloss": loss,
            "outlier_gap": gap,
            "shares": share,
            "oscillatory": negative,
            "stable": stable,
            "final_loss": final,
            "stages": {"oscillatory": own.oscillatory, "stable": own.stable},
            "verdicts": list(own.verdicts),
        },
        table=_table(found),
        seconds={},
        curves=dict(curves),
    )
    cost = {"long_name": "½ Σ‖x‖² in stage 1, loop and formula", "units": "state²"}
    report.arrays = {
        "zm": ("feedback", FEEDBACKS, {"long_name": "direct feedback zm", "units": "1"}),
        "stage_one_loop": ("feedback", simulated, cost),
        "stage_one_formula": ("feedback", formula, cost),
        "radius": ("epoch", radius(values), {"long_name": "max |λ|", "units": "1"}),
    } | {
        f"eigenvalue_{part}": (
            ("epoch", "eigenvalue"),
            getattr(values, part),
            {"long_name": f"eigenvalues of the loop, {part} part", "units": "1"},
        )
        for part in ("real", "imag")
    }  # fmt: skip
    return report


def _exactness(gap_q: float, loss: float, gap: float) -> list[Claim]:
    return [
        Claim(
            "full network = reduced descent with the same batches (overlaps ≤ 1e-11, loss ≤ 1e-12 "
            "relative)",
            f"max |ΔQ| = {gap_q:.2g}, loss {loss:.2g}",
            gap_q <= 1e-11 and loss <= 1e-12,
        ),
        Claim(
            "the reduced spectrum is the outliers of the (N+2)-dimensional matrix at every epoch "
            "(≤ 1e-9)",
            f"largest distance {gap:.2g}",
            gap <= 1e-9,
        ),
    ]


def _stages_claim(found: list[Stages], share: dict[str, float]) -> Claim:
    pair, stable = [s.oscillatory for s in found], [s.stable for s in found]
    final = [s.losses[-1] for s in found]
    return Claim(
        "three stages in the spectrum: a complex pair, then stability, then refinement",
        f"complex pair for {share['complex pair']:.0%} of {len(found)} starts at epoch "
        f"{min(pair)}-{max(pair)} (median {np.median(pair):g}), stable for "
        f"{share['stable']:.0%} at {min(stable)}-{max(stable)} (median {np.median(stable):g}), "
        f"final loss {min(final):.3g}-{max(final):.3g}",
        share["complex pair"] == 1 and share["stable"] >= 0.9,
    )


def _formula_claim(off: np.ndarray) -> Claim:
    far = float(off[np.abs(FEEDBACKS) > 0.099].max())
    return Claim(
        "the formula of stage 1 has the loop's size (within a factor 10) for |zm| ≥ 0.1; at "
        "zm = 0 it misses the growth of a double eigenvalue",
        f"largest ratio {10**far:.3g} there, {10 ** off.max():.3g} over [−0.5, 0.3]",
        bool(far < 1),
    )


def _table(found: list[Stages]) -> tuple[list[str], list[list[str]]]:
    header = ["start", "complex pair", "stable", "loss before", "at pair", "when stable", "end"]
    rows = [
        list(map(str, (i, s.oscillatory, s.stable, *(f"{x:.3g}" for x in s.losses), s.reversals)))
        for i, s in enumerate(found)
    ]
    return [*header, "turns of |λ|"], rows

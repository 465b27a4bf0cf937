"""Experiments over many seeds: shares of claims, intervals, failures, stores."""

import dataclasses
import json
import math

import numpy as np
import pytest

from lrnn_jax import experiments
from lrnn_jax.cli import main
from lrnn_jax.experiments import AbstractResults, claim, experiment, over_seeds
from lrnn_jax.figures import Figure, panels


@dataclasses.dataclass(frozen=True)
class CoinConfig:
    seed: int = 3
    scale: float = 1.0


class CoinResults(AbstractResults):
    number: float
    seed: int

    @claim("is below a half", high=0.5)
    def small(self) -> float:
        return self.number

    @claim("is told by even seeds", low=0.0)
    def even(self) -> float | None:
        return self.number if self.seed % 2 == 0 else None

    @claim("is a number, but for seed 8", high=1.0)
    def finite(self) -> float:
        return math.nan if self.seed == 8 else self.number

    @claim(lambda r: f"seed {r.seed} is at most itself", high=lambda r: r.seed)
    def moving(self) -> float:
        return self.seed

    def table(self):
        return {"number": ([self.number], ".3f")}

    def draw(self) -> Figure:
        return panels(1, 1, height=1.0)[0]


def number(seed, scale=1.0):
    return scale * float(np.random.default_rng(seed).uniform())


@experiment(source="a test", quick=CoinConfig(), seconds=(1, 1))
def coin(config: CoinConfig, recorder: experiments.Recorder) -> CoinResults:
    """One number is drawn."""
    if config.seed == 7:
        raise ValueError("seven")
    return CoinResults(number(config.seed, config.scale), config.seed)


SEEDS = range(3, 15)
DRAWN = {seed: number(seed) for seed in SEEDS if seed != 7}


@pytest.fixture(scope="module")
def report():
    return over_seeds(coin, seeds=len(SEEDS), progress=False)


def test_shares_count_every_run_that_should_hold_a_claim(report):
    """A run that fails holds none; one that cannot tell is not asked."""
    holds = [DRAWN.get(seed, 1.0) <= 0.5 for seed in SEEDS]
    assert report.failed == 1
    assert report.missing == 0
    assert report.holds("small").tolist() == holds
    assert report.share("small").value == np.mean(holds)
    even = [seed != 7 for seed in SEEDS if seed % 2 == 0 or seed == 7]
    assert sorted(report.holds("even")) == sorted(even)
    assert report.share("moving").value == 11 / 12
    assert report.share("finite").value == 10 / 12  # what is no number lies within no bounds
    assert "12 seeds, 3 … 14; 1 failed" in report.notes[0]


def test_intervals_are_wilsons_and_the_bootstraps(report):
    n, z = len(SEEDS), 1.959963984540054
    p = report.share("small").value
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    wilson = np.array([middle - half, middle + half]) / (1 + z**2 / n)
    np.testing.assert_allclose(report.share("small")[1:], wilson, rtol=1e-12)
    values = np.array(list(DRAWN.values()))
    rng = np.random.default_rng(1)
    again = [np.mean(rng.choice(values, len(values))) for _ in range(4000)]
    mean = report.spread("small", np.mean)
    assert mean.value == pytest.approx(values.mean(), rel=1e-12)
    np.testing.assert_allclose(mean[1:], np.quantile(again, [0.025, 0.975]), atol=0.02)
    assert report.spread("small").value == np.median(values)


def test_claims_hold_that_hold_often(report):
    """Text and number of each claim become those of its share."""
    verdicts = {verdict.name: verdict for verdict in report.claims}
    assert verdicts["moving"].holds
    assert not verdicts["small"].holds
    assert verdicts["small"].text == "is below a half: share of seeds (≥ 0.8)"
    assert verdicts["moving"].text == "moving: share of seeds (≥ 0.8)"
    assert verdicts["small"].measured.startswith(f"{report.holds('small').sum()} of 12, ")


def test_a_series_goes_on_and_is_shared(tmp_path):
    """Two shards, then the report; another config is another series."""
    store, whole = tmp_path / "store", {"seeds": len(SEEDS), "progress": False}
    first = over_seeds(coin, store=store, shard=(0, 2), **whole)
    assert 0 < first.missing < len(SEEDS)
    with pytest.raises(ValueError, match="resume=True"):
        over_seeds(coin, store=store, **whole)
    over_seeds(coin, store=store, resume=True, shard=(1, 2), **whole)
    alone = over_seeds(coin, **whole)
    shared = over_seeds(coin, store=store, resume=True, **whole)
    assert shared.missing == 0
    np.testing.assert_array_equal(shared.data.value.values, alone.data.value.values)
    with pytest.raises(ValueError, match="another sweep"):
        over_seeds(coin, CoinConfig(scale=0.5), store=store, resume=True, **whole)


@pytest.mark.parametrize("seeds", [0, 1.5, True, "many"])
def test_seeds_are_a_whole_number(seeds):
    with pytest.raises(ValueError, match="`seeds`"):
        over_seeds(coin, seeds=seeds)


def test_a_config_without_a_seed_is_refused():
    one = dataclasses.make_dataclass("One", [("n", int, 1)], frozen=True)()
    other = dataclasses.replace(coin, quick=one)
    with pytest.raises(ValueError, match="`config` has no seed: One draws nothing"):
        over_seeds(other)


def test_the_command_line_runs_reports_and_goes_on(tmp_path, capsys):
    out, command = tmp_path / "runs", ["run", "filter", "--preset", "quick", "--seeds", "2"]
    command += ["--n", "30", "--epochs", "40", "--steps", "20", "--json", "--out", str(out)]
    assert main([*command, "--shard", "0/2"]) == 0
    said = capsys.readouterr()
    assert not said.out
    assert "1 of 2 runs are left" in said.err
    assert main(command) == 2
    assert "--resume" in capsys.readouterr().err
    main([*command, "--resume"])
    found = json.loads(capsys.readouterr().out)
    assert found["max_abs_dq"]["share"]["value"] == 1
    assert {"figure.png", "report.json", "data.zarr"} <= {path.name for path in out.iterdir()}
    assert (tmp_path / "runs.store").is_dir()

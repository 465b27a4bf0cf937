"""Every experiment holds its claims in its quick size."""

import math

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax import experiments

mpl.use("Agg")


LONG = (
    *("memory_aba", "memory_twins", "flip_flop", "optimisers", "three_stages", "tradeoff"),
    *("rules", "bulk", "tracking", "horizons", "many_pairs", "probe"),
)
"""Half a minute and more even so."""
EACH = [
    pytest.param(name, marks=pytest.mark.slow) if name in LONG else name
    for name in experiments.REGISTRY
]


def covered(figure):
    """Panels in which a legend or another text lies on data (guides of two points do not count)."""
    figure.canvas.draw()
    found = []
    for panel in figure.axes:
        legend = panel.get_legend()
        named = [] if legend is None else [*legend.get_texts(), *legend.legend_handles]
        labels = [*panel.texts, *named]
        boxes = [label.get_window_extent() for label in labels]
        boxes = [box for box in boxes if np.isfinite(box).all()]  # bars have none in a legend
        for line in panel.lines:
            points = line.get_transform().transform(line.get_xydata())
            points = points[[panel.bbox.contains(*point) for point in points]]
            on = [((box.min < points) & (points < box.max)).all(axis=1).any() for box in boxes]
            if len(line.get_xydata()) > 2 and any(on):
                found.append(panel.get_ylabel())
    return found


@pytest.mark.parametrize("name", EACH)
def test_claims_hold_and_are_drawn(name):
    experiment = experiments.get(name)
    seen = []
    report = experiment(experiment.quick, lambda *now: seen.append(now))
    assert report.claims
    failed = [claim for claim in report.claims if not claim.holds]
    assert not failed
    data = report.to_xarray()
    assert all("long_name" in data[variable].attrs for variable in data.data_vars)
    figure = report.draw()
    assert len(figure.axes) >= 2
    assert covered(figure) == []
    for what, epoch, epochs, loss in seen:
        assert what
        assert 0 < epoch <= epochs
        assert loss >= 0
    mpl.pyplot.close(figure)


def test_a_wrong_name_is_answered_with_suggestions():
    with pytest.raises(ValueError, match="Did you mean 'filter'"):
        experiments.get("fliter")


@pytest.mark.parametrize("wrong", [{"dt": 2.0}, {"epochs": 0}, {"lr": -1.0}, {"n": 1}])
def test_wrong_values_name_the_field(wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must lie between"):
        experiments.FilterConfig(**wrong)


def test_what_is_kept_is_no_more_than_there_is():
    with pytest.raises(ValueError, match="`record` must lie between 1 and 300"):
        experiments.BulkConfig(epochs=300, record=301)


def test_a_recorder_times_compiling_apart_and_keeps_curves(net, task):
    @jax.jit
    def work(x):
        return jnp.linalg.inv(x + 17.0) @ x

    x, recorder, told = jnp.eye(3), experiments.Recorder(), []
    recorder.timed("first", lambda: work(x))
    recorder.timed("second", lambda: work(x))
    assert recorder.seconds["first"].compile > 0
    assert recorder.seconds["second"].compile == 0
    assert recorder.seconds["second"].run > 0
    recorder.progress = lambda *now: told.append(now)
    descent = lrnn.Descent(1e-3)
    curve = recorder.learn("it", net, task, descent, epochs=4, label="a network")
    assert {what for what, *_ in told} == {"a network"}
    recorder.timed("again", lambda: {"known": curve})
    assert list(recorder.curves) == ["it"]
    assert recorder.curves["it"] is curve


def test_an_interrupted_recorder_has_the_curve_so_far(net, task):
    def stop(what, epoch, epochs, loss):
        if epoch >= 40:
            raise KeyboardInterrupt

    recorder = experiments.Recorder(stop)
    with pytest.raises(KeyboardInterrupt):
        recorder.learn("it", net, task, lrnn.Descent(1e-3), epochs=80, label="a network")
    kept = recorder.curves["it"]
    assert 40 <= int(kept.epochs[-1]) < 80


class _Found(experiments.AbstractResults):
    config: experiments.FilterConfig
    off: float
    ends: dict[str, tuple[float, ...]]
    point: experiments.Timing
    path: dict[str, np.ndarray] = experiments.labelled("a path", "step", units="m")

    def table(self):
        return {}

    def draw(self):
        return mpl.figure.Figure()


def _found(off, kind=_Found):
    timing = experiments.Timing(1.0, 2.0)
    config = experiments.FilterConfig(lr=0.5)
    return kind(config, off, {"a": (1.0, 2.0)}, timing, {"x": np.arange(3.0)})


@pytest.mark.parametrize(
    ("bounds", "off", "holds", "words"),
    [
        ({"low": 0.4}, 0.4, True, "≥ 0.4"),
        ({"low": 0.41}, 0.4, False, "≥ 0.41"),
        ({"high": lambda r: r.config.lr}, 0.4, True, "≤ 0.5"),
        ({"low": 0.0, "high": 1.0}, math.nan, False, "0 … 1"),
    ],
)
def test_claims_are_numbers_within_bounds(bounds, off, holds, words):
    class Judged(_Found):
        @experiments.claim("small", **bounds)
        def size(self):
            return self.off

        @experiments.claim("?", low=0)
        def unknown(self):
            return None

    known, unknown = Judged.claims()
    found = _found(off, Judged)
    verdict = known.judge(found)
    assert verdict.name == "size"
    assert verdict.holds == holds
    assert verdict.text == f"small ({words})"
    assert unknown.judge(found) is None


def test_results_are_handed_out_by_kind():
    found = _found(0.4)
    assert found.numbers() == {
        "off": 0.4,
        "ends": {"a": [1.0, 2.0]},
        "point": {"run": 1.0, "compile": 2.0},
    }
    (made,) = found.arrays().values()
    assert (*found.arrays(), made.dims, made.long_name) == ("path_x", ("step",), "a path, x")
    assert made.units == "m"
    assert not found.curves()


class TwoKinds(experiments.AbstractResults):
    """Curves with and without overlaps."""

    low_rank: lrnn.LearningCurve
    dense: lrnn.LearningCurve

    def table(self):
        return {}

    def draw(self):
        return lrnn.figures.panels(1, 1, height=1.0)[0]


def test_datasets_hold_curves_that_have_no_overlaps_too():
    task = lrnn.ExponentialFilter(0.2, 0.1, 20)
    models = (
        lrnn.LowRankRNN(*np.ones((4, 6, 1)), dt=0.1),
        lrnn.DenseRNN(np.zeros((5, 5)), np.ones((5, 1)), np.ones((1, 5)) / 5, dt=0.1),
    )
    low, dense = (lrnn.learn(m, task, lrnn.Descent(0.01), epochs=e) for m, e in zip(models, (2, 4)))
    report = experiments.Report(experiments.coupling, None, TwoKinds(low, dense), (), {})
    data = report.to_xarray()
    assert dict(data.sizes) == {"method": 2, "epoch": 5, "overlap": 10}
    assert {name: axis.dims for name, axis in data.coords.items()}["epoch"] == ("epoch",)
    assert np.allclose(data.loss.isel(method=1).values, dense.loss)
    kept = data.overlaps.isel(method=0).values[:3]
    assert np.allclose(kept, low.overlaps.vector())
    assert np.isnan(data.overlaps.isel(method=1).values).all()

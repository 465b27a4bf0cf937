"""Every experiment holds its claims in its quick size."""

import jax.numpy as jnp
import matplotlib as mpl
import pytest

from lrnn_jax import experiments, figures

mpl.use("Agg")


@pytest.mark.parametrize("name", experiments.REGISTRY)
def test_claims_hold_and_are_drawn(name):
    experiment = experiments.get(name)
    seen = []
    report = experiment.run(experiment.quick, lambda *now: seen.append(now))
    assert report.claims
    failed = [claim for claim in report.claims if not claim.holds]
    assert not failed
    data = report.to_xarray()
    assert all("long_name" in data[variable].attrs for variable in data.data_vars)
    figure = figures.draw(report)
    assert len(figure.axes) >= 2
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


def test_stopwatch_keeps_compiling_apart():
    import jax

    @jax.jit
    def work(x):
        return jnp.linalg.inv(x + 17.0) @ x

    x = jnp.eye(3)
    with experiments.Stopwatch() as first:
        work(x).block_until_ready()
    with experiments.Stopwatch() as second:
        work(x).block_until_ready()
    assert first.timing.compile > 0
    assert second.timing.compile == 0
    assert second.timing.run > 0

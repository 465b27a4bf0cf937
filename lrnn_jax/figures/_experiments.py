"""The figures of the experiments that are not yet of `experiments._base`."""

from typing import Any

from matplotlib.figure import Figure

from lrnn_jax.figures import _loops
from lrnn_jax.figures._style import letter, style


def draw(report: Any) -> Figure:
    """The figure of an experiment's report, in the package's style."""
    with style():
        figure = getattr(_loops, report.name)(report)
        letter(figure.axes)
    return figure

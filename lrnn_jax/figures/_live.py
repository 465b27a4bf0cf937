"""Figures that follow a slider: all but the moving lines is drawn once."""

import io
from collections.abc import Callable

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.lines import Line2D


def live(figure: Figure, *lines: Line2D) -> Callable[..., bytes]:
    """A function that redraws only `lines` of a figure: fast enough for a slider.

    The rest of the figure, its layout and limits included, is drawn here, once. The function takes
    one array of ordinates (epochs,) per line and returns the picture as the bytes of a PNG file at
    the figure's own resolution, which is what `ipywidgets.Image` shows. A new curve costs a few
    milliseconds where drawing the whole figure costs a hundred.

    >>> figure, panel = figures.panels(1, 1, height=2.0)
    >>> (line,) = panel.plot(np.zeros(50))
    >>> redraw = figures.live(figure, line)
    >>> redraw(np.ones(50))[1:4]  # a picture
    b'PNG'
    """
    if not lines:
        raise ValueError("name at least one line of the figure that is to move")
    if astray := [line.get_label() for line in lines if line.get_figure() is not figure]:
        raise ValueError(f"lines {astray} are not drawn in this figure")
    canvas = FigureCanvasAgg(figure)
    for line in lines:
        line.set_animated(True)  # left out by draw()
    canvas.draw()
    background = canvas.copy_from_bbox(figure.bbox)

    def redraw(*ordinates) -> bytes:
        if len(ordinates) != len(lines):
            raise ValueError(f"{len(lines)} lines move, but {len(ordinates)} curves were given")
        canvas.restore_region(background)
        for line, values in zip(lines, ordinates):
            line.set_ydata(np.asarray(values))
            line.draw(canvas.get_renderer())
        with io.BytesIO() as file:
            imsave(file, np.asarray(canvas.buffer_rgba()), format="png")
            return file.getvalue()

    return redraw

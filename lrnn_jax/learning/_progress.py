"""A progress bar with the loss, on standard error, silent off a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from lrnn_jax._checks import function


class ProgressBar:
    """One tqdm bar per piece of work; call it as progress(what, epoch, epochs, loss).

    `what` is the last piece of work that reported.

    >>> bar = learning.ProgressBar()
    >>> bar("training", 3, 10, 0.5)
    >>> bar.what
    'training'
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self.what = ""

    def __call__(self, what: str, epoch: int, epochs: int, loss: float) -> None:
        if what != self.what:
            self.close()
        self.what = what
        if self._bar is None:
            from tqdm.auto import tqdm  # takes a tenth of a second to import

            self._bar = tqdm(total=epochs, desc=what, unit="epoch", disable=None)
        self._bar.update(epoch - self._bar.n)
        self._bar.set_postfix_str(f"loss {loss:.2e}")
        if epoch >= epochs:
            self.close()

    def close(self) -> None:
        """Finish the bar that is shown, if any."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None


@contextmanager
def reporter(progress: Any, what: str) -> Iterator[Any]:
    """What is called with (epoch, epochs, loss): a bar for True, nothing for None or False.

    Errors: ValueError for what cannot be called.
    """
    if progress is None or progress is False:
        yield None
    elif progress is not True:
        yield function(progress, "progress", "(epoch, epochs, loss)", ", or True for a bar")
    else:
        bar = ProgressBar()
        try:
            yield partial(bar, what)
        finally:
            bar.close()

"""A progress bar with the loss, on standard error, silent off a terminal."""

from typing import Any


class ProgressBar:
    """One tqdm bar per piece of work; call it as progress(what, epoch, epochs, loss).

    `what` is the last piece of work that reported.
    """

    def __init__(self) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            tqdm = None
        self._tqdm: Any = tqdm
        self._bar: Any = None
        self.what = ""

    def __call__(self, what: str, epoch: int, epochs: int, loss: float) -> None:
        if what != self.what:
            self.close()
        self.what = what
        if self._tqdm is None:
            return
        if self._bar is None:
            self._bar = self._tqdm(total=epochs, desc=what, unit="epoch", disable=None)
        self._bar.update(epoch - self._bar.n)
        self._bar.set_postfix_str(f"loss {loss:.2e}")
        if epoch >= epochs:
            self.close()

    def close(self) -> None:
        """Finish the bar that is shown, if any."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None

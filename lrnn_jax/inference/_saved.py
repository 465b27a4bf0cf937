"""What inference finds, in files."""

import os
from typing import Any

from lrnn_jax._files import load_tree, save_tree
from lrnn_jax._readable import AbstractReadable


class AbstractSaved(AbstractReadable):
    """Observations, estimates, probes: one `.npz` file each, of plain arrays and a JSON header.

    >>> data.save("session.npz")
    >>> again = inference.Observations.load("session.npz")
    >>> again.epochs == data.epochs, bool(jnp.all(again.values == data.values))
    (True, True)
    """

    def save(self, path: str | os.PathLike) -> None:
        """Write it to one file, which is whole or absent."""
        save_tree(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike, like: Any = None) -> Any:
        """What `save` wrote.

        Arguments:
            path: of the file.
            like: where a class of your own is in it: the same structure with any values.

        Errors: ValueError for a file of something else.
        """
        found = load_tree(path, like)
        if not isinstance(found, cls):
            raise ValueError(f"{path} holds a {type(found).__name__}, not {cls.__name__}.")
        return found

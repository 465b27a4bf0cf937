"""torch.compile, once for each function, without its cache on disk: compile times are reported."""

import functools
from typing import Any

import torch
import torch._inductor.config


@functools.cache
def compiled_once(function) -> Any:
    """The compiled function; shapes and counts of steps are constants of the program."""
    torch._inductor.config.force_disable_caches = True
    return torch.compile(function, dynamic=False)

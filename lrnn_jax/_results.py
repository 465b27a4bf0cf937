"""Outcomes of learning: codes that survive jit and vmap, with messages that say what to do."""

from typing import Any

import diffrax


class RESULTS(diffrax.RESULTS):  # pyright: ignore[reportGeneralTypeIssues]
    """How a learning run ended. Extends `diffrax.RESULTS`, which ODE solves return."""

    diverged = (
        "Learning diverged: the loss or a weight stopped being finite. The curve up to that epoch "
        "is kept and the model is the last finite one. Try a smaller learning rate, `clip`, or a "
        "shorter horizon."
    )
    unrealisable = (
        "The initial Gram matrix is not positive semidefinite, so no loading vectors have these "
        "overlaps. Draw or choose another one."
    )
    invariants_lost = (
        "The flow lost its conserved quantities beyond `invariant_tol`: the trajectory is not to "
        "be trusted. Tighten rtol and atol (`Isospectral` keeps the spectrum of J D⁻¹ Q by itself, "
        "but not UᵀU − VᵀV)."
    )


class LearningError(RuntimeError):
    """Learning ended without success. `curve` holds everything up to that point."""

    def __init__(self, message: str, curve: Any):
        super().__init__(message)
        self.curve = curve


class Interrupted(KeyboardInterrupt):
    """Learning was interrupted. `curve` holds everything up to that point."""

    def __init__(self, curve: Any):
        super().__init__("interrupted")
        self.curve = curve

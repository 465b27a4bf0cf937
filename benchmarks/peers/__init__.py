"""The same work written in PyTorch and SciPy, as a careful user of those would write it."""

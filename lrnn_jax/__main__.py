"""`python -m lrnn_jax` and the console script `lrnn-jax`."""

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from lrnn_jax.cli import main as run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()

"""`python -m lrnn_jax` and the console script `lrnn-jax`."""

import os
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        from lrnn_jax.cli import main as run

        try:
            code = run(sys.argv[1:])
        except SystemExit as stop:
            code = stop.code
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except OSError as error:
        code = 141 if isinstance(error, BrokenPipeError) else 1  # who reads has seen enough
        if code == 1:
            print(f"error: cannot write the output: {error.strerror}.", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is left
    sys.exit(code)


if __name__ == "__main__":
    main()

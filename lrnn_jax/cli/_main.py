"""Commands: run, list, report, sweep, analyse. Without arguments, `run filter`."""

import dataclasses
import difflib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from lrnn_jax._results import LearningError
from lrnn_jax.cli._html import page
from lrnn_jax.cli._output import as_json, dumps, save_curves, text, write
from lrnn_jax.cli._progress import ProgressBar
from lrnn_jax.cli._setup import setup_jax
from lrnn_jax.cli._sweep import sweep_command
from lrnn_jax.experiments import (
    REGISTRY,
    AnalysisConfig,
    Experiment,
    Recorder,
    analyse,
    get,
    recorded,
)
from lrnn_jax.networks import load_network

HELP = """\
usage: lrnn-jax [COMMAND] [OPTIONS]

Learning dynamics of low-rank recurrent networks: exact theory against trained networks.

commands:
  (none)               the main job, the same as `run filter`
  run NAME             run an experiment: table, figure and dataset in a folder
  list                 the experiments
  report DIR…          several runs as one HTML page, figures embedded
  sweep FILE.toml      many cells, resumable; `sweep status DIR` reports
  analyse NET.npz      what the theory says about your own network

Every command explains its options with --help, e.g. `lrnn-jax run filter --help`.
`--json` prints one JSON object, alone on standard output.

experiments:
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of every command that computes."""

    out: Path | None = None
    """Folder for results; default runs/NAME."""
    json: bool = False
    """Print one JSON object, alone on standard output."""
    dtype: Literal["float64", "float32"] = "float64"
    """Floating precision. float32 agrees to about 1e-4, not to rounding."""
    format: Literal["zarr", "netcdf"] = "zarr"
    """Format of the dataset."""
    cache: Path | None = None
    """Folder of compiled programs: kept there, and used again by later runs."""


def main(arguments: list[str]) -> int:
    """Run a command.

    Arguments:
        arguments: without the program's name.

    Returns: the exit code: 0, 1 when a claim does not hold or learning failed, 2 for wrong input,
    130 when interrupted.
    """
    command, *rest = arguments or ["run"]
    if command in ("-h", "--help"):
        print(HELP + _listing())
        return 0
    if command == "--version":
        from lrnn_jax import __version__

        print(__version__)
        return 0
    if command.startswith("-"):
        command, rest = "run", arguments
    commands: dict[str, Callable[[list[str]], int]] = {
        "run": _run,
        "list": _list,
        "report": _report,
        "analyse": _analyse,
        "sweep": sweep_command,
    }
    if command not in commands:
        meant = {name: name for name in commands} | {name: f"run {name}" for name in REGISTRY}
        close = difflib.get_close_matches(command, meant, n=1)
        hint = f" Did you mean 'lrnn-jax {meant[close[0]]}'?" if close else ""
        return _complain(f"there is no command {command!r}.{hint} See lrnn-jax --help.")
    try:
        return commands[command](rest)
    except LearningError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (ValueError, KeyError) as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return 130


def _complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def _listing() -> str:
    width = max(map(len, REGISTRY))
    lines = [
        f"  {e.name.ljust(width)}   {e.source.ljust(21)}  {_duration(e.seconds[0]):>7}"
        f"  {_duration(e.seconds[1]):>5}  {e.summary}"
        for e in REGISTRY.values()
    ]
    head = f"  {' ' * width}   {'paper and figure':21}  {'full':>7}  {'quick':>5}"
    note = "(times on 2 CPU cores, with --devices 2 where offered, start and compiling included)"
    return "\n".join([head, *lines, f"  {note}"])


def _duration(seconds: int) -> str:
    return f"{seconds} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _list(rest: list[str]) -> int:
    if rest and rest[0] in ("-h", "--help"):
        print("usage: lrnn-jax list\n\nThe experiments: paper and figure, times, what each shows.")
        return 0
    print(_listing())
    return 0


def _report(rest: list[str]) -> int:
    usage = (
        "usage: lrnn-jax report DIR… [--out FILE]\n\nCollect finished runs in one self-contained "
        "HTML page (default report.html)."
    )
    if not rest or rest[0] in ("-h", "--help"):
        print(usage)
        return 0 if rest else 2
    out, folders, words = Path("report.html"), [], iter(rest)
    for word in words:
        if word == "--out":
            out = Path(next(words, "report.html"))
        elif word.startswith("--out="):
            out = Path(word.partition("=")[2])
        elif word.startswith("-"):
            raise ValueError(f"report has no option {word!r}.\n{usage}")
        else:
            folders.append(Path(word))
    try:
        out.write_text(page(folders), encoding="utf-8")
    except OSError as error:
        raise ValueError(f"Cannot write {out}: {error}. Choose a file with --out.") from None
    print(out.resolve())
    return 0


def _run(rest: list[str]) -> int:
    if rest and rest[0] in ("-h", "--help"):
        print(
            "usage: lrnn-jax run NAME [--preset full|quick] [OPTIONS]\n\n"
            "Run an experiment; `lrnn-jax run NAME --help` shows all its options.\n\n"
            f"experiments:\n{_listing()}"
        )
        return 0
    name, *rest = rest or ["filter"]
    if name.startswith("-"):
        name, rest = "filter", [name, *rest]
    experiment = get(name)
    preset, rest = _take_preset(rest)
    default = experiment.quick if preset == "quick" else experiment.full
    config, options = _parse_run(experiment, default, rest)
    setup_jax(options.dtype, options.cache, getattr(config, "devices", None))
    folder = options.out or Path("runs") / name
    return _deliver(
        _interruptible(lambda recorder: experiment.record(config, recorder), folder),
        options,
        folder,
    )


def _interruptible(work: Callable[[Recorder], Any], folder: Path) -> Any:
    """A report; where Ctrl-C ends the work, what was computed is kept in `folder`/interrupted."""
    bar = ProgressBar()
    recorder = Recorder(bar)
    try:
        return work(recorder)
    except KeyboardInterrupt:
        what = f" in {bar.what!r}" if bar.what else ""
        kept = save_curves(recorder.curves.values(), folder / "interrupted")
        print(f"\ninterrupted{what}; {kept}", file=sys.stderr)
        raise
    finally:
        bar.close()


def _take_preset(rest: list[str]) -> tuple[str, list[str]]:
    """`--preset NAME` or `--preset=NAME` out of the arguments: it decides the other defaults."""
    preset, kept, words = "full", [], iter(rest)
    for word in words:
        if word == "--preset":
            preset = next(words, "")
        elif word.startswith("--preset="):
            preset = word.partition("=")[2]
        else:
            kept.append(word)
    if preset not in ("full", "quick"):
        raise ValueError(f"--preset is full or quick; got {preset!r}.")
    return preset, kept


def _tyro() -> Any:
    try:
        import tyro
    except ImportError:
        raise ValueError("the command line needs an extra: pip install 'lrnn_jax[cli]'.") from None
    return tyro


def _parse_run(experiment: Experiment, default: Any, rest: list[str]) -> tuple[Any, Options]:
    tyro = _tyro()
    flat = tyro.conf.OmitArgPrefixes
    kind = type(default)

    def both(
        experiment: Annotated[kind, flat] = default,  # pyright: ignore[reportInvalidTypeForm]
        output: Annotated[Options, flat] = Options(),
    ) -> tuple[Any, Options]:
        return experiment, output

    both.__doc__ = (
        f"{kind.__doc__}\n\nAlso --preset full|quick, which sets the other options' defaults."
    )
    return tyro.cli(both, args=rest, prog=f"lrnn-jax run {experiment.name}")


def _analyse(rest: list[str]) -> int:
    tyro = _tyro()
    flat = tyro.conf.OmitArgPrefixes

    def parse(
        network: Annotated[Path, tyro.conf.Positional],
        dt: float | None = None,
        scale: float | None = None,
        rank: int | None = None,
        energy: float | None = None,
        task: Annotated[AnalysisConfig, flat] = AnalysisConfig(),
        output: Annotated[Options, flat] = Options(),
    ) -> tuple[Any, ...]:
        """What the theory says about your own network: rank, overlaps, what a loss sees of them,
        what learning conserves, and how it would learn a task.

        Args:
            network: .npz with loading vectors z, v, m, u, or weights w, w_in, w_out.
            dt: Euler step [membrane time constants], where the file holds none.
            scale: s; default N for vectors, 1 for weights.
            rank: how many singular values of w to keep.
            energy: keep the fewest singular values with this share of Σσ² (default 0.99).
            task: what it would learn.
            output: where results go.
        """
        return network, dt, scale, rank, energy, task, output

    path, dt, scale, rank, energy, config, options = tyro.cli(
        parse, args=rest, prog="lrnn-jax analyse"
    )
    setup_jax(options.dtype, options.cache)
    network, factorisation = load_network(path, dt=dt, scale=scale, rank=rank, energy=energy)
    folder = options.out or Path("runs") / f"analyse-{path.stem}"

    def work(recorder: Recorder) -> Any:
        return recorded(
            lambda: analyse(network, config, factorisation, recorder.progress), recorder
        )

    report = _interruptible(work, folder)
    if not options.json:
        print(_describe(report))
    _deliver(report, options, folder)
    return 0


def _describe(report: Any) -> str:
    values = report.values
    spectrum = _some([f"{x:.4g}" for x in values["invariants"]["spectrum"]])
    return "\n".join(
        [
            f"{values['neurons']} neurons, rank {values['rank']}, {values['inputs']} input(s), "
            f"{values['outputs']} output(s); the loading vectors span {values['gram_rank']} "
            f"dimensions",
            f"loss-visible:   {_some(values['visible'])}",
            f"loss-invisible: {_some(values['invisible'])}",
            f"invariants: spectrum {spectrum}",
            *(f"  {note}" for note in values["invariants"]["notes"]),
            "",
        ]
    )


def _some(words: list[str], most: int = 15) -> str:
    more = f", … ({len(words)} in all)" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def _deliver(report: Any, options: Options, folder: Path) -> int:
    paths = write(report, folder, options.format)
    if options.json:
        print(dumps(as_json(report, paths)))
    else:
        print(text(report))
        print(f"\nfigure  {paths['figure']}\ndata    {paths['data']}\nreport  {paths['report']}")
    return 0 if all(claim.holds for claim in report.claims) else 1

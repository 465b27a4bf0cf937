"""Commands: run, list, report, sweep, analyse, infer. Without arguments, `run filter`."""

import contextlib
import dataclasses
import difflib
import functools
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from lrnn_jax._checks import whole
from lrnn_jax._setup import setup_jax
from lrnn_jax.cli._analyse import Chosen, Reading, analysis
from lrnn_jax.cli._cluster import RESUME, stop_signals
from lrnn_jax.cli._html import page
from lrnn_jax.cli._infer import Assumed, Learned, as_json, estimate
from lrnn_jax.cli._output import describe, save_curves, text, write
from lrnn_jax.cli._place import check_place, write_page
from lrnn_jax.cli._sweep import share_of, sweep_command
from lrnn_jax.experiments import AUDITS, REGISTRY, AnalysisConfig, Recorder, get, over_seeds
from lrnn_jax.learning import ProgressBar
from lrnn_jax.sweeps import Stopped, message_of

HELP = """\
usage: lrnn-jax [COMMAND] [OPTIONS]

Learning dynamics of low-rank recurrent networks: exact theory against trained networks.

commands:
  (none)               the main job, the same as `run filter`
  run NAME             run an experiment: table, figure and dataset in a folder
  list                 the experiments
  report DIR…          several runs as one HTML page, figures embedded
  sweep FILE.toml      many cells, resumable; `sweep status DIR` reports
  audit NAME           a claim-by-claim table over settings and seeds, one HTML page
  analyse FILE         what the theory says about your own network
  infer DATA.csv       what a learning curve says of invisible overlaps

Every command explains its options with --help, e.g. `lrnn-jax run filter --help`.
`--json` prints one JSON object, alone on standard output.

experiments:
"""

Preset = Literal["full", "quick"]


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
    """Folder of compiled programs, for later runs; default the user's cache folder, up to 1 GB."""
    no_cache: bool = False
    """Keep no compiled programs."""

    @property
    def compiled(self) -> bool | Path:
        """Where compiled programs are kept, as `setup_jax` takes it."""
        if self.cache is not None and self.no_cache:
            raise ValueError("`--cache` and `--no-cache` exclude each other: give one of them.")
        return not self.no_cache and (self.cache or True)


@dataclasses.dataclass(frozen=True)
class Series:
    """Runs with many seeds."""

    seeds: int = 1
    """Runs, with seed, seed + 1, …: how often each claim holds, and how its numbers spread."""
    resume: bool = False
    """Go on in the store of an interrupted series, beside the folder of results."""
    shard: str | None = None
    """i/n: run the i-th of n parts of the series, i = 0 … n−1; a last --resume reports."""


def main(arguments: list[str]) -> int:
    """Run a command.

    Arguments:
        arguments: without the program's name.

    Returns: the exit code: 0, 1 when a claim does not hold or the work failed, 2 for wrong input,
    75 for a sweep that was stopped and can be resumed, 130 when interrupted.
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
    typed: dict[str, Any] = {"list": _list, "report": _report, "audit": _audit}
    typed |= {"analyse": _analyse, "infer": _infer}
    commands: dict[str, Callable[[list[str]], int]] = {"run": _run, "sweep": sweep_command}
    commands |= {name: functools.partial(_parse, f, command=name) for name, f in typed.items()}
    if command not in commands:
        meant = {name: name for name in commands} | {name: f"run {name}" for name in REGISTRY}
        close = difflib.get_close_matches(command, meant, n=1)
        hint = f" Did you mean 'lrnn-jax {meant[close[0]]}'?" if close else ""
        return _complain(f"there is no command {command!r}.{hint} See lrnn-jax --help.")
    try:
        return commands[command](rest)
    except BrokenPipeError:
        raise
    except (ValueError, ImportError) as error:
        return _complain(str(error))
    except OSError as error:
        return _complain(f"{error.filename or 'a file'}: {error.strerror or error}.")
    except (RuntimeError, MemoryError) as error:  # of learning, stores and devices
        return _complain(message_of(error), 1)
    except KeyboardInterrupt as stop:
        print(f"\ninterrupted{stop}", file=sys.stderr)
        return 130


def _complain(message: str, code: int = 2) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


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


def _parse(function: Callable[..., Any], rest: list[str], command: str, **options: Any) -> Any:
    """Call a function with the arguments that are meant for it: those without default by place."""
    try:
        import tyro
    except ImportError:
        raise ValueError("the command line needs an extra: pip install 'lrnn_jax[cli]'.") from None
    given = [word.partition("=")[0] for word in rest if word.startswith("--")]
    if twice := [option for option in dict.fromkeys(given) if given.count(option) > 1]:
        raise ValueError(f"`{twice[0]}` is given twice: once, with all of its values after it.")
    conf = tyro.conf
    config = conf.OmitArgPrefixes, conf.PositionalRequiredArgs, conf.FlagCreatePairsOff
    return tyro.cli(function, prog=f"lrnn-jax {command}", args=rest, config=config, **options)


def _list() -> int:
    """The experiments: paper and figure, times, what each shows."""
    print(_listing())
    return 0


def _report(folders: tuple[Path, ...], out: Path = Path("report.html")) -> int:
    """Collect finished runs in one self-contained HTML page.

    Args:
        folders: of the runs.
        out: the page.
    """
    if not folders:
        raise ValueError("report needs folders that `lrnn-jax run` wrote; see report --help.")
    write_page(out, page(folders))
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
    experiment, command = get(name), f"run {name}"
    parsed = _parse(_preset, rest, command, return_unknown_args=True, add_help=False)
    default = getattr(experiment, parsed[0])
    kind = type(default)

    def run(
        config: kind = default,  # pyright: ignore[reportInvalidTypeForm]
        preset: Preset = parsed[0],
        output: Options = Options(),
        series: Series = Series(),
    ) -> int:
        setup_jax(output.dtype, cache=output.compiled, devices=experiment.devices(config))
        if series == Series():
            return 0 if _deliver(experiment, config, output, name) else 1
        with stop_signals() as stop:
            return _deliver_series(experiment, config, output, series, stop)

    what = (kind.__doc__ or "").partition("\n\n")[0]  # without its example
    run.__doc__ = f"{what}\n\nArgs:\n    preset: sets the defaults of the others."
    return _parse(run, parsed[1], command)


def _preset(preset: Preset = "full") -> Preset:
    return preset


def _analyse(
    network: Path,
    reading: Reading = Reading(),
    chosen: Chosen = Chosen(),
    config: AnalysisConfig = AnalysisConfig(),
    output: Options = Options(),
) -> int:
    """What the theory says about your own network: rank, overlaps, what outputs depend on, how it
    would learn a task; of a nonlinear one how Gaussian its loadings are, and how far closure and
    infinite width are from it.

    Args:
        network: a file that load_network reads: .npz, PyTorch's, .safetensors, .mat.
        reading: how the file is read.
        chosen: what is analysed.
        config: what it would learn.
        output: where results go.
    """
    setup_jax(output.dtype, cache=output.compiled)
    found = analysis(network, reading, chosen, config, output.dtype)
    _deliver(found, config, output, f"analyse-{network.stem}")
    return 0


def _infer(
    data: Path,
    learned: Learned = Learned(),
    assumed: Assumed = Assumed(),
    out: Path | None = None,
    json: bool = False,
) -> int:
    """What a learning curve says of invisible overlaps: intervals, what is weak, what stays open.

    Args:
        data: csv file: a column epoch or session, and zm zu vm vu, or loss, or correct trials, or
            y0 y20 …
        learned: what was learned, and how.
        assumed: what is known of the data.
        out: .npz file for the estimate.
        json: print one JSON object.
    """
    setup_jax()
    found = estimate(data, learned, assumed)
    if out is not None:
        found.save(out)
    print(as_json(found) if json else found)
    return 0


def _deliver(experiment: Any, config: Any, options: Options, name: str) -> bool:
    """Run, write and print; where Ctrl-C ends the work, what was computed is kept beside the
    folder, in NAME-interrupted. Returns: whether all claims hold."""
    folder, bar = options.out or Path("runs") / name, ProgressBar()
    check_place(folder)  # before anything is computed
    recorder = Recorder(bar)
    print(*experiment.before, sep="\n", end="\n" * bool(experiment.before), file=sys.stderr)
    try:
        report = experiment.record(config, recorder)
    except KeyboardInterrupt:
        what = f" in {bar.what!r}" if bar.what else ""
        aside = folder.with_name(f"{folder.name}-interrupted")
        kept = save_curves(recorder.curves.values(), aside)
        raise KeyboardInterrupt(f"{what}; {kept}") from None
    finally:
        bar.close()
    return _leave(report, folder, options)


def _deliver_series(
    experiment: Any, config: Any, options: Options, series: Series, stop: Callable[[], bool]
) -> int:
    """Run with many seeds, write and print; finished runs are kept in a store beside the folder."""
    folder = options.out or Path("runs") / f"{experiment.name}-seeds"
    check_place(folder)
    store = folder.with_name(f"{folder.name}.store")
    shard = share_of(series.shard, "--shard") if series.shard else None
    seeds = whole(series.seeds, "--seeds", 1)
    how: dict[str, Any] = {"store": store, "resume": series.resume, "shard": shard, "stop": stop}
    kept = f"; finished runs are kept in {store}: --resume"
    try:
        report = over_seeds(experiment, config, seeds=seeds, **how)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(kept) from None
    except Stopped:
        print(f"stopped{kept}", file=sys.stderr)
        return RESUME
    if report.failed:
        why = f"`lrnn-jax sweep status {store}` says why"
        print(f"{report.failed} of {series.seeds} runs failed: {why}", file=sys.stderr)
    if report.missing:
        left = f"{report.missing} of {series.seeds} runs are left to other shards"
        print(left + kept, file=sys.stderr)
        return 0
    return 0 if _leave(report, folder, options) else 1


def _audit(
    name: str,
    settings: tuple[str, ...] = (),
    output: Options = Options(),
    series: Series = Series(seeds=15),
) -> int:
    """Run an experiment with many seeds in many settings: which claims hold how often, where.

    Args:
        name: closed_loop: [CL] as an independent audit would test it; tradeoff: trained with short
            and long trials, cheap and dear control.
        settings: some of the settings by name; default all.
        output: where results go: a folder for each setting, and index.html.
        series: how many runs for each setting.
    """
    if name not in AUDITS:
        raise ValueError(f"there is no audit {name!r}: take one of {', '.join(AUDITS)}.")
    experiment, known = AUDITS[name]
    if unknown := [one for one in settings if one not in known]:
        raise ValueError(f"`--settings` are some of {', '.join(map(repr, known))}; got {unknown}.")
    setup_jax(output.dtype, cache=output.compiled)
    place = output.out or Path("runs") / f"audit-{name}"
    folders = {one: place / one.replace(" ", "-") for one in settings or known}
    *_, last = folders
    with stop_signals() as stop:  # one that comes in a setting's last run counts for the next
        for setting, folder in folders.items():
            print(setting, file=sys.stderr)
            told = dataclasses.replace(output, out=folder)
            with contextlib.redirect_stdout(io.StringIO() if output.json else sys.stdout):
                code = _deliver_series(experiment, known[setting], told, series, stop)
            if code != RESUME and stop() and setting != last:
                print(f"stopped after {setting!r}: go on with --resume", file=sys.stderr)
                code = RESUME
            if code == RESUME:
                return code
    if not all((folder / "report.json").is_file() for folder in folders.values()):
        return 0  # a shard, and not the last
    write_page(place / "index.html", page(list(folders.values()), compared=True))
    if output.json:
        found = {one: json.loads((f / "report.json").read_text()) for one, f in folders.items()}
        print(json.dumps(found))
    else:
        print(f"page    {(place / 'index.html').resolve()}")
    return 0


def _leave(report: Any, folder: Path, options: Options) -> bool:
    """Write and print what was found. Returns: whether all claims hold."""
    found = describe(report)
    try:
        found |= write(report, found, folder, options.format)
    finally:  # also where it could not be written
        print(json.dumps(found) if options.json else text(found))
    return all(claim.holds for claim in report.claims)

"""Sweeps as jobs of an executor, sweeps that are asked to stop, and what schedulers see of them."""

import contextlib
import importlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import zarr

import lrnn_jax as lrnn
from lrnn_jax import sweeps
from lrnn_jax.cli import main
from lrnn_jax.sweeps import Labelled, Stopped, Store, open_sweep

shards = importlib.import_module("lrnn_jax.sweeps._shards")
cluster = importlib.import_module("lrnn_jax.cli._cluster")
CELLS = {"lr": [0.01, 0.02, 0.03], "rate": np.linspace(0.1, 0.7, 7)}


def make(store, traced=True, chunk=2):
    """A sweep whose function travels by value: no module of the tests is found elsewhere."""

    def run(key, lr, rate):
        noise = jnp.exp(lr * jr.normal(key, (4,)))
        return {"loss": Labelled(rate + noise, "epoch"), "level": rate * jnp.mean(noise)}

    def host(lr, rate):
        return {"level": float(lr) * float(rate)}

    if not traced:
        return lrnn.Sweep(CELLS, host, store=store, traced=False, name="shards")
    return lrnn.Sweep(CELLS, run, key=jr.key(0), chunk=chunk, store=store, name="shards")


def contents(store):
    """The bytes of all results, and what the sweep is."""
    files = [path for path in sorted(Path(store).rglob("*")) if path.is_file()]
    told = [path for path in files if "done" not in path.parts and "locks" not in path.parts]
    return {str(path.relative_to(store)): path.read_bytes() for path in told}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes that one process leaves, with traced cells and with others."""
    folder = tmp_path_factory.mktemp("whole")
    for traced in (True, False):
        make(folder / str(traced), traced).run(progress=False)
    return {traced: contents(folder / str(traced)) for traced in (True, False)}


@pytest.fixture(autouse=True)
def _flags(monkeypatch):
    """What the command line adds to the compiler's flags goes with the test."""
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))


class Here:
    """Runs what it gets at once; jobs of these numbers are lost."""

    def __init__(self, *lost):
        self.lost = lost

    def submit(self, function, *arguments):
        future = Future()
        try:
            if arguments[1][0] in self.lost:
                raise OSError("the node is down")
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


def test_jobs_may_make_the_first_folder_at_once(tmp_path, whole, monkeypatch):
    make_group, late = zarr.open_group, []

    def another_was_first(path, mode, **options):
        group = make_group(path, mode=mode, **options)
        if mode == "a" and not late:
            late.append(path)
            raise zarr.errors.ContainsGroupError(f"A group exists at {path}.")
        return group

    monkeypatch.setattr(zarr, "open_group", another_was_first)
    make(tmp_path, traced=False).run(progress=False)
    assert late
    assert contents(tmp_path) == whole[False]


FORGET = "import os; os.environ.pop('XLA_FLAGS', None)"


def test_processes_of_their_own_give_the_bytes_of_one(tmp_path, whole):
    """Its settings of JAX, made by `jax.config`, and its flags, forgotten there, travel along."""
    assert os.environ["XLA_FLAGS"]
    assert jax.config.jax_enable_x64
    with ProcessPoolExecutor(1, get_context("spawn"), exec, (FORGET,)) as pool:
        data = make(tmp_path).run(executor=pool, shards=3, progress=False)
        assert (data.result == 0).all()
        assert contents(tmp_path) == whole[True]
        host = make(tmp_path / "host", traced=False)
        host.run(executor=pool, shards=2, progress=False)
        assert contents(tmp_path / "host") == whole[False]


@pytest.mark.parametrize("lost", [(0,), (1, 2), (0, 1, 2, 3)])
def test_lost_jobs_take_nothing_with_them(tmp_path, whole, lost):
    with pytest.raises(OSError, match="the node is down") as raised:
        make(tmp_path, traced=False).run(executor=Here(*lost), shards=4, progress=False)
    (note,) = raised.value.__notes__
    assert f"{len(lost)} of 4 jobs failed" in note
    assert "resume=True" in note
    if len(lost) < 4:
        assert (open_sweep(tmp_path).result >= 0).any()
        with pytest.raises(ValueError, match=r"already holds .* resume=True"):
            make(tmp_path, traced=False).run(executor=Here(), shards=4)
    make(tmp_path, traced=False).run(executor=Here(), shards=3, resume=True, progress=False)
    assert contents(tmp_path) == whole[False]


def test_threads_get_the_settings_of_who_asks(tmp_path):
    with jax.enable_x64(False), ThreadPoolExecutor(2) as pool:
        data = make(tmp_path, traced=False).run(executor=pool, shards=2, progress=False)
    assert data.level.dtype == np.float32
    assert jnp.ones(1).dtype == np.float64


def test_what_forks_is_refused_with_the_remedy(tmp_path, monkeypatch):
    remedy = re.escape('mp_context=multiprocessing.get_context("spawn")')
    with pytest.raises(ValueError, match=remedy):
        make(tmp_path).run(executor=ProcessPoolExecutor(1, get_context("fork")), shards=2)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(shards, "BORN", os.getpid() + 1)  # as in a child, of whatever forked it
    with pytest.raises(ValueError, match=remedy):
        make(tmp_path, traced=False).run(executor=Here(), shards=2, progress=False)


def test_flags_are_not_changed_where_jax_has_started(tmp_path, monkeypatch):
    parcel = shards._parcel((make(tmp_path, traced=False), {}))
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    with pytest.raises(ValueError, match=r"JAX has started .*`executor` with .*fast_math"):
        shards.work(parcel, (0, 2))
    assert os.environ["XLA_FLAGS"] == "--xla_cpu_enable_fast_math=true"
    assert jax.config.jax_num_cpu_devices == -1


def test_a_gpu_s_store_does_not_ask_for_flags_of_cpus(tmp_path, monkeypatch):
    flags = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1 --xla_a=b"
    monkeypatch.setenv("XLA_FLAGS", f"{flags} --xla_force_host_platform_device_count=2")
    sweep = make(tmp_path, traced=False)
    assert sweep._manifest("gpu")["compiler"] == ["--xla_a=b"]
    assert sweep._manifest("cpu")["compiler"] == sorted(flags.split())


WRONG = {
    "executor": ({"executor": 3, "shards": 2}, "`executor` must be such as"),
    "none": ({"shards": 2}, "`executor` must be such as"),
    "shards": ({"executor": Here()}, "`shards` must be a whole number"),
    "both": ({"executor": Here(), "shards": 2, "shard": (0, 2)}, "`shard` and `stop`"),
    "stop": ({"stop": 3}, "`stop` must be a function"),
    "stops": ({"executor": Here(), "shards": 2, "stop": bool}, "`shard` and `stop`"),
}


@pytest.mark.parametrize(("options", "words"), WRONG.values(), ids=WRONG)
def test_wrong_options_are_named(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        make(tmp_path, traced=False).run(**options)
    assert list(tmp_path.iterdir()) == []


def test_jobs_need_a_store_and_what_can_travel(tmp_path):
    with pytest.raises(ValueError, match="`store`"):
        make(None).run(executor=Here(), shards=2)
    file = (tmp_path / "open").open("w")
    with file, pytest.raises(ValueError, match=r"`function` and `cells` .* cannot travel"):
        lrnn.sweep({"x": [1.0]}, lambda x: {"y": x, "f": file and x}, store=tmp_path / "s",
                   executor=Here(), shards=2)  # fmt: skip


@pytest.mark.parametrize(("traced", "asked"), [(True, 3), (False, 0), (False, 5)])
def test_a_sweep_that_is_to_stop_ends_after_a_chunk(tmp_path, whole, traced, asked):
    def stop():
        return len(Store(tmp_path).done()) >= asked

    with pytest.raises(Stopped, match="what is complete is kept"):
        make(tmp_path, traced).run(stop=stop, progress=False)
    # traced chunks are begun while others are written
    assert len(Store(tmp_path).done()) == asked + traced
    assert not any((tmp_path / "locks").glob("*"))
    make(tmp_path, traced).run(resume=True, stop=lambda: False, progress=False)
    assert contents(tmp_path) == whole[traced]
    make(tmp_path, traced).run(resume=True, stop=lambda: True, progress=False)  # nothing is left


def test_a_scheduler_s_signals_end_with_a_code_that_says_resume(tmp_path, monkeypatch, capsys):
    numbers, write, sent = [signal.SIGTERM, signal.SIGUSR1], Store.write, []

    def interrupted(self, *arguments):
        write(self, *arguments)
        if sent:
            os.kill(os.getpid(), sent.pop())

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweeps, "read_sweep", lambda file, store, runs: make(store, traced=False))
    monkeypatch.setattr(Store, "write", interrupted)
    before, command = [*map(signal.getsignal, numbers)], ["sweep", "f.toml", "--store", "s"]
    for number, ended, done in ((numbers[0], 75, 1), (numbers[1], 75, 2), (None, 0, 21)):
        sent[:] = [number] * (number is not None)
        assert main([*command, "--resume"]) == ended
        assert len(Store("s").done()) == done
        assert main(["sweep", "status", "s", "--complete"]) == ended
        assert main(["sweep", "status", "s"]) == 0
    assert capsys.readouterr().err.count("stopped; what is complete is kept in s: --resume") == 2
    assert [*map(signal.getsignal, numbers)] == before


PAGE = Path(__file__).parent.parent / "notebooks" / "howto" / "cluster.md"
SCRIPTS = re.findall(r"```bash\n(#!/bin/bash\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
STUBS = {
    "srun": 'while [[ $1 == --* ]]; do shift; done; exec "$@"',
    "lrnn-jax": 'echo lrnn-jax "$@" >> calls; exit $ENDS',
    "scontrol": 'echo scontrol "$@" >> calls',
}


@pytest.mark.parametrize("script", SCRIPTS, ids=["array", "one GPU", "four GPUs", "two nodes"])
def test_the_scripts_of_the_page_go_on_when_they_are_told(tmp_path, capsys, script):
    """In bash, with stand-ins for what a cluster has."""
    for name, body in STUBS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"CPUS_PER_TASK": "4", "ARRAY_TASK_ID": "3", "ARRAY_TASK_COUNT": "8", "JOB_ID": "17"}
    environment = {f"SLURM_{k}": v for k, v in slurm.items()} | {
        "PATH": f"{tmp_path}:/usr/bin:/bin"
    }
    for code in (0, 1, 75):
        (tmp_path / "calls").unlink(missing_ok=True)
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=environment | {"ENDS": str(code)}
        )
        command, *others = (tmp_path / "calls").read_text().splitlines()
        assert done.returncode == code
        assert others == ["scontrol requeue 17"] * (code == 75)
    assert ("--shard 3/8" in command) == ("--array" in script)
    with pytest.raises(SystemExit):
        main(["sweep", "--help"])
    known = capsys.readouterr().out
    assert all(f" {option} " in known for option in re.findall(r"--[a-z]+", command))
    assert all(re.search(rf"\b{code} ", known) for code in (0, 1, 2, 75, 130))


LAUNCHED = {
    "alone": ({}, None),
    "a batch script": ({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, None),
    "srun of one": ({"SLURM_STEP_NUM_TASKS": "1"}, None),
    "srun": ({"SLURM_STEP_NUM_TASKS": "2", "PMI_SIZE": "2"}, "slurm"),
    "Open MPI": ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_MCA_orte_hnp_uri": "x"}, "ompi"),
    "Open MPI in SLURM": (
        {
            "OMPI_COMM_WORLD_SIZE": "2",
            "OMPI_MCA_orte_hnp_uri": "x",
            "SLURM_STEP_NUM_TASKS": "2",
        },
        "ompi",
    ),
    "Open MPI 5": ({"OMPI_COMM_WORLD_SIZE": "2"}, "mpi4py"),
    "MPICH": ({"PMI_SIZE": "8"}, "mpi4py"),
    "a pod": ({"KUBERNETES_SERVICE_HOST": "x"}, None),
    "an indexed job": ({"KUBERNETES_SERVICE_HOST": "x", "JOB_COMPLETION_INDEX": "0"}, "k8s"),
}


@pytest.mark.parametrize(("environment", "launcher"), LAUNCHED.values(), ids=LAUNCHED)
def test_peers_are_found_where_something_launched_them(monkeypatch, environment, launcher):
    """By JAX's own name for it; MPI and Kubernetes need a package, without which each is alone."""
    asked = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *a, **o: asked.append((a, o)))
    monkeypatch.setattr(os, "environ", environment)
    for spec, found in ((object(), launcher), (None, None)):
        monkeypatch.setattr(cluster, "find_spec", lambda name, spec=spec: spec)
        cluster.join_processes(None, None, alone=False)
        detected = launcher if launcher in ("slurm", "ompi") else found
        assert asked == [((), {"cluster_detection_method": detected})] * (detected is not None)
        asked.clear()
    cluster.join_processes(None, None, alone=True)  # with --shard
    assert asked == []
    cluster.join_processes("host:1", (1, 2), alone=False)
    assert asked == [(("host:1", 2, 1), {})]


@pytest.mark.slow
def test_processes_of_srun_find_each_other(tmp_path):
    """Two processes with what SLURM tells its tasks, and no argument that names the other."""
    fixed = "[sweep]\nchunk = 1\n[fixed]\nepochs = 5\nn = 10\nsteps = 20\n"
    (tmp_path / "file.toml").write_text(fixed + "[axes]\nlr = [0.1, 0.2, 0.3, 0.4]")
    slurm = {"JOB_ID": str(os.getpid()), "STEP_NODELIST": "127.0.0.1", "NTASKS": "2"}
    slurm |= {"STEP_NUM_TASKS": "2", "STEP_NUM_NODES": "1"}
    command = [sys.executable, "-m", "lrnn_jax", "sweep", "file.toml", "--store", "s"]
    running = []
    for number in "01":
        mine = {f"SLURM_{k}": v for k, v in {**slurm, "PROCID": number, "LOCALID": number}.items()}
        running.append(subprocess.Popen(command, cwd=tmp_path, env=os.environ | mine))
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    whole = tmp_path / "whole"
    done = subprocess.run([*command[:-1], str(whole)], cwd=tmp_path)
    assert done.returncode == 0
    assert contents(tmp_path / "s") == contents(whole)


@contextlib.contextmanager
def processes():
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        yield pool


@contextlib.contextmanager
def submitit():
    module = pytest.importorskip("submitit")
    with tempfile.TemporaryDirectory() as logs:
        executor = module.LocalExecutor(logs)
        executor.update_parameters(timeout_min=5)
        yield executor


@contextlib.contextmanager
def dask():
    module = pytest.importorskip("distributed")
    with (
        module.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as local,
        module.Client(local) as client,
    ):
        yield client.get_executor()


@contextlib.contextmanager
def executorlib():
    module = pytest.importorskip("executorlib")
    with module.SingleNodeExecutor(max_workers=2) as executor:
        yield executor


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("make_executor", [processes, submitit, dask, executorlib])
def test_eight_shards_by_any_executor_are_one_process_s_bytes(tmp_path, whole, make_executor):
    with make_executor() as executor:
        make(tmp_path).run(executor=executor, shards=8, progress=False)
    assert contents(tmp_path) == whole[True]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("make_executor", [processes, submitit, executorlib])
def test_a_killed_job_of_any_executor_loses_nothing(tmp_path, whole, make_executor):
    """The process of the third chunk kills itself as the system would, without a last word."""

    def run(key, lr, rate):
        def die(x):
            if x > 0.25 and not (tmp_path / "died").exists():
                (tmp_path / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return x

        rate = jax.pure_callback(die, rate, rate, vmap_method="sequential")
        return {"level": rate + lr * jr.normal(key)}

    def sweep(store):
        return lrnn.Sweep(CELLS, run, key=jr.key(0), chunk=2, store=store, name="killed")

    with make_executor() as executor, contextlib.suppress(Exception):
        sweep(tmp_path / "s").run(executor=executor, shards=4, progress=False)
    assert (tmp_path / "died").exists()
    assert len(Store(tmp_path / "s").done()) < 11
    with make_executor() as executor:
        sweep(tmp_path / "s").run(executor=executor, shards=4, resume=True, progress=False)
    sweep(tmp_path / "one").run(executor=Here(), shards=1, progress=False)
    assert contents(tmp_path / "s") == contents(tmp_path / "one")

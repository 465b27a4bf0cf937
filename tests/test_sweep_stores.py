"""What stands in a store is what was computed: damage and other functions are noticed."""

import functools
import hashlib
import json
import os
import shutil
import stat
import threading
import time
import warnings
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax.sweeps import Labelled, Store, StoreError, open_sweep

CELLS = {"x": np.arange(8.0)}


def curve(x):
    return {"y": 2 * x, "curve": Labelled(x * jnp.arange(3.0), "epoch"), "nothing": jnp.nan * x}


def make(store, function=curve, **options):
    options = {"chunk": 2, "store": store} | options
    return lrnn.Sweep(CELLS, function, **options)


@pytest.fixture
def store(tmp_path):
    make(tmp_path / "s").run(progress=False)
    return tmp_path / "s"


def flip(path, place=0.5):
    """One bit of a file."""
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1
    path.write_bytes(data)


def edit(path, **changes):
    """Change entries of a small file, as its writer would have: without a checksum."""
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if key != "crc32"}))


def summed_as_before(store, kind):
    """Give a store the checksums of earlier versions: hashes, or CRC-32; none of small files."""

    def total(values):
        head = f"{values.dtype.str}{values.shape}".encode()
        if kind == "crc32":
            return f"crc32:{zlib.crc32(head + values.tobytes()):08x}"
        values = np.where(np.isnan(values), np.nan, values) if values.dtype.kind == "f" else values
        return hashlib.blake2b(head + values.tobytes(), digest_size=16).hexdigest()

    for (index, unit), marker in Store(store).done().items():
        names = marker["checksums"]
        sums = {name: total(Store(store).read(index, unit, name)) for name in names}
        path = store / "done" / f"{index}-{unit:06d}.json"
        path.write_text(json.dumps({k: v for k, v in marker.items() if k != "of"}))
        edit(path, checksums=sums)
    for path in (store / "manifest.json", *(store / "groups").iterdir()):
        edit(path)


DAMAGE = {
    "flipped bit": lambda data: flip(data / "y" / "c" / "1"),
    "cut": lambda data: os.truncate(data / "curve" / "c" / "1" / "0", 9),
    "lost": lambda data: (data / "curve" / "c" / "1" / "0").unlink(),
    "foreign": lambda data: shutil.copy(data / "y" / "c" / "2", data / "y" / "c" / "1"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("before", ["", "hashed", "crc32"])
def test_a_damaged_chunk_counts_as_not_run_and_is_named(store, damage, before):
    if before:
        summed_as_before(store, before)
    whole = open_sweep(store).load()
    assert (whole.result == 1).all()  # a NaN each: diverged
    damage(store / "data" / "0")
    with pytest.warns(UserWarning, match=r"1 chunk\(s\) .* damaged: 0-000001 .*resume"):
        data = open_sweep(store).load()
    assert data.isel(x=[0, 1, 4, 5, 6, 7]).identical(whole.isel(x=[0, 1, 4, 5, 6, 7]))
    assert (data.result[2:4] == -1).all()
    lost = np.isnan(data.y[2:4]).all(), np.isnan(data.curve[2:4]).all()
    assert any(lost)
    assert Store(store).damaged() == [(0, 1)]
    assert make(store).run(resume=True, progress=False).load().identical(whole)


def test_lost_files_show_in_the_results_read_alone(store):
    (store / "data" / "0" / "y" / "c" / "3").unlink()
    with pytest.warns(UserWarning, match="0-000003"):
        assert open_sweep(store).result.values.tolist() == [1] * 6 + [-1] * 2
    shutil.rmtree(store / "data" / "0" / "curve")
    with pytest.warns(UserWarning, match=r"4 chunk\(s\)"):
        assert (open_sweep(store).result == -1).all()
    again = make(store).run(resume=True, progress=False)
    np.testing.assert_array_equal(again.y, 2 * CELLS["x"])
    np.testing.assert_array_equal(again.curve[:, 2], 2 * CELLS["x"])


def copy_chunk(there, here, unit, onto):
    """Put a chunk of a store, with its marker, in the place of another one."""
    for name in ("y", "curve", "result"):
        after = "/0" if name == "curve" else ""
        shutil.copy(
            there / f"data/0/{name}/c/{unit}{after}", here / f"data/0/{name}/c/{onto}{after}"
        )
    shutil.copy(there / f"done/0-{unit:06d}.json", here / f"done/0-{onto:06d}.json")


@pytest.mark.parametrize("before", [False, True], ids=["", "without names in markers"])
def test_a_chunk_of_another_place_or_sweep_is_not_shown(store, tmp_path, before):
    whole = open_sweep(store).load()
    if before:
        summed_as_before(store, "crc32")
    else:
        make(tmp_path / "t", lambda x: {**curve(x), "y": 3 * x}).run(progress=False)
        copy_chunk(tmp_path / "t", store, 3, 3)
    copy_chunk(store, store, 0, 2)
    data = open_sweep(store).load()
    assert (data.result.values == [1] * 4 + [-1] * 2 + [1 if before else -1] * 2).all()
    assert np.isnan(data.y[4:6]).all()
    assert make(store).run(resume=True, progress=False).load().identical(whole)


def test_numbers_without_a_marker_are_not_shown(store):
    (store / "done" / "0-000002.json").unlink()
    data = open_sweep(store)
    assert data.result.values.tolist() == [1] * 4 + [-1] * 2 + [1] * 2
    assert np.isnan(data.y.values).tolist() == [False] * 4 + [True] * 2 + [False] * 2


FOREIGN = {
    "manifest": ("manifest.json", '{"name": "my web app"}', "manifest.json .*lacks function"),
    "list": ("manifest.json", "[1]", "manifest.json .*lacks an object"),
    "cut manifest": ("manifest.json", '{"format": 1,', "manifest.json cannot be read"),
    "group": ("groups/0.json", "{}", "groups/0.json .*lacks cells"),
    "array": ("data/0/y/zarr.json", "{", "zarr.json is damaged.*delete .*resume"),
}


SMALL = ("manifest.json", "groups/0.json", "groups/0.coordinates.json", "done/0-000001.json")


def as_written_or_named(store, path, whole):
    """Whether a store with a wrong file says so, or shows nothing but what was computed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = open_sweep(store).load()
    except StoreError as error:
        return path in str(error) and "\n" not in str(error)
    fine = data.result.values == 1
    shown = [(data.get(name), whole[name]) for name in ("y", "curve") if name in data]
    return bool((data.result.values[~fine] == -1).all()) and all(
        np.array_equal(np.where(fine, new.values.T, 0), np.where(fine, old.values.T, 0))
        for new, old in shown
    )


def nonsense(content):
    """The content of a small file with something else in the place of one entry."""
    places = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in places:
        others = [None, -1, 10**30, 1.5, True, "x", [], {}, [[]], {"x": 1}]
        if isinstance(value, (dict, list)):
            others += nonsense(value)
        for other in others:
            new = dict(content) if isinstance(content, dict) else list(content)
            new[key] = other
            yield new


@pytest.fixture
def positioned(tmp_path):
    """A store with positions along an axis."""

    def run(x):
        return {**curve(x), "epoch": Labelled(5 * jnp.arange(3), "epoch", coordinate=True)}

    make(tmp_path / "s", run).run(progress=False)
    return tmp_path / "s"


@pytest.mark.parametrize("path", SMALL)
@pytest.mark.parametrize("many", [12, pytest.param(10**6, marks=pytest.mark.slow)], ids=["", "all"])
def test_small_files_of_nonsense_are_named_or_do_no_harm(positioned, path, many):
    whole, file = open_sweep(positioned).load(), positioned / path
    assert whole.epoch.values.tolist() == [0, 5, 10]
    good = file.read_text()
    changed = list(nonsense({k: v for k, v in json.loads(good).items() if k != "crc32"}))
    order = np.random.default_rng(0).permutation(len(changed))[:many]
    for content in [changed[i] for i in order]:
        file.write_text(json.dumps(content))
        assert as_written_or_named(positioned, path, whole), content
    for place in np.random.default_rng(1).random(many)[:200]:
        file.write_text(good)
        flip(file, place)
        assert as_written_or_named(positioned, path, whole), file.read_bytes()


@pytest.mark.parametrize(("path", "text", "answer"), FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_or_damaged_file_is_named(store, path, text, answer):
    (store / path).write_text(text)
    with pytest.raises(StoreError, match=answer):
        make(store).run(resume=True, progress=False)
    with pytest.raises(StoreError, match=answer):
        open_sweep(store).load()


@pytest.mark.parametrize("text", ["", "{}", "[1]"])
@pytest.mark.parametrize("name", ["0-000001.json", "notes.json", "a-b.json"])
def test_a_marker_of_something_else_counts_for_nothing(store, name, text):
    whole = open_sweep(store).load()
    (store / "done" / name).write_text(text)
    assert len(Store(store).done()) == 4 - (name[0] == "0")
    assert make(store).run(resume=True, progress=False).load().identical(whole)


def test_an_array_whose_description_is_broken_is_computed_again_once_deleted(store):
    whole = open_sweep(store).load()
    (store / "data" / "0" / "y" / "zarr.json").write_text("{")
    shutil.rmtree(store / "data" / "0" / "y")
    assert make(store).run(resume=True, progress=False).load().identical(whole)


def test_a_finished_store_is_read_and_resumed_without_writing(store):
    def state():
        return {path: path.stat().st_mtime_ns for path in [store, *store.rglob("*")]}

    before = state()
    rights = {path: path.stat().st_mode for path in before}
    for path in before:
        path.chmod(rights[path] & ~0o222)
    try:
        whole = open_sweep(store).load()
        assert make(store).run(resume=True, progress=False).load().identical(whole)
        assert Store(store).damaged() == []
        assert Store(store).held() == 0
    finally:
        for path, mode in rights.items():
            path.chmod(mode)
    assert state() == before  # every file made or removed would show in its folder's time


def test_a_folder_of_something_else_is_no_store(tmp_path):
    (tmp_path / "thesis.tex").write_text("the only copy")
    with pytest.raises(StoreError, match=r"holds thesis.tex and no sweep: choose another folder"):
        make(tmp_path).run(progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_files_have_the_permissions_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        make(tmp_path / "s").run(progress=False)
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "s").rglob("*") if path.is_file()]
    assert len(files) > 20
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o640}


def test_of_two_writers_of_a_chunk_the_first_wins(store):
    marker = store / "done" / "0-000001.json"
    note = {**json.loads(marker.read_text()), "outcomes": {}}
    marker.unlink()
    first, second = Store(store), Store(store)
    assert not any(store.is_done(0, 1) for store in (first, second))
    arrays = {"y": np.ones(2), "curve": np.ones((2, 3)), "nothing": np.ones(2)}
    ended = {"result": np.zeros(2, int)}
    first.write(0, 1, arrays | ended, note)
    second.write(0, 1, {name: 2 * values for name, values in arrays.items()} | ended, note)
    assert open_sweep(store).y.values[2:4].tolist() == [1, 1]


def test_two_writers_at_once_leave_no_mixture(store):
    """As where a system has no locks: one of the two, or a chunk that counts as damaged."""
    note = json.loads((store / "done" / "0-000001.json").read_text())
    seen = set()
    for _ in range(10):
        (store / "done" / "0-000001.json").unlink()
        gate = threading.Barrier(2)

        def write(value, gate=gate):
            mine = {"y": np.full(2, value), "curve": np.full((2, 3), value), "nothing": np.ones(2)}
            writer = Store(store)
            gate.wait()
            writer.write(0, 1, {**mine, "result": np.ones(2, int)}, note)

        writers = [threading.Thread(target=write, args=(value,)) for value in (1.0, 2.0)]
        [writer.start() for writer in writers]
        [writer.join() for writer in writers]
        reader = Store(store)
        kept = [reader.read(0, 1, name) for name in ("y", "curve")]
        seen |= {tuple(None if x is None else float(x.ravel()[0]) for x in kept)}
    assert seen <= {(1, 1), (2, 2), (None, 1), (None, 2), (1, None), (2, None), (None, None)}


def test_a_chunk_that_another_process_finished_meanwhile_is_left_alone(tmp_path, monkeypatch):
    calls, lock = [], Store.lock

    def run(x):
        calls.append(x)
        return {"y": float(len(calls))}

    def slow(self, index, unit):
        monkeypatch.undo()  # while this process waits, another one does all the work
        make(tmp_path / "s", run, traced=False, chunk=None).run(resume=True, progress=False)
        return lock(self, index, unit)

    monkeypatch.setattr(Store, "lock", slow)
    data = make(tmp_path / "s", run, traced=False, chunk=None).run(progress=False)
    assert calls == list(CELLS["x"])
    assert data.y.values.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_document_is_its_first_writer_s(store, monkeypatch):
    from lrnn_jax import sweeps

    record = json.loads((store / "groups" / "0.json").read_text())
    write_beside = sweeps._folder.write_beside

    def slow(path, content):
        monkeypatch.undo()
        Store(store).keep("groups/1", {**record, "chunk": 3})
        return write_beside(path, content)

    monkeypatch.setattr(sweeps._folder, "write_beside", slow)
    assert Store(store).keep("groups/1", {**record, "chunk": 4})["chunk"] == 3
    assert Store(store).document("groups/1")["chunk"] == 3
    assert len(os.listdir(store / "groups")) == 2  # nothing else is left


def test_a_group_is_cut_as_the_process_says_that_wrote_first(tmp_path, monkeypatch):
    from lrnn_jax import sweeps

    def make(memory):
        run = lambda x: {"y": x * jnp.arange(1000.0)}  # noqa: E731
        return lrnn.Sweep({"x": np.arange(64.0)}, run, memory=memory, store=tmp_path / "s")

    fit = sweeps._sweep.fit

    def slow(*arguments):
        monkeypatch.undo()
        make(60_000).run(resume=True, progress=False)
        return fit(*arguments)

    monkeypatch.setattr(sweeps._sweep, "fit", slow)
    data = make(10**9).run(progress=False)
    assert len(Store(tmp_path / "s").done()) > 8  # of 8 cells each, if the second had its way
    np.testing.assert_array_equal(data.y[:, 1], np.arange(64.0))
    assert Store(tmp_path / "s").damaged() == []


def test_job_arrays_share_out_cells_that_run_one_by_one(tmp_path):
    calls = []

    def run(x):
        calls.append(x)
        return {"y": float(x)}

    job = make(tmp_path / "s", run, traced=False, chunk=None)
    for i, mine in enumerate(([0, 3, 6], [1, 4, 7], [2, 5])):
        calls.clear()
        data = job.run(shard=(i, 3), progress=False)
        assert calls == mine
    assert data.y.values.tolist() == list(range(8))


def test_folders_that_a_copy_left_out_are_made_again(store):
    whole = open_sweep(store).load()
    (store / "locks").rmdir()  # it is empty
    (store / "done" / "0-000000.json").unlink()
    assert make(store).run(resume=True, progress=False).load().identical(whole)


def test_reading_is_linear_in_every_axis(tmp_path):
    def seconds(cells, epochs, chunk):
        path = tmp_path / f"{cells}-{epochs}"
        run = lambda x: {"y": Labelled(jnp.full(epochs, x), "epoch")}  # noqa: E731
        lrnn.Sweep({"x": np.arange(float(cells))}, run, chunk=chunk, store=path).run(progress=False)
        times = []
        for _ in range(3):
            started = time.process_time()
            assert open_sweep(path).y.values[-1, -1] == cells - 1
            times.append(time.process_time() - started)
        return min(times)

    assert seconds(2, 30_000, 1) < 1
    few, many = seconds(50, 1, 1), seconds(400, 1, 1)
    assert many < 16 * few  # 8 times as many chunks


def test_the_places_of_many_cells_are_found_in_one_pass(tmp_path):
    """10^6 cells in 10^4 chunks: 10^10 comparisons if each chunk looked at all cells."""
    cells = {"x": np.arange(1e6)}
    job = lrnn.Sweep(cells, lambda x: {"y": x}, chunk=100, store=tmp_path)
    job.run(shard=(0, 10**4), progress=False)  # its first chunk only
    data = open_sweep(tmp_path)
    started = time.process_time()
    assert np.isfinite(data.y.values).sum() == 100
    assert time.process_time() - started < 3  # of which most are looks for markers


def doubled(x):
    return {"y": np.float64(x) * 2.0}


def tripled(x):
    return {"y": np.float64(x) * 3.0}


def scaled(x, by, *, shift=0.0):
    return {"y": np.float64(x) * by + shift}


def closed_over(by):
    return lambda x: {"y": np.float64(x) * by}


FACTOR = 2.0


def by_global(x):
    return {"y": np.float64(x) * FACTOR}


class Scaled:
    def __init__(self, by):
        self.by = np.full(3000, by)

    def __call__(self, x):
        return {"y": float(x * self.by[1500])}

    def method(self, x):
        return self(x)


CHANGES = {
    "source": (doubled, tripled),
    "closure": (closed_over(2.0), closed_over(3.0)),
    "partial": (functools.partial(scaled, by=2.0), functools.partial(scaled, by=3.0)),
    "object": (Scaled(2.0), Scaled(3.0)),
    "method": (Scaled(2.0).method, Scaled(3.0).method),
    "inside": (closed_over(2.0), lambda x: closed_over(3.0)(x)),
}
again = pytest.mark.parametrize(("function", "other"), CHANGES.values(), ids=CHANGES)


def host(store, function):
    """As if interrupted after the first half of its cells."""
    sweep = make(store, function, traced=False, chunk=None, name="run")
    data = sweep.run(resume=True, progress=False).load()
    for marker in sorted((store / "done").glob("*.json"))[1::2]:
        marker.unlink()
    return data


@again
def test_an_untraced_sweep_whose_function_changed_is_refused(tmp_path, function, other):
    first = host(tmp_path / "s", function)
    assert host(tmp_path / "s", function).identical(first)
    with pytest.raises(ValueError, match="computes something else now"):
        host(tmp_path / "s", other)


def test_an_untraced_sweep_is_refused_for_defaults_globals_and_versions(tmp_path, monkeypatch):
    first = host(tmp_path / "s", by_global)
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    with pytest.raises(ValueError, match="computes something else now"):
        host(tmp_path / "s", by_global)
    monkeypatch.undo()
    assert host(tmp_path / "s", by_global).identical(first)
    monkeypatch.setattr(lrnn, "__version__", "0.0.0")
    with pytest.raises(ValueError, match="computes something else now"):
        host(tmp_path / "s", by_global)
    host(tmp_path / "t", functools.partial(scaled, by=1.0))
    monkeypatch.setitem(scaled.__kwdefaults__, "shift", 1.0)
    with pytest.raises(ValueError, match="computes something else now"):
        host(tmp_path / "t", functools.partial(scaled, by=1.0))


def test_a_changed_function_is_refused_whichever_half_is_there(tmp_path):
    host(tmp_path / "s", doubled)
    for path in [*(tmp_path / "s").glob("groups/[02].json"), *(tmp_path / "s").glob("done/[02]-*")]:
        path.unlink()  # of a job array, say
    before = sorted((tmp_path / "s").rglob("*"))
    with pytest.raises(ValueError, match="computes something else now"):
        host(tmp_path / "s", tripled)
    assert sorted((tmp_path / "s").rglob("*")) == before


def test_a_changed_host_callback_is_seen(tmp_path):
    def sweep(by):
        def times(x):
            return by * x

        def run(x):
            return {"y": jax.pure_callback(times, x, x, vmap_method="expand_dims")}

        return make(tmp_path / "s", run, name="run").run(resume=True, progress=False).load()

    first = sweep(2.0)
    assert first.y.values.tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    assert sweep(2.0).identical(first)
    with pytest.raises(ValueError, match="computes something else now"):
        sweep(3.0)


def test_a_cell_that_raises_where_it_did_not_before_keeps_its_place(tmp_path):
    def run(x):
        if (tmp_path / "no").exists():
            raise ValueError("no")
        return {"y": float(x)}

    def resumed():
        (tmp_path / "s" / "done" / "3-000000.json").unlink(missing_ok=True)
        job = make(tmp_path / "s", run, traced=False, chunk=None, name="run")
        return job.run(resume=True, progress=False)

    assert resumed().y.values.tolist() == list(range(8))
    (tmp_path / "no").write_text("")
    again = resumed()
    assert np.isnan(again.y[3])
    assert again.result.attrs["flag_meanings"].split()[int(again.result[3])] == "raised"
    assert Store(tmp_path / "s").damaged() == []


def test_a_store_from_before_functions_were_told_apart_is_resumed(tmp_path):
    first = host(tmp_path / "s", doubled)
    for path in (tmp_path / "s" / "groups").glob("*.json"):
        edit(path, program="")
    edit(tmp_path / "s" / "manifest.json", program=None)
    for path in (tmp_path / "s" / "done").glob("*.json"):
        edit(path, of=json.loads((tmp_path / "s" / "manifest.json").read_text())["hash"] + " ")
    assert host(tmp_path / "s", doubled).identical(first)


def test_a_sweep_is_known_by_its_name(tmp_path):
    make(tmp_path / "s", name="one").run(progress=False)
    assert open_sweep(tmp_path / "s").attrs["function"] == "one"
    with pytest.raises(ValueError, match="function: one there, two now"):
        make(tmp_path / "s", name="two").run(resume=True)
    assert make(tmp_path / "t").name == f"{__name__}.curve"
    assert make(tmp_path / "t", Scaled(1.0)).name == f"{__name__}.Scaled"

"""What stands in a store is what was computed: damage and other functions are noticed."""

import functools
import hashlib
import json
import os
import shutil
import time

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


def flip(path):
    """One bit of a file, in its middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def hash_as_before(store):
    """Give a store the checksums of earlier versions."""

    def blake(values):
        values = np.where(np.isnan(values), np.nan, values) if values.dtype.kind == "f" else values
        head = f"{values.dtype.str}{values.shape}".encode()
        return hashlib.blake2b(head + values.tobytes(), digest_size=16).hexdigest()

    for (index, unit), marker in Store(store).done().items():
        names = marker["checksums"]
        sums = {name: blake(Store(store).read(index, unit, name)) for name in names}
        path = store / "done" / f"{index}-{unit:06d}.json"
        path.write_text(json.dumps(marker | {"checksums": sums}))


DAMAGE = {
    "flipped bit": lambda data: flip(data / "y" / "c" / "1"),
    "cut": lambda data: os.truncate(data / "curve" / "c" / "1" / "0", 9),
    "lost": lambda data: (data / "curve" / "c" / "1" / "0").unlink(),
    "foreign": lambda data: shutil.copy(data / "y" / "c" / "2", data / "y" / "c" / "1"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("before", [False, True], ids=["", "hashed as before"])
def test_a_damaged_chunk_counts_as_not_run_and_is_named(store, damage, before):
    if before:
        hash_as_before(store)
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


@pytest.mark.parametrize(("path", "text", "answer"), FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_or_damaged_file_is_named(store, path, text, answer):
    (store / path).write_text(text)
    with pytest.raises(StoreError, match=answer):
        make(store).run(resume=True, progress=False)
    with pytest.raises(StoreError, match=answer):
        open_sweep(store).load()


@pytest.mark.parametrize("name", ["0-000001.json", "notes.json", "a-b.json"])
def test_a_marker_of_something_else_counts_for_nothing(store, name):
    whole = open_sweep(store).load()
    (store / "done" / name).write_text("{}")
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
        started = time.process_time()
        assert open_sweep(path).y.values[-1, -1] == cells - 1
        return time.process_time() - started

    seconds(2, 2, 1)  # imports
    assert seconds(2, 30_000, 1) < 1
    few, many = seconds(50, 1, 1), seconds(400, 1, 1)
    assert many < 16 * few  # 8 times as many chunks


def test_the_places_of_many_cells_are_found_in_one_pass(tmp_path):
    """10^6 cells in 10^5 chunks: 10^11 comparisons if each chunk looked at all cells."""
    cells = {"x": np.arange(1e6)}
    job = lrnn.Sweep(cells, lambda x: {"y": x}, chunk=10, store=tmp_path)
    job.run(shard=(0, 10**5), progress=False)  # its first chunk only
    data = open_sweep(tmp_path)
    started = time.process_time()
    assert np.isfinite(data.y.values).sum() == 10
    assert time.process_time() - started < 20  # of which most are looks for markers


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


def test_a_store_from_before_functions_were_told_apart_is_resumed(tmp_path):
    first = host(tmp_path / "s", doubled)
    for path in (tmp_path / "s" / "groups").glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"program": ""}))
    assert host(tmp_path / "s", doubled).identical(first)


def test_a_sweep_is_known_by_its_name(tmp_path):
    make(tmp_path / "s", name="one").run(progress=False)
    assert open_sweep(tmp_path / "s").attrs["function"] == "one"
    with pytest.raises(ValueError, match="function: one there, two now"):
        make(tmp_path / "s", name="two").run(resume=True)
    assert make(tmp_path / "t").name == f"{__name__}.curve"
    assert make(tmp_path / "t", Scaled(1.0)).name == f"{__name__}.Scaled"

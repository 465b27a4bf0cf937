"""Learning curves: lifting, distances, labels, and files."""

import collections
import json
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax.learning import outcome

THETA = jr.normal(jr.key(0), (12, 4)) + 0.6
NET = lrnn.LowRankRNN(*THETA.T, dt=0.1)
RED = lrnn.reduce(NET)
DENSE = lrnn.DenseRNN(NET.u @ NET.v.T / 12, NET.m, NET.z.T / 12, dt=0.1)
TASK = lrnn.ExponentialFilter(0.2, dt=0.1, steps=8, evaluation=lrnn.Evaluation.ROLLOUT)
EPOCHS = 12
DIVERGING = lrnn.Descent(30.0)
ROUNDING = 1e-12


def run(model=RED, method=lrnn.Descent(0.1), epochs=EPOCHS, **options):
    return lrnn.learn(model, TASK, method, epochs=epochs, **options)


def gap(a, b):
    return float(jnp.max(jnp.abs(a - b)))


@pytest.fixture(scope="module")
def curve():
    return run()


# --- lifting ----------------------------------------------------------------------------------


def test_lifting_to_a_recorded_epoch():
    thin = run(record=5)
    assert thin.epochs.tolist() == [0, 5, 10, 12]
    half = lrnn.lift(thin, NET, epoch=5)
    assert gap(half.overlaps.gram, thin.gram[1]) < ROUNDING
    full = run(NET, epochs=5).model
    assert gap(half.vectors, full.vectors) < ROUNDING


def test_lifting_a_run_that_ended_early():
    curve = run(method=DIVERGING, epochs=50, throw=False)
    last = int(np.flatnonzero(np.isfinite(np.asarray(curve.transform)).all(axis=(1, 2)))[-1])
    assert 0 < last < 50
    lifted = lrnn.lift(curve, NET)
    assert jnp.isfinite(lifted.vectors).all()
    assert jnp.array_equal(lifted.vectors, lrnn.lift(curve, NET, epoch=last).vectors)
    with pytest.raises(ValueError, match=rf"ended at epoch {int(curve.stopped)}"):
        lrnn.lift(curve, NET, epoch=49)


def test_what_cannot_be_lifted(curve):
    with pytest.raises(ValueError, match="of a full network"):
        lrnn.lift(run(NET), NET)
    other = NET.with_vectors(1.5 * NET.vectors)
    with pytest.raises(ValueError, match=r"not those that `curve` starts from"):
        lrnn.lift(curve, other)
    wide = lrnn.LowRankRNN.normalised(12, 2, dt=0.1, key=jr.key(0))
    with pytest.raises(ValueError, match=r"not those that `curve` starts from"):
        lrnn.lift(curve, wide)
    with pytest.raises(ValueError, match=r"`epoch` 99 was not recorded; recorded are 0, 1"):
        lrnn.lift(curve, NET, epoch=99)


def test_another_network_is_told_apart_however_small_its_loadings():
    """Also where only one vector is small: overlaps are compared in units of the lengths."""
    small = NET.with_vectors(1e-4 * NET.vectors)
    curve = run(lrnn.reduce(small), epochs=1)
    assert gap(lrnn.lift(curve, small, 0).vectors, small.vectors) < 1e-19
    quiet = lrnn.LowRankRNN(1e-6 * NET.z, NET.v, NET.m, NET.u, dt=0.1)
    for mine, factor in ((small, 1.001), (quiet, jnp.array([[2.0, 1.0, 1.0, 1.0]]))):
        with pytest.raises(ValueError, match="not those that `curve` starts from"):
            lrnn.lift(run(lrnn.reduce(mine), epochs=1), mine.with_vectors(factor * mine.vectors))


# --- curves -----------------------------------------------------------------------------------


def test_distance_between_curves(curve):
    other = run(method=lrnn.Descent(0.05))
    distance = curve.distance(other)
    assert distance.names == RED.overlaps.names
    # both triangles of Q here, one of them there: equal to rounding
    assert gap(distance.max, jnp.max(jnp.abs(curve.gram - other.gram))) < 1e-14
    assert gap(distance.loss, jnp.max(jnp.abs(curve.loss - other.loss))) == 0
    position = distance.names.index("vu")
    assert gap(distance.overlaps[position], jnp.max(jnp.abs(curve["vu"] - other["vu"]))) == 0
    assert distance.max > 0
    wide = lrnn.learn(
        lrnn.reduce(lrnn.LowRankRNN.normalised(12, 2, dt=0.1, key=jr.key(0))),
        TASK,
        lrnn.Descent(0.1),
        epochs=EPOCHS,
    )
    with pytest.raises(ValueError, match=r"rank 1, .*rank 2"):
        curve.distance(wide)
    with pytest.raises(ValueError, match=r"equal epochs"):
        curve.distance(run(record=5))


def test_distance_needs_the_same_epochs_not_just_as_many():
    a, b = run(record=4), run(record=6, epochs=18)
    assert a.epochs.tolist() == [0, 4, 8, 12]
    assert b.epochs.tolist() == [0, 6, 12, 18]
    with pytest.raises(ValueError, match=r"equal epochs"):
        a.distance(b)


def test_dense_networks_have_no_overlaps():
    curve = run(DENSE, epochs=1)
    for ask in (lambda: curve["vu"], lambda: curve.overlaps):
        with pytest.raises(ValueError, match="no loading vectors"):
            ask()


def test_xarray_has_labels_and_units(curve):
    data = curve.to_xarray()
    assert data.loss.dims == ("epoch",)
    assert data.overlaps.dims == ("epoch", "overlap")
    assert data.overlap.values.tolist() == list(RED.overlaps.names)
    assert np.array_equal(data.overlaps.sel(overlap="vu"), curve["vu"])
    assert np.array_equal(data.loss, curve.loss)
    assert data.epoch.values.tolist() == list(range(EPOCHS + 1))
    assert all("units" in data[name].attrs for name in ("loss", "overlaps"))
    assert all("long_name" in data[name].attrs for name in ("loss", "overlaps", "epoch"))
    assert data.attrs == {"model": "ReducedRNN", "result": "successful", "stopped": -1}
    dense = run(DENSE, epochs=1).to_xarray()
    assert "overlaps" not in dense
    batch = jax.vmap(lambda lr: run(method=lrnn.Descent(lr)))(jnp.array([0.1, 0.2]))
    with pytest.raises(ValueError, match="one curve"):
        batch.to_xarray()


FROZEN = lrnn.LowRankRNN(*THETA.T, scale=3.0, dt=0.1, frozen=("m",))
KINDS = {
    "network": (FROZEN, {}),
    "reduction": (lrnn.reduce(FROZEN), {}),
    "dense": (DENSE, {}),
    "diverged": (RED, {"method": DIVERGING, "throw": False, "epochs": 50}),
    "flow": (RED, {"method": lrnn.Flow(0.1, stop_at_loss=0.3)}),
}


@pytest.mark.parametrize(("model", "options"), KINDS.values(), ids=KINDS)
def test_saving_and_loading(tmp_path, model, options):
    curve = run(model, **options)
    path = tmp_path / "curve.npz"
    curve.save(path)
    curve.save(path)  # over an old one
    assert [p.name for p in tmp_path.iterdir()] == ["curve.npz"]
    loaded = lrnn.LearningCurve.load(path)
    assert jax.tree.structure(loaded) == jax.tree.structure(curve)
    assert outcome(loaded.result) == outcome(curve.result)
    for a, b in zip(jax.tree.leaves(loaded), jax.tree.leaves(curve)):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b, equal_nan=True)
    with np.load(path, allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)


def test_a_loaded_curve_goes_on_learning_and_lifts(tmp_path, curve):
    curve.save(str(tmp_path / "curve"))
    assert [p.name for p in tmp_path.iterdir()] == ["curve"]
    loaded = lrnn.LearningCurve.load(str(tmp_path / "curve"))
    assert gap(lrnn.lift(loaded, NET).vectors, lrnn.lift(curve, NET).vectors) == 0
    assert gap(run(loaded.model).gram, run(curve.model).gram) == 0


def tampered(change):
    """Saves a curve, and changes the header and the arrays of its file."""

    def write(path):
        run(RED).save(path)
        with np.load(path) as file:
            arrays = dict(file)
        header = json.loads(str(arrays.pop("header")))
        header = change(header, arrays) or header
        np.savez(path, **arrays, header=np.array(json.dumps(header)))

    return write


def with_field(name, value):
    """Changes a field of the curve in the header, or the class of its model."""

    def change(header, arrays):
        fields = header["content"]["fields"]
        if name in ("class", "activation"):
            fields = fields["model"] if name == "class" else fields["model"]["fields"]
        fields[name] = value

    return tampered(change)


OTHER, DAMAGED = "was not saved by this package", "is damaged"
UNREADABLE = r"not a readable \.npz file.*numpy\.savez"
GARBAGE = {
    "missing": (lambda path: None, "no file"),
    "folder": (lambda path: path.mkdir(), r"not a readable \.npz file, but a folder"),
    "text": (lambda path: path.write_text("hello"), UNREADABLE),
    "empty": (lambda path: path.write_bytes(b""), UNREADABLE),
    "half a zip": (lambda path: path.write_bytes(b"PK\x03\x04 and no more"), UNREADABLE),
    "pickled": (lambda p: np.savez(p, header=np.array([{}], dtype=object)), UNREADABLE),
    "other arrays": (lambda path: np.savez(path, a=np.ones(3)), OTHER),
    "no json": (lambda path: np.savez(path, header=np.array("hello")), OTHER),
    "a list": (tampered(lambda header, arrays: [1]), OTHER),
    "a newer format": (tampered(lambda header, arrays: header | {"format": 99}), OTHER),
    "a network": (lambda p: lrnn.save_network(NET, p), "LowRankRNN, not a learning curve"),
    "unknown result": (with_field("result", {"result": "great"}), DAMAGED),
    "unknown model": (with_field("class", "Transformer"), "cannot name, Transformer.*`like`"),
    "unknown activation": (with_field("activation", {"class": "X", "fields": {}}), "name, X"),
    "no loss": (tampered(lambda header, arrays: arrays.__delitem__("loss")), DAMAGED),
    "no model": (tampered(lambda h, a: a.__delitem__("model.overlaps.gram")), DAMAGED),
    "a bad dt": (tampered(lambda h, a: a.update({"model.dt": np.array(3.0)})), DAMAGED),
}


@pytest.mark.parametrize(("write", "message"), GARBAGE.values(), ids=GARBAGE)
def test_other_files_are_no_curves(tmp_path, write, message):
    path = tmp_path / "curve.npz"
    write(path)
    with pytest.raises(ValueError, match=rf"curve\.npz.*{message}|{message} .*curve\.npz"):
        lrnn.LearningCurve.load(path)


def test_a_file_that_nobody_tampered_with_loads(tmp_path):
    tampered(lambda header, arrays: None)(tmp_path / "curve.npz")
    assert eqx.tree_equal(lrnn.LearningCurve.load(tmp_path / "curve.npz"), run(RED))


def test_what_a_file_cannot_name_comes_from_a_model_of_the_same_structure(tmp_path):
    """An activation made of a function; also what was watched comes back as it was."""
    bent = lrnn.OddActivation(lambda h: h / jnp.sqrt(1 + h**2))
    net = lrnn.LowRankRNN.normalised(12, dt=0.1, key=jr.key(0), activation=bent)
    watch = lambda net: {"pair": (net.z, [net.dt])}  # noqa: E731
    curve = lrnn.learn(net, TASK, lrnn.Descent(0.1), epochs=3, watch=watch)
    curve.save(tmp_path / "curve.npz")
    with pytest.raises(ValueError, match=r"cannot name, function \(yours\): pass `like`"):
        lrnn.LearningCurve.load(tmp_path / "curve.npz")
    loaded = lrnn.LearningCurve.load(tmp_path / "curve.npz", like=curve)
    assert eqx.tree_equal(loaded, curve)
    other = lrnn.learn(net, TASK, lrnn.Descent(0.1), epochs=4, watch=watch)
    with pytest.raises(ValueError, match=r"`like` has `epochs` of shape \(5,\).*has \(4,\)"):
        lrnn.LearningCurve.load(tmp_path / "curve.npz", like=other)


class Seen(NamedTuple):
    """What somebody watches."""

    gram: jax.Array
    inner: dict


WATCHED = {
    "containers": (lambda m: {"a": (m.dt, [m.dt > 0, None]), "b": {}}, False),
    "dtypes": (
        lambda m: [m.dt.astype(t) for t in ("float32", "int8", "uint16", "c16", bool)],
        False,
    ),
    "numbers": (lambda m: {"count": 3, "share": 0.5, "yes": True}, False),
    "modules": (lambda m: m.overlaps, False),
    "named tuples": (lambda m: lrnn.learning.Law(m.dt, m.dt, m.dt), False),
    "of your own": (lambda m: Seen(m.overlaps.gram, {"dt": m.dt}), True),
}


@pytest.mark.parametrize(("watch", "yours"), WATCHED.values(), ids=WATCHED)
def test_whatever_is_watched_comes_back_from_a_file(tmp_path, watch, yours):
    curve = run(epochs=2, watch=watch)
    curve.save(tmp_path / "curve")
    loaded = lrnn.LearningCurve.load(tmp_path / "curve", like=curve if yours else None)
    assert eqx.tree_equal(loaded.watched, curve.watched)
    assert type(loaded.watched) is type(curve.watched)


LOST = {
    "numbers as keys": lambda m: {1: m.dt},
    "another dict": lambda m: collections.OrderedDict(a=m.dt),
    "no dtype of NumPy": lambda m: m.overlaps.gram.astype(jnp.bfloat16),
    "a model": lambda m: m,
    "text": lambda m: "great",
    "random keys": lambda m: jr.key(0),
}


@pytest.mark.parametrize("watch", LOST.values(), ids=LOST)
def test_what_a_file_would_lose_is_refused_when_learning_starts(watch):
    with pytest.raises(ValueError, match=r"`watch` must return .*; got"):
        run(epochs=10**9, watch=watch)


def test_batches_of_curves_are_not_saved_as_one(tmp_path):
    batch = jax.vmap(lambda lr: run(method=lrnn.Descent(lr)))(jnp.array([0.1, 0.2]))
    with pytest.raises(ValueError, match="one curve"):
        batch.save(tmp_path / "curve.npz")
    assert list(tmp_path.iterdir()) == []

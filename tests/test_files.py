"""Networks in files: what is read, what is refused with what to do, and what survives a failure."""

import io
import os
import stat
import struct
import subprocess
import sys
import time
import zipfile

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn

ROUNDING = 1e-13
RNG = np.random.default_rng(0)
VECTORS = {f: RNG.normal(size=(12, c)) for f, c in zip("zvmu", (3, 2, 1, 2))}
WEIGHTS = {
    "w": VECTORS["u"] @ VECTORS["v"].T / 12,
    "w_in": VECTORS["m"],
    "w_out": VECTORS["z"].T / 12,
}


def gap(a, b):
    return float(np.max(np.abs(np.asarray(a) - np.asarray(b))))


def pulse_response(net):
    return net.rollout(jnp.zeros((15, net.inputs)).at[0].set(1.0))


def test_a_file_of_loading_vectors(tmp_path):
    path = tmp_path / "net.npz"
    np.savez(path, **VECTORS, dt=0.1)
    net = lrnn.load_network(path)
    assert net.scale == 12
    assert gap(net.dt, 0.1) == 0
    for family, array in VECTORS.items():
        assert jnp.array_equal(getattr(net, family), array)
    net = lrnn.load_network(str(path), tau=0.5, scale=3.0)
    assert (float(net.dt), float(net.scale)) == (0.2, 3.0)
    np.savez(path, **VECTORS, dt=np.array([0.1]), scale=5)
    assert lrnn.load_network(path).scale == 5
    single = {f: a[:, 0].astype(np.float32) for f, a in VECTORS.items()}
    np.savez(path, **single)
    net = lrnn.load_network(path, dt=0.1)
    assert net.dtype == jnp.float32
    assert net.roles == lrnn.Overlaps.from_gram(np.eye(4)).roles


def test_a_file_of_weight_matrices(tmp_path):
    path = tmp_path / "net.npz"
    np.savez(path, **WEIGHTS, dt=0.1)
    net = lrnn.load_network(path, activation=lrnn.Tanh())
    assert eqx.tree_equal(net, lrnn.DenseRNN(**WEIGHTS, dt=0.1, activation=lrnn.Tanh()))
    found = lrnn.factorise(lrnn.load_network(path), scale=4.0)
    assert (found.rank, float(found.network.scale)) == (2, 4.0)
    assert found.discarded < 1e-15
    response = pulse_response(lrnn.DenseRNN(**WEIGHTS, dt=0.1))
    assert gap(pulse_response(found.network), response) < ROUNDING
    single = {name: array.astype(np.float32) for name, array in WEIGHTS.items()}
    np.savez(path, **single, dt=0.1)
    assert lrnn.load_network(path).dtype == jnp.float32


def npz(**arrays):
    return lambda path: np.savez(path, **arrays)


def npy(path):
    with open(path, "wb") as file:
        np.save(file, np.ones(3))


def checkpoint(path):
    """The outline of what torch.save writes."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("net/data.pkl", b"\x80\x02}q\x00.")
        file.writestr("net/data/0", bytes(40))


def patched(local, central, new):
    """A file with some bytes in every header of its entries changed, at these places."""

    def write(path):
        good = io.BytesIO()
        np.savez(good, **VECTORS, dt=0.1)
        data = bytearray(good.getvalue())
        for sign, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
            at = -1
            while (at := data.find(sign, at + 1)) >= 0:
                data[at + offset : at + offset + len(new)] = new
        path.write_bytes(data)

    return write


def cut(share):
    """A file that ends early, or whose last array has a flipped bit."""

    def write(path):
        np.savez(path, **VECTORS, dt=0.1)
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])

    return write


def flipped(path):
    np.savez(path, **VECTORS, dt=0.1)
    data = bytearray(path.read_bytes())
    data[data.find(VECTORS["u"].tobytes()) + 20] ^= 1
    path.write_bytes(data)


def huge(path):
    """A header that says 7 TiB, of which not a byte is there."""
    text = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117) + "\n"
    with zipfile.ZipFile(path, "w") as file:
        head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text))
        file.writestr("z.npy", head + text.encode())


def with_header(text):
    """A file as of this package, with another header."""
    return npz(header=np.array(text), z=np.ones((3, 1)))


def saved_curve(path):
    net = lrnn.LowRankRNN.normalised(5, dt=0.1, key=jr.key(0))
    task = lrnn.ExponentialFilter(0.2, 0.1, 5)
    lrnn.learn(net, task, lrnn.Descent(0.01), epochs=0).save(path)


UNREADABLE = {
    "missing": (lambda path: None, r"no file .*net\.npz"),
    "folder": (lambda path: path.mkdir(), r"not a readable \.npz file, but a folder"),
    "pipe": (lambda path: os.mkfifo(path), r"not a readable \.npz file, but a folder or a device"),
    "text": (lambda path: path.write_text("hello"), r"not a readable \.npz file.*numpy\.savez"),
    "empty": (lambda path: path.write_bytes(b""), r"not a readable \.npz"),
    "half a zip": (lambda path: path.write_bytes(b"PK\x03\x04 and no more"), "not a readable"),
    "cut short": (cut(0.7), "not a readable"),
    "a flipped bit": (flipped, "not a readable"),
    "one array": (npy, r"not a readable \.npz"),
    "pickled": (npz(z=np.array([{"a": 1}], dtype=object)), r"'z\.npy' is pickled"),
    "PyTorch": (checkpoint, r"'net/data\.pkl' is no NumPy array.*PyTorch|torch"),
    "old PyTorch": (
        lambda path: path.write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j"),
        "not a read|torch",
    ),
    "7 TB": (huge, r"'z\.npy' is not as long as it says"),
    "encrypted": (patched(6, 8, b"\x01"), "not a readable"),
    "unknown compression": (patched(8, 10, b"\x61"), "not a readable"),
    "a bomb": (patched(22, 24, b"\x00\x00\x00\xc0"), r"bytes would unpack into \d{10}"),
    "an empty header": (with_header(""), "was not saved by this package"),
    "a header of another version": (with_header('{"format": 99}'), "by another version"),
    "a header without end": (with_header("[" * 100_000), "was not saved by this package"),
}
WRONG = {
    "a curve": (saved_curve, r"LearningCurve and no network.*LearningCurve\.load\(path\)"),
    "initial state": (npz(**VECTORS, dt=0.1, h0=np.ones(5)), r"one entry per neuron.*h \(5, 1\)"),
    "capitals": (npz(**VECTORS, dt=0.1, Gain=np.full(5, 2.0)), "holds `Gain`"),
    "time constants": (npz(**VECTORS, dt=0.1, Tau=np.full(5, 2.0)), r"`tau` must be one number"),
    "read-out bias": (npz(**VECTORS, dt=0.1, b_out=np.ones(2)), r"`c` must have shape \(3,\)"),
    "recurrent bias": (npz(**WEIGHTS, dt=0.1, b_rec=np.ones(12)), "holds `b_rec`.*biases as b"),
    "feedback": (npz(**WEIGHTS, dt=0.1, w_fb=np.ones((12, 3))), "holds `w_fb`"),
    "a full-rank part": (npz(**VECTORS, dt=0.1, w=np.eye(12)), "holds `w`"),
    "two kinds": (npz(**WEIGHTS, dt=0.1, u=VECTORS["u"]), "holds `u`"),
    "scaled weights": (npz(**WEIGHTS, dt=0.1, scale=12.0), "holds `scale`"),
    "unknown φ": (
        npz(**VECTORS, dt=0.1, phi=np.array("sine")),
        "`phi` is 'sine'.*give `activation",
    ),
    "text arrays": (npz(**{**VECTORS, "z": np.array(["a"])}), "`z` must hold real numbers.*dtype"),
    "complex": (npz(**{**VECTORS, "z": VECTORS["z"] + 1j}), "`z` must hold real numbers.*complex"),
    "a mask for vectors": (npz(**{**VECTORS, "v": VECTORS["v"] > 0}), "`v` must hold real numbers"),
    "other arrays": (npz(a=np.ones(3), dt=0.1), r"must hold either loading vectors.*holds: a, dt"),
    "one missing": (npz(**{k: VECTORS[k] for k in "zvm"}, dt=0.1), r"It holds: z, v, m, dt"),
    "nothing": (npz(dt=0.1), "It holds: dt"),
    "no dt": (npz(**VECTORS), r"holds no `dt`.*--dt 0\.05"),
    "two dt": (npz(**VECTORS, dt=np.ones(2)), r"`dt` must be one number; got shape \(2,\)"),
    "bad dt": (npz(**VECTORS, dt=3.0), r"`dt`.*\(0, 1\]; got 3"),
    "bad scale": (npz(**VECTORS, dt=0.1, scale=-1.0), r"`scale` must lie in \(0, inf\)"),
    "bad shapes": (npz(**{**VECTORS, "u": np.ones((3, 2))}, dt=0.1), r"u \(3, 2\)"),
    "not finite": (npz(**{**WEIGHTS, "w": np.full((12, 12), np.nan)}, dt=0.1), "`w` must be fin"),
}


@pytest.mark.parametrize("load", [lrnn.load_network, lrnn.LearningCurve.load], ids=["net", "curve"])
@pytest.mark.parametrize(("write", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_damaged_and_hostile_files_give_one_sentence(tmp_path, write, message, load):
    path = tmp_path / "net.npz"
    write(path)
    started = time.monotonic()
    with pytest.raises(ValueError, match=message) as told:
        load(path)
    assert time.monotonic() - started < 5  # and nothing of the size that they claim was allocated
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(("write", "message"), WRONG.values(), ids=WRONG)
def test_files_of_other_networks_are_refused_with_what_to_do(tmp_path, write, message):
    path = tmp_path / "net.npz"
    write(path)
    with pytest.raises(ValueError, match=message):
        lrnn.load_network(path)


def test_a_saved_network_is_no_curve(tmp_path):
    net = lrnn.LowRankRNN.normalised(5, dt=0.1, key=jr.key(0))
    lrnn.save_network(net, tmp_path / "net.npz")
    with pytest.raises(ValueError, match="LowRankRNN, not a learning curve"):
        lrnn.LearningCurve.load(tmp_path / "net.npz")
    other = lrnn.LowRankRNN.normalised(6, dt=0.1, key=jr.key(0))
    with pytest.raises(ValueError, match=r"`like` has `z` of shape \(6, 1\).*\(5, 1\)"):
        lrnn.load_network(tmp_path / "net.npz", like=other)


def test_what_cannot_change_a_network_does_no_harm(tmp_path):
    """A mask of trials, words, eigenvalues, pickled settings, what is at rest, what is implied."""
    extras = {"mask": np.ones(5, bool), "name": np.array("a"), "eigenvalues": np.ones(3) + 1j}
    settings = np.array({"delay": 20}, dtype=object)
    path = tmp_path / "net.npz"
    rest = {"h0": np.zeros(5), "tau": 1.0, "b_out": np.zeros(3), "activation": RNG.normal(size=9)}
    np.savez(path, **VECTORS, **extras, **rest, task=settings, w=WEIGHTS["w"])
    net = lrnn.LowRankRNN(**VECTORS, dt=0.1)
    assert eqx.tree_equal(lrnn.load_network(path, dt=0.1), net)


@pytest.mark.parametrize("name", ["h0", "X0", "initial_state"])
def test_an_initial_state_is_that_of_the_file(name, tmp_path):
    start, path = RNG.normal(size=12), tmp_path / "net.npz"
    for arrays in (VECTORS, WEIGHTS):
        np.savez(path, **arrays, dt=0.1, **{name: start[None]})
        assert np.array_equal(lrnn.load_network(path).initial_state, start)


def test_a_file_may_name_its_activation_and_be_computed_in_another_dtype(tmp_path):
    path = tmp_path / "net.npz"
    single = {f: a.astype(np.float32) for f, a in VECTORS.items()}
    np.savez(path, **single, dt=np.float32(0.1), nonlinearity=np.array("Tanh"))
    assert lrnn.load_network(path).activation == lrnn.Tanh()
    assert lrnn.load_network(path, activation=lrnn.Erf()).activation == lrnn.Erf()
    double = lrnn.load_network(path, dtype="float64")
    assert (double.dtype, double.scale.dtype, double.dt.dtype) == (jnp.float64,) * 3
    lrnn.save_network(double, path)
    assert lrnn.load_network(path, dtype=jnp.float32).dtype == jnp.float32
    for dtype in ("float65", int, "complex128"):
        with pytest.raises(ValueError, match="`dtype` must be a floating dtype"):
            lrnn.load_network(path, dtype=dtype)


def test_files_get_the_permissions_of_any_new_file_and_links_stay(tmp_path):
    net = lrnn.LowRankRNN.normalised(5, dt=0.1, key=jr.key(0))
    before = os.umask(0o027)
    try:
        lrnn.save_network(net, tmp_path / "a.npz")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.npz").stat().st_mode) == 0o640
    (tmp_path / "link.npz").symlink_to(tmp_path / "a.npz")
    lrnn.save_network(net.with_vectors(2 * net.vectors), tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink()
    assert jnp.array_equal(lrnn.load_network(tmp_path / "a.npz").z, 2 * net.z)
    with pytest.raises(FileNotFoundError, match=r"nowhere/net\.npz"):
        lrnn.save_network(net, tmp_path / "nowhere" / "net.npz")


SAVED = {
    "low-rank": lrnn.LowRankRNN(
        **VECTORS, b=RNG.normal(size=12), h0=RNG.normal(size=12), scale=7.0, dt=0.1,
        activation=lrnn.Tanh(), readout=lrnn.Identity(), frozen=("m", "u2"),
    ),
    "dense": lrnn.CurrentRNN(
        **WEIGHTS, b=RNG.normal(size=12), h0=RNG.normal(size=12), c=np.ones(3), dt=0.3,
        activation=lrnn.ReLU(), frozen=("w_in", "h0"),
    ),
    "reduced": lrnn.reduce(lrnn.LowRankRNN(**VECTORS, dt=0.1, activation=lrnn.Erf())),
    "single": lrnn.DenseRNN(**{k: v.astype(np.float32) for k, v in WEIGHTS.items()}, dt=0.1),
}  # fmt: skip


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
@pytest.mark.parametrize("net", SAVED.values(), ids=SAVED)
def test_what_was_saved_comes_back_to_the_last_bit(net, ending, tmp_path):
    if ending == "safetensors":
        pytest.importorskip("safetensors", reason="the extra files is not installed")
    path = tmp_path / f"net.{ending}"
    lrnn.save_network(net, path)
    found = lrnn.load_network(path)
    assert eqx.tree_equal(found, net)
    assert type(found) is type(net)
    assert found.frozen == net.frozen
    assert found.dtype == net.dtype
    with pytest.raises(ValueError, match="holds a whole network, with its own: leave out `dt`"):
        lrnn.load_network(path, dt=0.1)
    assert eqx.tree_equal(lrnn.load_network(path, like=net), net)


def test_a_path_says_how_a_network_is_written(tmp_path, monkeypatch):
    net = SAVED["dense"]
    for name in ("net.pt", "net.mat", "net"):
        with pytest.raises(ValueError, match=r"`path` must end in \.npz or \.safetensors.*got '"):
            lrnn.save_network(net, tmp_path / name)
    for module in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match="needs safetensors, which is not installed: pip install"):
        lrnn.save_network(net, tmp_path / "net.safetensors")
    assert os.listdir(tmp_path) == []


FAILURES = """
import os, random, resource, signal, sys, time, warnings
import numpy as np
import lrnn_jax as lrnn

warnings.simplefilter("ignore")  # of forks
path, kills = sys.argv[1], int(sys.argv[2])
ones = np.ones((20_000, 1))
nets = [lrnn.LowRankRNN(*[x * ones] * 4, dt=0.1) for x in (1.0, 2.0)]


def whole():
    found = lrnn.load_network(path)
    values = {float(x) for v in (found.z, found.v, found.m, found.u) for x in np.unique(v)}
    assert values in ({1.0}, {2.0}), values
    return values


for net in nets:
    lrnn.save_network(net, path)
for _ in range(kills):
    child = os.fork()
    if child == 0:
        while True:
            for net in nets:
                lrnn.save_network(net, path)
    time.sleep(random.uniform(0.001, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    whole()
lrnn.save_network(nets[0], path)
left = len(os.listdir(os.path.dirname(path)))
for size in np.linspace(0, os.path.getsize(path) - 1, kills).astype(int).tolist():
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        lrnn.save_network(nets[1], path)
        raise AssertionError("saved")
    except OSError as error:
        assert error.filename == path, error
    assert whole() == {1.0}
    assert len(os.listdir(os.path.dirname(path))) == left
"""


@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_what_was_saved_before_survives_kills_and_full_disks(tmp_path, kills):
    """Kills while a process writes, and a limit on the size of files in place of a full disk."""
    done = [sys.executable, "-c", FAILURES, str(tmp_path / "net.npz"), str(kills)]
    subprocess.run(done, check=True)

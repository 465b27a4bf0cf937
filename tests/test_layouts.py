"""Networks as other programs write them, from arrays with their names."""

import sys

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax.networks import describe_file

RNG = np.random.default_rng(5)
N = 12


def drawn(**shapes):
    return {name: RNG.normal(size=shape) for name, shape in shapes.items()}


# two programs of the field: m writes and n reads; scales stand apart
FIRST = drawn(m=(N, 2), n=(N, 2), wi=(3, N), si=(3,), wo=(N, 1), so=(1,), h0=(N,), b=(N,))
SECOND = drawn(
    **{"rnn.m": (N, 2), "rnn.n": (2, N), "rnn.w_inp": (3, N), "rnn.w_out": (N, 1), "x0": (1, N)},
    **{"rnn.w_inp_scale": (1,), "rnn.w_out_scale": (1, 1)},
)
TORCH = drawn(
    **{"core.weight_ih_l0": (N, 3), "core.weight_hh_l0": (N, N), "out.weight": (2, N)},
    **{"core.bias_ih_l0": (N,), "core.bias_hh_l0": (N,), "out.bias": (2,)},
)


@pytest.fixture
def save(tmp_path):
    def write(**arrays):
        np.savez(tmp_path / "net.npz", **arrays)
        return tmp_path / "net.npz"

    return write


def same(found, expected):
    """Equal to rounding: scales are multiplied in, biases added up."""
    x = jnp.asarray(RNG.normal(size=(7, found.inputs)))
    assert type(found) is type(expected)
    return float(jnp.abs(found.rollout(x) - expected.rollout(x)).max()) < 1e-14


class TestLowRank:
    def test_vectors_that_write_and_read(self, save):
        a = FIRST
        expected = lrnn.LowRankRNN(
            *(a["wo"] * a["so"], a["n"], (a["wi"] * a["si"][:, None]).T, a["m"]),
            **{"b": a["b"], "h0": a["h0"], "dt": 0.2, "activation": lrnn.Tanh()},
        )
        assert same(lrnn.load_network(save(**a), dt=0.2), expected)
        assert same(lrnn.load_network(save(**a), dt=20, tau=100), expected)
        one = eqx.tree_at(lambda net: net.scale, expected, jnp.asarray(1.0))
        assert same(lrnn.load_network(save(**a), dt=0.2, scale=1), one)
        wrapped = {f"module.{name}": array for name, array in a.items()}
        assert same(lrnn.load_network(save(**wrapped), dt=0.2), expected)

    def test_those_that_read_out_h(self, save):
        a = {name.removeprefix("rnn."): array for name, array in SECOND.items()}
        scale = a["w_inp_scale"][0], a["w_out_scale"][0]
        options = {"h0": a["x0"][0], "dt": 0.1, "activation": lrnn.Tanh()}
        expected = lrnn.LowRankRNN(
            *(a["w_out"] * scale[1], a["n"].T, a["w_inp"].T * scale[0], a["m"]),
            **options,
            readout=lrnn.Identity(),
        )
        assert same(lrnn.load_network(save(**SECOND), dt=2, tau=20), expected)
        said = describe_file(save(**SECOND), dt=2, tau=20)
        for part in (
            "LowRankRNN of 12 neurons, rank 2, 3 input",
            "dt = 0.1",
            "m writes",
            "read-out of h",
        ):
            assert part in said

    def test_shapes_that_leave_it_open_are_named(self, save):
        square = FIRST | drawn(m=(N, N), n=(N, N))
        with pytest.raises(ValueError, match=r"`m` of shape \(12, 12\) may stand either way"):
            lrnn.load_network(save(**square), dt=0.2)
        other = FIRST | drawn(m=(9, 2), n=(9, 2))
        with pytest.raises(
            ValueError, match=r"m \(9, 2\).*wi \(3, 12\).*share none: give our names, e\.g\. names="
        ):
            lrnn.load_network(save(**other), dt=0.2)

    def test_what_is_missing_is_named(self, save):
        for keys, missing in (("wo", "a read-out, wo or w_out"), ("wi", "inputs, wi or w_inp")):
            part = {name: array for name, array in FIRST.items() if name != keys}
            with pytest.raises(ValueError, match=f"but not {missing}; it holds m, n, "):
                lrnn.load_network(save(**part), dt=0.2)

    def test_the_step_must_be_given(self, save):
        with pytest.raises(ValueError, match="holds no `dt`"):
            lrnn.load_network(save(**FIRST))


class TestTorch:
    def test_an_rnn_with_its_linear_layer(self, save):
        a = TORCH
        expected = lrnn.DenseRNN(
            a["core.weight_hh_l0"],
            a["core.weight_ih_l0"],
            a["out.weight"],
            a["core.bias_ih_l0"] + a["core.bias_hh_l0"],
            c=a["out.bias"],
            dt=1,
            activation=lrnn.Tanh(),
        )
        assert same(lrnn.load_network(save(**a)), expected)
        rectified = lrnn.load_network(save(**a), activation=lrnn.ReLU())
        assert rectified.activation == lrnn.ReLU()
        single = {name: array.astype(np.float32) for name, array in a.items()}
        assert lrnn.load_network(save(**single)).dtype == jnp.float32
        double = lrnn.load_network(save(**single), dtype="float64")
        biases = [single[f"core.bias_{which}_l0"].astype(float) for which in ("ih", "hh")]
        assert np.array_equal(double.b, sum(biases))  # added up in float64

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            (
                drawn(**{"core.weight_hh_l0": (4 * N, N)}),
                r"vanilla RNN.*four gates \(an LSTM\)",
            ),
            (
                drawn(**{"core.weight_hh_l0": (3 * N, N)}),
                r"vanilla RNN.*three gates \(a GRU\)",
            ),
            (drawn(**{"core.weight_hh_l1": (N, N)}), "of one layer: it holds weight_hh_l1"),
            (drawn(**{"core.weight_hh_l0_reverse": (N, N)}), "it holds weight_hh_l0_reverse"),
            (
                drawn(**{"value.weight": (1, N)}),
                r"2 matrices that could read out.*value\.weight",
            ),
            (drawn(**{"norm.weight": (N,)}), r"more than a vanilla RNN.*norm\.weight"),
        ],
        ids=["LSTM", "GRU", "layers", "both directions", "two read-outs", "more"],
    )
    def test_what_is_no_vanilla_rnn_is_refused(self, changes, expected, save):
        with pytest.raises(ValueError, match=expected):
            lrnn.load_network(save(**TORCH | changes))

    def test_a_cell_is_read_like_its_layer(self, save):
        cell = {name.replace("_l0", ""): array for name, array in TORCH.items()}
        assert same(lrnn.load_network(save(**cell)), lrnn.load_network(save(**TORCH)))
        for gates, what in ((4, "an LSTM"), (3, "a GRU")):
            other = cell | drawn(**{"core.weight_hh": (gates * N, N)})
            with pytest.raises(ValueError, match=rf"not a vanilla RNN.*weight_hh has .*{what}"):
                lrnn.load_network(save(**other))
        del cell["core.weight_ih"]
        with pytest.raises(ValueError, match=r"not a vanilla RNN.*it holds no weight_ih"):
            lrnn.load_network(save(**cell))

    def test_weights_that_are_not_finite(self, save):
        broken = TORCH | {"core.weight_hh_l0": np.full((N, N), np.nan)}
        with pytest.raises(ValueError, match=r"`w` must be finite, but entry .* is nan: look for"):
            lrnn.load_network(save(**broken))
        with pytest.raises(ValueError, match="`v` must be finite"):
            lrnn.load_network(save(**FIRST | {"n": np.full((N, 2), np.inf)}), dt=0.2)

    def test_its_step_is_one(self, save):
        with pytest.raises(ValueError, match=r"of dt = 1, the arguments say 0\.5"):
            lrnn.load_network(save(**TORCH), dt=0.5)

    def test_its_own_file(self, tmp_path):
        torch = pytest.importorskip("torch", reason="the extra torch is not installed")
        path = tmp_path / "net.pt"
        for old in (False, True):
            state = {name: torch.tensor(array) for name, array in TORCH.items()}
            torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=not old)
            np.savez(tmp_path / "net.npz", **TORCH)
            assert eqx.tree_equal(lrnn.load_network(path), lrnn.load_network(tmp_path / "net.npz"))
        torch.save(torch.nn.RNN(2, 3), path)
        with pytest.raises(ValueError, match="is not a state dict of tensors"):
            lrnn.load_network(path)


class TestWeights:
    """w, w_in, w_out, whose equation a file does not say."""

    WEIGHTS = drawn(w=(N, N), w_in=(N, 3), w_out=(2, N), b=(N,), h0=(N,), b_out=(2,))

    def test_currents_are_said_to_be_such(self, save):
        a, options = dict(self.WEIGHTS), {"dt": 0.1, "activation": lrnn.Tanh()}
        found = lrnn.load_network(save(**a), kind=lrnn.CurrentRNN, **options)
        a["c"] = a.pop("b_out")
        assert eqx.tree_equal(found, lrnn.CurrentRNN(**a, **options))
        rates = lrnn.load_network(save(**self.WEIGHTS), **options)
        assert eqx.tree_equal(rates, lrnn.DenseRNN(**a, **options))

    def test_a_single_channel_may_be_one_vector(self, save):
        a = drawn(w=(N, N), w_in=(N,), w_out=(N,))
        expected = lrnn.DenseRNN(a["w"], a["w_in"][:, None], a["w_out"][None], dt=0.1)
        assert eqx.tree_equal(lrnn.load_network(save(**a), dt=0.1), expected)

    @pytest.mark.parametrize(
        ("arrays", "options", "expected"),
        [
            (WEIGHTS, {"scale": 3.0}, "holds weights: `scale` is of loading vectors, leave it out"),
            (FIRST, {"kind": lrnn.DenseRNN}, r"m writes.*a LowRankRNN, not a DenseRNN as `kind`"),
            (TORCH, {"kind": lrnn.CurrentRNN}, r"nn\.RNN.*a DenseRNN, not a CurrentRNN as `kind`"),
        ],
    )
    def test_what_contradicts_a_file_is_refused(self, arrays, options, expected, save):
        step = {} if arrays is TORCH else {"dt": 0.1}
        with pytest.raises(ValueError, match=expected):
            lrnn.load_network(save(**arrays), **step, **options)


class TestThresholds:
    """φ(h + θ) inside of the sum, or of the rates."""

    VECTORS = drawn(z=(N, 2), v=(N, 2), m=(N, 3), u=(N, 2), b=(N,), h0=(N,), c=(2,), theta=(N,))

    @pytest.mark.parametrize("readout", [None, lrnn.Identity()], ids=["rates", "h"])
    @pytest.mark.parametrize("left_out", [(), ("b", "h0", "c")], ids=["all", "alone"])
    def test_of_loading_vectors(self, left_out, readout, save):
        a = {name: x for name, x in self.VECTORS.items() if name not in left_out}
        found = lrnn.load_network(save(**a), dt=0.2, activation=lrnn.Tanh(), readout=readout)
        a = {"b": 0.0, "h0": np.zeros(N), "c": 0.0, **a}
        x, h, outputs = RNG.normal(size=(7, 3)), a["h0"], []
        for now in x:
            kappa = a["v"].T @ np.tanh(h + a["theta"]) / N
            h = h + 0.2 * (-h + a["u"] @ kappa + a["m"] @ now + a["b"])
            read = h if readout else np.tanh(h + a["theta"])
            outputs.append(a["z"].T @ read / N + a["c"])
        assert np.abs(np.asarray(found.rollout(jnp.asarray(x))) - outputs).max() < 1e-14
        sentence = describe_file(save(**a), dt=0.2, activation=lrnn.Tanh())
        assert "thresholds θ of φ(h + θ)" in sentence

    @pytest.mark.parametrize("kind", [lrnn.DenseRNN, lrnn.CurrentRNN])
    def test_of_weights(self, kind, save):
        a = drawn(w=(N, N), w_in=(N, 3), w_out=(2, N), thresholds=(N,))
        found = lrnn.load_network(save(**a), dt=0.2, activation=lrnn.Tanh(), kind=kind)
        x, h, outputs, theta = RNG.normal(size=(7, 3)), np.zeros(N), [], a["thresholds"]
        for now in x:
            if kind is lrnn.DenseRNN:
                h = 0.8 * h + 0.2 * np.tanh(a["w"] @ h + a["w_in"] @ now + theta)
            else:
                h = 0.8 * h + 0.2 * (a["w"] @ np.tanh(h + theta) + a["w_in"] @ now)
            outputs.append(a["w_out"] @ (h if kind is lrnn.DenseRNN else np.tanh(h + theta)))
        assert np.abs(np.asarray(found.rollout(jnp.asarray(x))) - outputs).max() < 1e-13


class TestNames:
    def test_arrays_without_names_are_given_some(self, tmp_path):
        a = FIRST
        np.savez(tmp_path / "net.npz", a["wo"], a["n"], a["wi"], a["m"])
        names = {"z": "arr_0", "v": "arr_1", "m": "arr_2.T", "u": "arr_3"}
        found = lrnn.load_network(tmp_path / "net.npz", names=names, dt=0.1)
        expected = lrnn.LowRankRNN(a["wo"], a["n"], a["wi"].T, a["m"], dt=0.1)
        assert eqx.tree_equal(found, expected)

    def test_one_that_is_not_there_is_named(self, save):
        with pytest.raises(ValueError, match=r"`names` says that z is 'arr_7', but .* holds "):
            lrnn.load_network(save(**FIRST), names={"z": "arr_7"}, dt=0.1)


class TestContradictions:
    def test_both_values_are_said(self, save):
        vectors = drawn(z=(N, 1), v=(N, 1), m=(N, 1), u=(N, 1))
        path = save(**vectors, dt=0.1, tau=2.0, scale=3.0)
        assert float(lrnn.load_network(path).dt) == 0.05
        for name, value in {"dt": 0.2, "tau": 1.0, "scale": 4.0}.items():
            held = {"dt": 0.1, "tau": 2.0, "scale": 3.0}[name]
            with pytest.raises(ValueError, match=rf"`{name}` is {held:g}, the argument {value:g}"):
                lrnn.load_network(path, **{name: value})

    def test_a_matlab_file_is_read(self, tmp_path):
        from scipy.io import savemat

        savemat(tmp_path / "net.mat", FIRST)
        np.savez(tmp_path / "net.npz", **FIRST)
        found = (lrnn.load_network(tmp_path / f"net.{kind}", dt=0.2) for kind in ("mat", "npz"))
        assert same(*found)

    def test_one_of_version_7_3_by_mat73(self, tmp_path):
        pytest.importorskip("mat73", reason="the extra files is not installed")
        h5py = pytest.importorskip("h5py", reason="mat73 brings it")
        classes = {"f": np.bytes_(b"double"), "U": np.bytes_(b"char")}
        with h5py.File(tmp_path / "net.mat", "w", userblock_size=512) as file:
            for name, array in (FIRST | {"nonlinearity": np.array("tanh")}).items():
                text = array.dtype.kind == "U"
                codes = np.frombuffer(str(array).encode(), np.uint8).astype(np.uint16)
                file[name] = codes[:, None] if text else np.atleast_2d(array).T
                file[name].attrs["MATLAB_class"] = classes[array.dtype.kind]
        with open(tmp_path / "net.mat", "r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM")
        np.savez(tmp_path / "net.npz", **FIRST)
        found = (lrnn.load_network(tmp_path / f"net.{kind}", dt=0.2) for kind in ("mat", "npz"))
        assert same(*found)

    def test_without_mat73_one_sentence_says_what_to_do(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "mat73", None)
        (tmp_path / "net.mat").write_bytes(b"MATLAB 7.3 MAT-file")
        with pytest.raises(ValueError, match="needs mat73, which is not installed: pip install "):
            lrnn.load_network(tmp_path / "net.mat", dt=0.2)

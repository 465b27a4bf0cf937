"""An RNN trained in PyTorch goes on learning here as it would there."""

import jax.numpy as jnp
import numpy as np
import pytest

import lrnn_jax as lrnn

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

TRIALS, STEPS, N = 16, 20, 24
RNG = np.random.default_rng(0)
X = RNG.normal(size=(TRIALS, STEPS, 3))
Y = X[:, :, :2] + np.pad(X, ((0, 0), (1, 0), (0, 0)))[:, :-1, :2]  # of this step and the last


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = torch.nn.RNN(3, N, batch_first=True)
        self.readout = torch.nn.Linear(N, 2)

    def forward(self, x):
        return self.readout(self.rnn(x)[0])


def descend(model, dtype, epochs, lr=0.01):
    """Losses before each of some epochs of plain SGD on all trials, and after them."""
    x, y = (torch.tensor(a, dtype=dtype) for a in (X, Y))
    optimiser, losses = torch.optim.SGD(model.parameters(), lr=lr), []
    for _ in range(epochs):
        optimiser.zero_grad()
        loss = ((model(x) - y) ** 2).sum(dim=-1).mean()
        loss.backward()
        losses.append(loss.item())
        optimiser.step()
    return [*losses, ((model(x) - y) ** 2).sum(dim=-1).mean().item()]


@pytest.mark.parametrize(("name", "error"), [("float32", 1e-5), ("float64", 1e-10)])
def test_an_rnn_trained_there_learns_on_here(name, error, tmp_path):
    torch.manual_seed(0)
    dtype = getattr(torch, name)
    model = Model().to(dtype)
    descend(model, dtype, 50)  # trained
    torch.save(model.state_dict(), tmp_path / "net.pt")
    net = lrnn.load_network(tmp_path / "net.pt")
    assert net.dtype == name
    with torch.no_grad():
        expected = model(torch.tensor(X, dtype=dtype)).numpy()
    off = {"outputs": np.abs(net.rollout(jnp.asarray(X)) - expected).max()}
    assert off["outputs"] < 1e-6
    # PyTorch moves both of its biases by the same gradient, and so their sum twice as fast
    method = lrnn.Descent(np.asarray(0.01, name), rates={"b": 2.0})
    curve = lrnn.learn(net, lrnn.TrialSet(X, Y, dt=1.0), method, epochs=50)
    losses = descend(model, dtype, 50)
    off["losses"] = np.abs(np.asarray(curve.loss) - losses).max()
    there = {key: value.detach().numpy() for key, value in model.state_dict().items()}
    b = there["rnn.bias_ih_l0"] + there["rnn.bias_hh_l0"]
    names = "rnn.weight_hh_l0", "rnn.weight_ih_l0", "readout.weight", "readout.bias"
    pairs = [*zip(("w", "w_in", "w_out", "c"), (there[name] for name in names)), ("b", b)]
    here = curve.model
    moved = max(float(jnp.abs(getattr(here, f) - getattr(net, f)).max()) for f, _ in pairs)
    off["weights"] = max(np.abs(np.asarray(getattr(here, f)) - a).max() for f, a in pairs)
    print(f"\n{name}: {off}, weights moved by up to {moved:.3g}; loss {losses[0]} → {losses[-1]}")
    assert max(off["losses"], off["weights"]) < error
    assert moved > 100 * error
    assert losses[-1] < 0.9 * losses[0]

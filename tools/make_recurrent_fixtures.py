"""Writes tests/fixtures/recurrent.safetensors: what PyTorch's recurrent layers and cells give, forward and backward.

Per layer, variant and dtype: weights, input, states, outputs, cotangents and the gradients of everything. Needs torch and
safetensors; building and testing Tenrec does not.

    python3 tools/make_recurrent_fixtures.py
"""

import pathlib

import torch
from safetensors.numpy import save_file
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

IN, HIDDEN, BATCH, STEPS = 4, 3, 3, 5
LENGTHS = [3, 5, 2]
LAYERS = {
    "rnn_tanh": lambda **o: torch.nn.RNN(IN, HIDDEN, **o),
    "rnn_relu": lambda **o: torch.nn.RNN(IN, HIDDEN, nonlinearity="relu", **o),
    "lstm": lambda **o: torch.nn.LSTM(IN, HIDDEN, **o),
    "gru": lambda **o: torch.nn.GRU(IN, HIDDEN, **o),
}
VARIANTS = {
    "plain": {},
    "no_bias": {"bias": False},
    "deep": {"num_layers": 2, "bidirectional": True, "batch_first": True},
    "packed": {"num_layers": 2, "bidirectional": True, "batch_first": True},
}
CELLS = {
    "rnn_cell": lambda: torch.nn.RNNCell(IN, HIDDEN),
    "lstm_cell": lambda: torch.nn.LSTMCell(IN, HIDDEN),
    "gru_cell": lambda: torch.nn.GRUCell(IN, HIDDEN),
}
out = {}


def draw(dtype, *shape):
    return (torch.rand(*shape, dtype=torch.float64) * 2 - 1).to(dtype)


def keep(prefix, module, named, results):
    """Gradients of sum(result * cotangent) for everything in `named` and every parameter."""
    loss = 0
    for name, result in results.items():
        cotangent = draw(result.dtype, *result.shape)
        out[f"{prefix}.{name}"] = result
        out[f"{prefix}.d_{name}"] = cotangent
        loss = loss + (result * cotangent).sum()
    wanted = {**named, **{f"p.{k}": p for k, p in module.named_parameters()}}
    grads = torch.autograd.grad(loss, list(wanted.values()))
    for (name, tensor), gradient in zip(wanted.items(), grads):
        out[f"{prefix}.{name}"] = tensor
        out[f"{prefix}.grad.{name}"] = gradient


def layer(name, variant, dtype):
    torch.manual_seed(0)
    module = LAYERS[name](**VARIANTS[variant]).to(dtype)
    depth = 4 if "num_layers" in VARIANTS[variant] else 1
    shape = (BATCH, STEPS, IN) if module.batch_first else (STEPS, BATCH, IN)
    named = {"x": draw(dtype, *shape).requires_grad_(), "h0": draw(dtype, depth, BATCH, HIDDEN).requires_grad_()}
    state = named["h0"]
    if name == "lstm":
        named["c0"] = draw(dtype, depth, BATCH, HIDDEN).requires_grad_()
        state = (named["h0"], named["c0"])
    x = named["x"]
    if variant == "packed":
        x = pack_padded_sequence(x, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False)
    y, last = module(x, state)
    if variant == "packed":
        y = pad_packed_sequence(y, batch_first=True)[0]
    results = {"y": y, "h": last[0] if name == "lstm" else last}
    if name == "lstm":
        results["c"] = last[1]
    keep(f"{name}.{variant}.{str(dtype)[6:]}", module, named, results)


def cell(name, dtype):
    torch.manual_seed(0)
    module = CELLS[name]().to(dtype)
    named = {"x": draw(dtype, BATCH, IN).requires_grad_(), "h0": draw(dtype, BATCH, HIDDEN).requires_grad_()}
    if name == "lstm_cell":
        named["c0"] = draw(dtype, BATCH, HIDDEN).requires_grad_()
        h, c = module(named["x"], (named["h0"], named["c0"]))
        results = {"h": h, "c": c}
    else:
        results = {"h": module(named["x"], named["h0"])}
    keep(f"{name}.{str(dtype)[6:]}", module, named, results)


for dtype in (torch.float64, torch.float32):
    for name in LAYERS:
        for variant in VARIANTS if dtype == torch.float64 else ["packed"]:  # which is all of them in one
            layer(name, variant, dtype)
    for name in CELLS:
        cell(name, dtype)
path = pathlib.Path(__file__).parent.parent / "tests/fixtures/recurrent.safetensors"
save_file({k: t.detach().contiguous().numpy() for k, t in out.items()}, str(path),
          metadata={"torch": torch.__version__.split("+")[0]})
print(path, path.stat().st_size)

"""Writes tests/fixtures/optimizer_variants.safetensors: what tools/make_optimizer_fixtures.py does not hold.

Trajectories of a 3-layer tanh network in float64 over 100 steps by PyTorch's AMSGrad, NAdam, RAdam, Adamax, Adadelta,
Rprop and Muon, and by Lion, LAMB and Shampoo as transcribed here from their papers; PyTorch's averages of weights and its
batch-norm pass; sequences of learning rates. Needs torch, numpy and safetensors; building and testing Tenrec does not.

    python3 tools/make_optimizer_variant_fixtures.py
"""

import contextlib
import math
import pathlib

import numpy as np
import torch
from safetensors.torch import save_file
from torch.optim import lr_scheduler, swa_utils

STEPS = 100


class NumpyOptimizer:
    """A method on arrays under the interface of an optimizer."""

    def __init__(self, params, update):
        self.params, self.update = list(params), update
        self.state = [{} for _ in self.params]
        self.steps = 0

    def zero_grad(self):
        for p in self.params:
            p.grad = None

    @torch.no_grad()
    def step(self):
        self.steps += 1
        for p, state in zip(self.params, self.state):
            p.copy_(torch.from_numpy(self.update(p.numpy().copy(), p.grad.numpy(), state, self.steps)))


def lion(lr, beta1, beta2, decay):
    """Chen et al. 2023, algorithm 2."""
    def update(p, g, state, _):
        m = state.get("m", np.zeros_like(p))
        direction = np.sign(beta1 * m + (1 - beta1) * g)
        state["m"] = beta2 * m + (1 - beta2) * g
        return p - lr * (direction + decay * p)
    return update


def lamb(lr, beta1, beta2, eps, decay, low=0, high=math.inf):
    """You et al. 2020, algorithm 2, with phi(z) = min(max(z, low), high)."""
    def update(p, g, state, t):
        m = state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * g
        v = state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * g * g
        r = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps) + decay * p
        norm, length = np.linalg.norm(p), np.linalg.norm(r)
        ratio = min(max(norm, low), high) / length if norm > 0 and length > 0 else 1
        return p - lr * ratio * r
    return update


def shampoo(lr, momentum=0, decay=0, eps=1e-4, beta=1, interval=1, max_size=4096, graft=None, beta2=0.999):
    """Gupta, Koren and Singer 2018, algorithm 2, with the grafting of Agarwal et al. 2020."""
    def update(p, g, state, t):
        dims = [d for d in range(g.ndim) if g.shape[d] <= max_size]
        x = g
        for d in dims:
            unfolded = np.moveaxis(g, d, 0).reshape(g.shape[d], -1)
            gram = unfolded @ unfolded.T
            state[d] = beta * state.get(d, 0) + (gram if beta == 1 else (1 - beta) * gram)
            if (t - 1) % interval == 0:
                values, vectors = np.linalg.eigh(state[d] + eps * np.eye(g.shape[d]))
                state["root", d] = vectors @ np.diag(values ** (-1 / (2 * len(dims)))) @ vectors.T
            x = np.moveaxis(np.tensordot(state["root", d], x, axes=(1, d)), 0, d)
        if graft == "sgd":
            x = x * np.linalg.norm(g) / np.linalg.norm(x)
        elif graft == "adam":
            v = state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * g * g
            x = x * np.linalg.norm(g / (np.sqrt(v / (1 - beta2**t)) + 1e-8)) / np.linalg.norm(x)
        m = state["m"] = momentum * state.get("m", 0) + x
        return p * (1 - lr * decay) - lr * m
    return update


class MuonWithAdamW:
    """Matrices by Muon, the rest by AdamW."""

    def __init__(self, params, **options):
        params = list(params)
        self.parts = [torch.optim.Muon([p for p in params if p.ndim == 2], **options),
                      torch.optim.AdamW([p for p in params if p.ndim != 2], lr=1e-2)]

    def zero_grad(self):
        for part in self.parts:
            part.zero_grad()

    def step(self):
        for part in self.parts:
            part.step()


OPTIMIZERS = {
    "amsgrad": lambda p: torch.optim.Adam(p, lr=1e-2, betas=(0.8, 0.9), weight_decay=1e-2, amsgrad=True),
    "amsgrad_decoupled": lambda p: torch.optim.AdamW(p, lr=3e-2, betas=(0.7, 0.8), amsgrad=True),
    "adamw_defaults": lambda p: torch.optim.AdamW(p),
    "nadam": lambda p: torch.optim.NAdam(p, lr=1e-2, weight_decay=1e-2),
    "nadam_decoupled": lambda p: torch.optim.NAdam(p, lr=5e-3, betas=(0.8, 0.999), weight_decay=1e-1, momentum_decay=0.1,
                                                   decoupled_weight_decay=True),
    "radam": lambda p: torch.optim.RAdam(p, lr=1e-2, weight_decay=1e-2),
    "radam_decoupled": lambda p: torch.optim.RAdam(p, lr=1e-2, betas=(0.8, 0.98), weight_decay=1e-1,
                                                   decoupled_weight_decay=True),
    "adamax": lambda p: torch.optim.Adamax(p, lr=1e-2, betas=(0.9, 0.9), weight_decay=1e-2),
    "adadelta": lambda p: torch.optim.Adadelta(p, weight_decay=1e-2),
    "rprop": lambda p: torch.optim.Rprop(p, lr=1e-3),
    "rprop_options": lambda p: torch.optim.Rprop(p, lr=1e-3, etas=(0.4, 1.5), step_sizes=(1e-4, 2e-2)),
    "lion": lambda p: NumpyOptimizer(p, lion(1e-2, 0.9, 0.99, 0)),
    "lion_decay": lambda p: NumpyOptimizer(p, lion(3e-3, 0.8, 0.95, 0.5)),
    "lamb": lambda p: NumpyOptimizer(p, lamb(1e-2, 0.9, 0.999, 1e-6, 0.01)),
    "lamb_bounds": lambda p: NumpyOptimizer(p, lamb(1e-2, 0.8, 0.99, 1e-3, 0, 0.5, 1)),
    "shampoo": lambda p: NumpyOptimizer(p, shampoo(0.05)),
    "shampoo_sgd": lambda p: NumpyOptimizer(p, shampoo(0.05, momentum=0.9, interval=7, graft="sgd", max_size=5)),
    "shampoo_adam": lambda p: NumpyOptimizer(p, shampoo(0.01, decay=0.1, eps=1e-3, beta=0.9, interval=3, graft="adam",
                                                        beta2=0.9)),
    "muon": lambda p: MuonWithAdamW(p, lr=2e-2),
    "muon_adamw_rms": lambda p: MuonWithAdamW(p, lr=1e-2, momentum=0.8, nesterov=False, weight_decay=0.5, ns_steps=3,
                                              ns_coefficients=(3, -3.2, 1.2), adjust_lr_fn="match_rms_adamw"),
    "muon_spectral": lambda p: MuonWithAdamW(p, lr=2e-2, weight_decay=0, adjust_lr_fn="spectral_unclamped"),
}

SCHEDULERS = {
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, 0.97),
    "restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=10, T_mult=2, eta_min=1e-3),
    "restarts_equal": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=7),
    "polynomial": lambda o: lr_scheduler.PolynomialLR(o, total_iters=60, power=1.7),
    "constant": lambda o: lr_scheduler.ConstantLR(o, factor=0.25, total_iters=30),
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda n: 1 / (1 + 0.1 * n)),
    "noam": lambda o: lr_scheduler.LambdaLR(o, lambda n: 64**-0.5 * min((n + 1)**-0.5, (n + 1) * 20**-1.5)),
    "sequential": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, start_factor=0.1, total_iters=15), lr_scheduler.CosineAnnealingLR(o, T_max=40, eta_min=1e-2),
            lr_scheduler.ExponentialLR(o, 0.9)], [20, 70]),
    "sequential_restarts": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.ConstantLR(o, factor=0.5, total_iters=100),
            lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=9, T_mult=2)], [30]),
    "chained": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(o, factor=0.1, total_iters=20), lr_scheduler.ExponentialLR(o, 0.95),
         lr_scheduler.StepLR(o, step_size=30, gamma=0.5)], optimizer=o),
}


def warmup_stable_decay(shape):
    """Hu et al. 2024 with 10 steps of warm-up, 50 stable ones and 30 of decay, to a tenth."""
    def factor(n):
        if n < 10:
            return n / 10
        t = min(max(n - 60, 0), 30) / 30
        return 0.1 + 0.9 * {"linear": 1 - t, "cosine": (1 + math.cos(math.pi * t)) / 2, "sqrt": 1 - math.sqrt(t)}[shape]
    return factor


for shape in ("linear", "cosine", "sqrt"):
    SCHEDULERS["wsd_" + shape] = lambda o, s=shape: lr_scheduler.LambdaLR(o, warmup_stable_decay(s))


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 5), torch.nn.Tanh(),
                               torch.nn.Linear(5, 2)).double()


def train(net, optimizer, after=lambda: None):
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = ((net(X) - Y) ** 2).mean()
        loss.backward()
        optimizer.step()
        after()
        losses.append(loss.item())
    return torch.tensor(losses, dtype=torch.float64)


@contextlib.contextmanager
def newton_schulz_in_float64():
    """torch.optim.Muon iterates in torch.bfloat16, whatever that is."""
    kept = torch.bfloat16
    torch.bfloat16 = torch.float64
    try:
        yield
    finally:
        torch.bfloat16 = kept


@contextlib.contextmanager
def scalars_in_float64():
    """NAdam's product of momenta has the default dtype, and with it seven digits."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def put(prefix, tensors):
    for name, t in tensors:
        out[prefix + name] = t.detach().clone().contiguous()


torch.manual_seed(1)
X, Y = torch.randn(16, 4, dtype=torch.float64), torch.randn(16, 2, dtype=torch.float64)
out = {"x": X, "y": Y}
put("start.", network().named_parameters())
for name, make in OPTIMIZERS.items():
    net = network()
    with newton_schulz_in_float64(), scalars_in_float64():
        out[name + ".losses"] = train(net, make(net.parameters()))
    put(name + ".", net.named_parameters())

# One step of Muon as it is, from 0 with rate 1 and no decay: minus the direction, in both orientations.
for rows, cols in ((6, 4), (5, 16)):
    p = torch.nn.Parameter(torch.zeros(rows, cols))
    p.grad = torch.randn(rows, cols)
    torch.optim.Muon([p], lr=1, weight_decay=0).step()
    put(f"direction{rows}.", (("grad", p.grad), ("param", p)))

# A tensor of four dimensions.
p = torch.randn(3, 2, 4, 2, dtype=torch.float64).requires_grad_()
put("shampoo4.", [("start", p)])
optimizer = NumpyOptimizer([p], shampoo(0.1))
for _ in range(10):
    optimizer.zero_grad()
    (p**4).sum().backward()
    optimizer.step()
put("shampoo4.", [("end", p)])

# Averages along one trajectory.
net = network()
ema = swa_utils.AveragedModel(net, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9))
swa = swa_utils.AveragedModel(net)
train(net, torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9),
      lambda: (ema.update_parameters(net), swa.update_parameters(net)))
put("ema.", ema.module.named_parameters())
put("swa.", swa.module.named_parameters())

# Batch norms measured anew over batches of unequal size.
torch.manual_seed(2)
net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.BatchNorm1d(6), torch.nn.Tanh(), torch.nn.BatchNorm1d(6)).double()
net[1].running_mean.normal_()
put("norm.start.", net.state_dict().items())
swa_utils.update_bn(X.split([3, 5, 6, 2]), net)
put("norm.end.", net.state_dict().items())

for name, make in SCHEDULERS.items():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = make(optimizer)
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    out["rates." + name] = torch.tensor(rates, dtype=torch.float64)

path = pathlib.Path(__file__).parent.parent / "tests/fixtures/optimizer_variants.safetensors"
save_file(out, str(path), metadata={"torch": torch.__version__.split("+")[0], "numpy": np.__version__})
print(path, path.stat().st_size)

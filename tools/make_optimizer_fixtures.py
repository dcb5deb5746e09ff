"""Writes tests/fixtures/optimizers.safetensors: trajectories of PyTorch's optimizers and schedulers.

A 3-layer tanh network in float64 is trained for 100 steps on fixed data; weights before and after, the losses and the
learning rates are kept. Needs torch and safetensors; building and testing Tenrec does not.

    python3 tools/make_optimizer_fixtures.py
"""

import pathlib

import torch
from safetensors.torch import save_file

STEPS = 100
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
    "sgd_momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.1, weight_decay=1e-2),
    "sgd_nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=1e-2),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, betas=(0.8, 0.99)),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-3),
    "rmsprop_centered": lambda p: torch.optim.RMSprop(p, lr=1e-3, centered=True, momentum=0.9, weight_decay=1e-2),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-2, lr_decay=1e-2, weight_decay=1e-2, initial_accumulator_value=0.1),
}
SCHEDULERS = {
    "step": lambda o: torch.optim.lr_scheduler.StepLR(o, step_size=7, gamma=0.5),
    "multistep": lambda o: torch.optim.lr_scheduler.MultiStepLR(o, milestones=[3, 20, 50], gamma=0.3),
    "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=60, eta_min=1e-3),
    "linear": lambda o: torch.optim.lr_scheduler.LinearLR(o, start_factor=0.1, end_factor=0.8, total_iters=30),
    "onecycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.3, total_steps=100, pct_start=0.25,
                                                              cycle_momentum=False),
}


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 5), torch.nn.Tanh(),
                               torch.nn.Linear(5, 2)).double()


def train(make_optimizer, clip=None):
    net = network()
    optimizer = make_optimizer(net.parameters())
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = ((net(X) - Y) ** 2).mean()
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
    return net, torch.tensor(losses, dtype=torch.float64)


torch.manual_seed(1)
X, Y = torch.randn(16, 4, dtype=torch.float64), torch.randn(16, 2, dtype=torch.float64)
out = {"x": X, "y": Y}
for name, p in network().named_parameters():
    out["start." + name] = p.detach().clone()
runs = dict(OPTIMIZERS)
for name, make in runs.items():
    net, losses = train(make)
    out[name + ".losses"] = losses
    for key, p in net.named_parameters():
        out[f"{name}.{key}"] = p.detach().clone()
net, losses = train(OPTIMIZERS["sgd"], clip=0.2)
out["clipped.losses"] = losses
for name, make in SCHEDULERS.items():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = make(optimizer)
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(rates) < STEPS:
            scheduler.step()
    out["rates." + name] = torch.tensor(rates, dtype=torch.float64)
optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=3, cooldown=2, min_lr=1e-3)
rates, metrics = [], []
for i in range(STEPS):
    metric = max(0.3, 1 / (1 + 0.2 * i)) + 0.02 * ((i * 7) % 5)
    scheduler.step(metric)
    metrics.append(metric)
    rates.append(optimizer.param_groups[0]["lr"])
out["rates.plateau"] = torch.tensor(rates, dtype=torch.float64)
out["plateau.metrics"] = torch.tensor(metrics, dtype=torch.float64)
path = pathlib.Path(__file__).parent.parent / "tests/fixtures/optimizers.safetensors"
save_file(out, str(path), metadata={"torch": torch.__version__.split("+")[0]})
print(path, path.stat().st_size)

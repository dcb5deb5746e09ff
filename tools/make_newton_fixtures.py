"""Writes tests/fixtures/newton.safetensors: what curvature products, Newton-style optimizers and L-BFGS are checked by.

- derivatives of a small network by torch.func: Jacobian and Hessian products, a third derivative, per-sample gradients
- the points that torch.optim.LBFGS visits, one iteration a step
- optima of standard test functions by SciPy from their standard starting points (J. J. More, B. S. Garbow and
  K. E. Hillstrom, "Testing unconstrained optimization software", 1981)
- scikit-learn's coefficients of a logistic regression on the Wisconsin breast cancer data (with --data FOLDER, which
  holds tabular/wdbc.csv; without it the coefficients of the present file are kept)

Needs torch, scipy, scikit-learn and safetensors; building and testing Tenrec does not.

    python3 tools/make_newton_fixtures.py [--data FOLDER]
"""

import argparse
import math
import pathlib

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from scipy import optimize
from torch.func import functional_call, grad, hessian, jacrev, jvp, vjp, vmap

torch.set_default_dtype(torch.float64)
PATH = pathlib.Path(__file__).parent.parent / "tests/fixtures/newton.safetensors"
OUT = {}


def rosenbrock(x):
    return (100 * (x[1::2] - x[::2] ** 2) ** 2 + (1 - x[::2]) ** 2).sum()


def himmelblau(x):
    return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2


def beale(x):
    return sum((y - x[0] * (1 - x[1] ** (i + 1))) ** 2 for i, y in enumerate([1.5, 2.25, 2.625]))


def booth(x):
    return (x[0] + 2 * x[1] - 7) ** 2 + (2 * x[0] + x[1] - 5) ** 2


def powell_singular(x):
    return (x[0] + 10 * x[1]) ** 2 + 5 * (x[2] - x[3]) ** 2 + (x[1] - 2 * x[2]) ** 4 + 10 * (x[0] - x[3]) ** 4


def wood(x):
    return (100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2 + 90 * (x[3] - x[2] ** 2) ** 2 + (1 - x[2]) ** 2
            + 10 * (x[1] + x[3] - 2) ** 2 + 0.1 * (x[1] - x[3]) ** 2)


def brown_badly_scaled(x):
    return (x[0] - 1e6) ** 2 + (x[1] - 2e-6) ** 2 + (x[0] * x[1] - 2) ** 2


def helical_valley(x):
    turn = torch.atan(x[1] / x[0]) / (2 * math.pi) + torch.where(x[0] > 0, 0.0, 0.5)
    return 100 * ((x[2] - 10 * turn) ** 2 + (torch.hypot(x[0], x[1]) - 1) ** 2) + x[2] ** 2


def trigonometric(x):
    n = len(x)
    i = torch.arange(1, n + 1)
    return ((n - torch.cos(x).sum() + i * (1 - torch.cos(x)) - torch.sin(x)) ** 2).sum()


def freudenstein_roth(x):
    return ((-13 + x[0] + ((5 - x[1]) * x[1] - 2) * x[1]) ** 2 + (-29 + x[0] + ((x[1] + 1) * x[1] - 14) * x[1]) ** 2)


def box_3d(x):
    t = 0.1 * torch.arange(1, 11)
    return ((torch.exp(-t * x[0]) - torch.exp(-t * x[1]) - x[2] * (torch.exp(-t) - torch.exp(-10 * t))) ** 2).sum()


FUNCTIONS = {
    "rosenbrock_2": (rosenbrock, [-1.2, 1]),
    "rosenbrock_10": (rosenbrock, [-1.2, 1] * 5),
    "himmelblau": (himmelblau, [1, 1]),
    "beale": (beale, [1, 1]),
    "booth": (booth, [0, 0]),
    "powell_singular": (powell_singular, [3, -1, 0, 1]),
    "wood": (wood, [-3, -1, -3, -1]),
    "brown_badly_scaled": (brown_badly_scaled, [1, 1]),
    "helical_valley": (helical_valley, [-1, 0, 0]),
    "trigonometric": (trigonometric, [0.2] * 5),
    "freudenstein_roth": (freudenstein_roth, [0.5, -2]),
    "box_3d": (box_3d, [0, 10, 20]),
}


def optima():
    for name, (f, start) in FUNCTIONS.items():
        def value(x):
            return f(torch.tensor(x)).item()

        def gradient(x):
            return grad(f)(torch.tensor(x)).numpy()

        def curvature(x):
            return hessian(f)(torch.tensor(x)).numpy()

        found = optimize.minimize(value, np.array(start, float), jac=gradient, hess=curvature, method="trust-exact",
                                  options={"gtol": 1e-10, "maxiter": 10000, "max_trust_radius": 1e7})
        print(f"{name:20s} {found.fun:.6e} {found.nit:5d} {found.x}")
        OUT[f"start.{name}"] = torch.tensor(start, dtype=torch.float64)
        OUT[f"optimum.{name}"] = torch.tensor(found.fun)


def quadratic_matrix():
    q, _ = torch.linalg.qr(torch.randn(10, 10))
    return q @ torch.diag(torch.logspace(0, 3, 10)) @ q.T


def lbfgs(name, f, start, **options):
    x = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([x], **options)
    points, losses = [], []

    def closure():
        optimizer.zero_grad()
        loss = f(x)
        loss.backward()
        return loss

    for _ in range(200):
        before = x.detach().clone()
        losses.append(optimizer.step(closure).item())
        points.append(x.detach().clone())
        if torch.equal(before, x):
            break
    OUT[f"lbfgs.{name}"] = torch.stack(points)
    OUT[f"lbfgs.{name}.losses"] = torch.tensor(losses)
    print(f"lbfgs {name}: {len(points)} steps, last loss {losses[-1]:.3e}")


def trajectories():
    a, b = quadratic_matrix(), torch.randn(10)
    OUT["quadratic.a"], OUT["quadratic.b"] = a, b

    def quadratic(x):
        return 0.5 * x @ (a @ x) - b @ x

    wolfe = {"line_search_fn": "strong_wolfe"}
    lbfgs("rosenbrock", rosenbrock, [-1.2, 1], max_iter=1, max_eval=26, **wolfe)
    lbfgs("rosenbrock_steps", rosenbrock, [-1.2, 1], max_iter=7, history_size=3, **wolfe)
    lbfgs("quadratic", quadratic, [1.0] * 10, max_iter=1, max_eval=26, **wolfe)
    lbfgs("quadratic_fixed", quadratic, [1.0] * 10, max_iter=1, lr=0.5)


def derivatives():
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3))
    params = {k: v.detach().clone() for k, v in net.named_parameters()}
    x, y = torch.randn(6, 3), torch.randint(0, 3, (6,))
    v = {k: torch.randn_like(p) for k, p in params.items()}
    for key, value in params.items():
        OUT[f"net.{key}"], OUT[f"direction.{key}"] = value, v[key]
    OUT["net.x"], OUT["net.y"] = x, y

    def outputs(p):
        return functional_call(net, p, (x,))

    def criterion(z):
        return torch.nn.functional.cross_entropy(z, y)

    def loss(p):
        return criterion(outputs(p))

    def sample_loss(p, x1, y1):
        return torch.nn.functional.cross_entropy(functional_call(net, p, (x1[None],)), y1[None])

    def keep(name, tensors):
        for key, value in tensors.items():
            OUT[f"{name}.{key}"] = value.contiguous()

    def times(p):
        return jvp(grad(loss), (p,), (v,))[1]

    keep("gradient", grad(loss)(params))
    keep("hvp", times(params))
    keep("third", grad(lambda p: sum((times(p)[k] * v[k]).sum() for k in v))(params))
    z, jv = jvp(outputs, (params,), (v,))
    OUT["jvp"] = jv
    hjv = jvp(grad(criterion), (z,), (jv,))[1]
    keep("ggnvp", vjp(outputs, params)[1](hjv)[0])
    rows = vmap(grad(sample_loss), (None, 0, 0))(params, x, y)
    keep("per_sample", rows)
    gv = sum((rows[k] * v[k]).flatten(1).sum(1) for k in v)
    keep("fvp", {k: (rows[k] * gv.view(-1, *[1] * (rows[k].ndim - 1))).mean(0) for k in v})

    def flat_loss(theta):
        p, at = {}, 0
        for key, value in params.items():
            p[key] = theta[at:at + value.numel()].view_as(value)
            at += value.numel()
        return loss(p)

    theta = torch.cat([p.flatten() for p in params.values()])
    OUT["hessian"] = hessian(flat_loss)(theta)
    OUT["jacobian"] = torch.cat([j.reshape(18, -1) for j in jacrev(outputs)(params).values()], 1)


def logistic(folder):
    from sklearn.linear_model import LogisticRegression
    rows = [line.split(",") for line in (pathlib.Path(folder) / "tabular/wdbc.csv").read_text().split()]
    x = np.array([[float(v) for v in row[2:]] for row in rows])
    y = np.array([row[1] == "M" for row in rows], float)
    x = (x - x.mean(0)) / x.std(0)
    model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-13, max_iter=1000).fit(x, y)
    OUT["logistic.weight"] = torch.tensor(model.coef_[0].copy())
    OUT["logistic.bias"] = torch.tensor(model.intercept_.copy())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    options = parser.parse_args()
    torch.manual_seed(0)
    optima()
    trajectories()
    derivatives()
    if options.data:
        logistic(options.data)
    elif PATH.exists():
        OUT.update({k: v for k, v in load_file(str(PATH)).items() if k.startswith("logistic.")})
    save_file({k: v.contiguous() for k, v in OUT.items()}, str(PATH), metadata={"torch": torch.__version__.split("+")[0]})
    print(PATH, PATH.stat().st_size)


if __name__ == "__main__":
    main()

"""Writes tests/fixtures/linalg.safetensors: losses and gradients of torch.linalg in float64, and a few values of SciPy.

A case NAME has inputs NAME.x0, NAME.x1, ..., weights NAME.w0, ..., a loss and the gradients NAME.g0, ... of the inputs.
The losses do not depend on what a factorization leaves open: signs, phases, the order of eigenvalues. The test writes
them again in C++. Needs torch, scipy and safetensors; building and testing Tenrec does not.

    python3 tools/make_linalg_fixtures.py
"""

import pathlib

import numpy
import scipy.linalg
import torch
from safetensors.torch import save_file

la = torch.linalg
out = {}
torch.manual_seed(5)


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def case(name, f, inputs, weights):
    xs = [x.clone().requires_grad_(True) for x in inputs]
    loss = f(xs, weights)
    grads = torch.autograd.grad(loss, xs)
    for key, values in (("x", inputs), ("w", weights), ("g", grads)):
        for i, value in enumerate(values):
            out[f"{name}.{key}{i}"] = value.detach().contiguous()
    out[f"{name}.loss"] = loss.detach()


def weighted(ys, ws):
    return sum((y * w).sum() for y, w in zip(ys, ws))


def squares(ys, ws):
    return weighted([y * y for y in ys], ws)


def eig_loss(xs, ws):
    values, vectors = la.eig(xs[0])
    modulus = vectors.real**2 + vectors.imag**2
    return (values.real**3 + 2 * values.imag**2).sum() + (modulus**2 * ws[0]).sum()


def svd_loss(xs, ws):
    u, s, vh = la.svd(xs[0], full_matrices=False)
    return squares([u, vh], ws[:2]) + (s * ws[2]).sum()


def eigh_loss(xs, ws):
    values, vectors = la.eigh(xs[0] + xs[0].mT)
    return (values * ws[0]).sum() + squares([vectors], ws[1:])


x = randn(2, 4, 4)
spd = x @ x.mT + 2 * torch.eye(4, dtype=torch.float64)
case("cholesky", lambda xs, ws: weighted([la.cholesky(xs[0])], ws), [spd], [randn(2, 4, 4)])
case("qr_tall", lambda xs, ws: squares(la.qr(xs[0]), ws), [randn(2, 5, 3)], [randn(2, 5, 3), randn(2, 3, 3)])
case("qr_wide", lambda xs, ws: squares(la.qr(xs[0]), ws), [randn(3, 5)], [randn(3, 3), randn(3, 5)])
for shape_name, m, n in (("square", 4, 4), ("tall", 5, 3), ("wide", 3, 5)):
    k = min(m, n)
    case("lu_" + shape_name, lambda xs, ws: weighted(la.lu(xs[0])[1:], ws), [randn(2, m, n)],
         [randn(2, m, k), randn(2, k, n)])
    case("svd_" + shape_name, svd_loss, [randn(m, n)], [randn(m, k), randn(k, n), randn(k)])
    case("pinv_" + shape_name, lambda xs, ws: weighted([la.pinv(xs[0])], ws), [randn(2, m, n)], [randn(2, n, m)])
case("eigh", eigh_loss, [randn(2, 4, 4)], [randn(2, 4), randn(2, 4, 4)])
case("eig", eig_loss, [randn(5, 5)], [randn(5, 1)])
case("solve", lambda xs, ws: weighted([la.solve(xs[0], xs[1])], ws), [randn(3, 1, 4, 4), randn(2, 4, 2)],
     [randn(3, 2, 4, 2)])
case("solve_triangular", lambda xs, ws: weighted([la.solve_triangular(xs[0], xs[1], upper=True, left=False)], ws),
     [randn(2, 4, 4) + 3 * torch.eye(4), randn(2, 3, 4)], [randn(2, 3, 4)])
case("lstsq", lambda xs, ws: weighted([la.lstsq(xs[0], xs[1]).solution], ws), [randn(5, 3), randn(5, 2)],
     [randn(3, 2)])
case("inv", lambda xs, ws: weighted([la.inv(xs[0])], ws), [randn(4, 4)], [randn(4, 4)])
case("det", lambda xs, ws: weighted([la.det(xs[0])], ws), [randn(2, 4, 4)], [randn(2)])
case("slogdet", lambda xs, ws: weighted([la.slogdet(xs[0])[1]], ws), [randn(2, 4, 4)], [randn(2)])
case("matrix_exp", lambda xs, ws: weighted([torch.matrix_exp(xs[0])], ws), [randn(2, 4, 4)], [randn(2, 4, 4)])

# The exponential over a wide range of norms, by SciPy.
generator = numpy.random.default_rng(6)
large = generator.standard_normal((4, 5, 5)) * numpy.array([1e-9, 0.1, 3, 15])[:, None, None]
out["expm.x"] = torch.from_numpy(large)
out["expm.y"] = torch.from_numpy(numpy.stack([scipy.linalg.expm(a) for a in large]))
# Least squares of a matrix of rank 2, whose solution is that of least norm.
a = generator.standard_normal((6, 2)) @ generator.standard_normal((2, 4))
b = generator.standard_normal((6, 3))
x, _, rank, s = scipy.linalg.lstsq(a, b, cond=1e-10)
assert rank == 2
for name, value in {"a": a, "b": b, "x": x, "s": s}.items():
    out["rank2." + name] = torch.from_numpy(numpy.ascontiguousarray(value))

path = pathlib.Path(__file__).parent.parent / "tests" / "fixtures" / "linalg.safetensors"
save_file(out, path)
print(f"{path}: {len(out)} tensors, {path.stat().st_size} bytes")

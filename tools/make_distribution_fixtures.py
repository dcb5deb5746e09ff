"""Writes tests/fixtures/distributions.safetensors: log_prob, entropy, moments and divergences of torch.distributions.

A distribution has its parameters `p0`, `p1`, .. and `value`, in float64, and what PyTorch gives for them: `log_prob`,
`entropy`, `mean`, `variance` where it has them, and `grad.p0`, .. of sum(log_prob) + sum(entropy). A divergence has the
parameters of both sides, `p0`, .. and `q0`, .., `kl` and the gradients of its sum. Needs torch and safetensors; building
and testing Tenrec does not.

    python3 tools/make_distribution_fixtures.py
"""

import pathlib

import torch
from safetensors.torch import save_file
from torch import distributions as D

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
out = {}


def real(*shape):
    return torch.randn(shape)


def positive(*shape):
    return torch.rand(shape) * 4 + 0.2


def unit(*shape):
    return torch.rand(shape) * 0.96 + 0.02


def triangle(*shape):
    d = shape[-1]
    return torch.randn(*shape, d).tril(-1) * 0.5 + torch.diag_embed(torch.rand(*shape) + 0.4)


def keep(name, **tensors):
    out.update({f"{name}.{k}": t.detach().clone().contiguous() for k, t in tensors.items()})


def leaves(tensors):
    return [t.clone().requires_grad_(t.is_floating_point()) for t in tensors]


def gradients(loss, tensors, letter):
    found = torch.autograd.grad(loss, tensors, allow_unused=True, retain_graph=True)
    return {f"grad.{letter}{i}": g for i, g in enumerate(found) if g is not None}


def case(name, make, parameters, value=None):
    p = leaves(parameters)
    d = make(*p)
    value = d.sample() if value is None else value
    found = {"value": value, "log_prob": d.log_prob(value), "mean": d.mean, "variance": d.variance}
    loss = found["log_prob"].sum()
    try:
        found["entropy"] = d.entropy()
        loss = loss + found["entropy"].sum()
    except NotImplementedError:
        pass
    keep(name, **{f"p{i}": t for i, t in enumerate(p)}, **found, **gradients(loss, p, "p"))


def divergence(name, make_p, p, make_q, q):
    p, q = leaves(p), leaves(q)
    kl = D.kl_divergence(make_p(*p), make_q(*q))
    keep("kl." + name, **{f"p{i}": t for i, t in enumerate(p)}, **{f"q{i}": t for i, t in enumerate(q)}, kl=kl,
         **gradients(kl.sum(), p, "p"), **gradients(kl.sum(), q, "q"))


def vector(loc, tril):
    return D.MultivariateNormal(loc, scale_tril=tril)


def by_logits(kind):
    return lambda logits: kind(logits=logits)


def binomial(logits):
    return D.Binomial(torch.tensor([5.0, 40.0, 1.0]), logits=logits)


case("normal", D.Normal, [real(4, 3), positive(3)])
case("laplace", D.Laplace, [real(4, 3), positive(3)])
case("uniform", lambda low, width: D.Uniform(low, low + width), [real(4, 3), positive(3)])
case("exponential", D.Exponential, [positive(4, 3)])
case("gamma", D.Gamma, [positive(4, 3), positive(3)])
case("beta", D.Beta, [positive(4, 3), positive(3)])
case("student_t", D.StudentT, [positive(4, 3) + 2, real(3), positive(3)])
case("multivariate", vector, [real(4, 3), triangle(3)], real(5, 4, 3))
case("bernoulli", D.Bernoulli, [unit(4, 3)])
case("bernoulli_logits", by_logits(D.Bernoulli), [real(4, 3) * 3])
case("categorical", D.Categorical, [positive(4, 5)])
case("categorical_logits", by_logits(D.Categorical), [real(4, 5) * 3])
case("binomial", lambda p: D.Binomial(torch.full((3,), 12.0), p), [unit(4, 3)])
case("binomial_logits", by_logits(lambda logits: D.Binomial(torch.full((3,), 30.0), logits=logits)), [real(4, 3) * 2])
case("poisson", D.Poisson, [positive(4, 3) * 3])

pair = [real(4, 3), positive(3)]
divergence("normal", D.Normal, pair, D.Normal, [real(3), positive(4, 3)])
divergence("laplace", D.Laplace, pair, D.Laplace, [real(3), positive(4, 3)])
divergence("uniform", D.Uniform, [unit(4, 3), unit(3) + 1], D.Uniform, [-unit(3), unit(4, 3) + 2])
divergence("exponential", D.Exponential, [positive(4, 3)], D.Exponential, [positive(3)])
divergence("gamma", D.Gamma, [positive(4, 3), positive(3)], D.Gamma, [positive(3), positive(4, 3)])
divergence("beta", D.Beta, [positive(4, 3), positive(3)], D.Beta, [positive(3), positive(4, 3)])
divergence("multivariate", vector, [real(4, 3), triangle(3)], vector, [real(3), triangle(4, 3)])
divergence("bernoulli", D.Bernoulli, [unit(4, 3)], by_logits(D.Bernoulli), [real(4, 3)])
divergence("categorical", D.Categorical, [positive(4, 5)], by_logits(D.Categorical), [real(5)])
divergence("binomial", binomial, [real(4, 3)], binomial, [real(3)])
divergence("poisson", D.Poisson, [positive(4, 3)], D.Poisson, [positive(3)])
divergence("exponential_gamma", D.Exponential, [positive(4, 3)], D.Gamma, [positive(3), positive(3)])
divergence("gamma_exponential", D.Gamma, [positive(4, 3), positive(3)], D.Exponential, [positive(3)])
divergence("uniform_normal", D.Uniform, [unit(4, 3), unit(3) + 1], D.Normal, [real(3), positive(3)])
divergence("laplace_normal", D.Laplace, pair, D.Normal, [real(3), positive(3)])
path = pathlib.Path(__file__).parent.parent / "tests/fixtures/distributions.safetensors"
save_file(out, str(path), metadata={"torch": torch.__version__.split("+")[0]})
print(path, path.stat().st_size)

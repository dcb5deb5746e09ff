"""Writes tests/fixtures/generative.safetensors: what PyTorch's transposed convolutions, Upsample and PixelShuffle give.

Every case is computed in float64 from values that float32 holds exactly, so both types of Tenrec are compared with the
same numbers. A case has the input `x`, the parameters `p.*`, the output `y`, the cotangent `dy` and the gradients of
sum(y dy): `grad.x` and `grad.p.*`. Needs torch and safetensors; building and testing Tenrec does not.

    python3 tools/make_generative_fixtures.py
"""

import pathlib

import torch
from safetensors.torch import save_file
from torch import nn

torch.manual_seed(0)
out = {}


def values(*shape):
    return torch.rand(shape).double() * 2 - 1


def case(name, module, *shape):
    module = module.double()
    for p in module.parameters():
        p.data = values(*p.shape)
    x = values(*shape).requires_grad_()
    y = module(x)
    dy = values(*y.shape)
    wanted = {"x": x, **{f"p.{k}": p for k, p in module.named_parameters()}}
    grads = torch.autograd.grad((y * dy).sum(), list(wanted.values()))
    kept = {**wanted, "y": y, "dy": dy, **{f"grad.{k}": g for k, g in zip(wanted, grads)}}
    out.update({f"{name}.{k}": t.detach().clone().contiguous() for k, t in kept.items()})


case("transpose2d", nn.ConvTranspose2d(3, 2, 3), 2, 3, 4, 5)
case("transpose2d_all", nn.ConvTranspose2d(4, 6, (3, 2), stride=(2, 3), padding=(2, 1), output_padding=(1, 2),
                                           dilation=(2, 1), groups=2, bias=False), 2, 4, 3, 4)
case("transpose2d_far", nn.ConvTranspose2d(2, 3, 2, stride=2, output_padding=2, dilation=3), 1, 2, 3, 2)
case("transpose1d", nn.ConvTranspose1d(3, 4, 4, stride=2, padding=1), 2, 3, 5)
case("transpose1d_all", nn.ConvTranspose1d(4, 2, 3, stride=3, padding=2, output_padding=1, dilation=2, groups=2),
     2, 4, 5)
case("nearest", nn.Upsample(scale_factor=2), 2, 2, 3, 4)
case("nearest_size", nn.Upsample(size=(5, 3)), 1, 2, 3, 4)
case("nearest_factor", nn.Upsample(scale_factor=1.5), 1, 2, 3, 5)
case("nearest1d", nn.Upsample(size=7), 2, 2, 4)
case("bilinear", nn.Upsample(scale_factor=2, mode="bilinear"), 2, 2, 3, 4)
case("bilinear_size", nn.Upsample(size=(7, 3), mode="bilinear"), 1, 2, 3, 5)
case("bilinear_factor", nn.Upsample(scale_factor=(1.7, 0.6), mode="bilinear"), 1, 2, 4, 5)
case("bilinear_corners", nn.Upsample(size=(6, 9), mode="bilinear", align_corners=True), 2, 2, 3, 4)
case("linear", nn.Upsample(scale_factor=2.5, mode="linear"), 2, 2, 5)
case("shuffle", nn.PixelShuffle(3), 2, 18, 2, 3)
case("unshuffle", nn.PixelUnshuffle(2), 2, 3, 4, 6)
path = pathlib.Path(__file__).parent.parent / "tests/fixtures/generative.safetensors"
save_file(out, str(path), metadata={"torch": torch.__version__.split("+")[0]})
print(path, path.stat().st_size)

"""Writes tests/fixtures/attention.safetensors and gpt2.safetensors: attention, transformer and norm layers of PyTorch,
and a small random GPT-2 of transformers with its logits, gradients and generated tokens.

Every case is computed in float64 from values that float32 holds exactly, so both types of Tenrec are compared with the
same numbers. A case has `param.*`, inputs `in.*`, the cotangent `dy`, the output `out` and the gradients of sum(out dy):
`grad.param.*` and `grad.in.*`. Needs torch, transformers and safetensors; building and testing Tenrec does not.

    python3 tools/make_attention_fixtures.py
"""

import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures"
out = {}
torch.manual_seed(0)


def values(*shape):
    return torch.randn(*shape).double()


def randomize(module):
    module.double()
    for p in module.parameters():
        p.data = (0.5 * torch.randn(p.shape)).double()
    return module.train()


def put(name, tensor):
    out[name] = tensor.detach().clone().contiguous()


def case(name, module, inputs, call, masks={}):
    """Runs call(module, **inputs) and keeps what the test compares."""
    for key, x in inputs.items():
        put(f"{name}.in.{key}", x)
        x.requires_grad_(True)
    for key, m in masks.items():
        put(f"{name}.mask.{key}", m)
    y = call(module, *inputs.values())
    dy = values(*y.shape)
    (y * dy).sum().backward()
    put(f"{name}.dy", dy)
    put(f"{name}.out", y)
    for key, p in (module.named_parameters() if module else []):
        put(f"{name}.param.{key}", p)
        put(f"{name}.grad.param.{key}", p.grad)
    for key, x in inputs.items():
        put(f"{name}.grad.in.{key}", x.grad)


def padding(batch, keys, lengths):
    return torch.arange(keys)[None, :] >= torch.tensor(lengths)[:, None]


# --- attention
case("sdpa_grouped", None, {"q": values(2, 4, 5, 6), "k": values(2, 2, 7, 6), "v": values(2, 2, 7, 3)},
     lambda m, q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True))
case("sdpa_causal", None, {"q": values(2, 3, 9, 4), "k": values(2, 3, 9, 4), "v": values(2, 3, 9, 4)},
     lambda m, q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3))
case("mha_self", randomize(nn.MultiheadAttention(8, 2, batch_first=True)), {"x": values(3, 5, 8)},
     lambda m, x: m(x, x, x, need_weights=False)[0])
upper = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)
case("mha_causal", randomize(nn.MultiheadAttention(8, 4, bias=False)), {"x": values(5, 2, 8)},
     lambda m, x: m(x, x, x, attn_mask=upper, need_weights=False)[0])
hidden = padding(2, 6, [6, 4])
blocked = torch.rand(4, 6) < 0.3
blocked[:, 0] = False
case("mha_cross", randomize(nn.MultiheadAttention(8, 2, kdim=5, vdim=3)),
     {"query": values(4, 2, 8), "key": values(6, 2, 5), "value": values(6, 2, 3)},
     lambda m, q, k, v: m(q, k, v, key_padding_mask=hidden, attn_mask=blocked, need_weights=False)[0],
     {"padding": hidden, "attn": blocked})
added = values(2 * 2, 4, 6)
case("mha_added", randomize(nn.MultiheadAttention(8, 2, batch_first=True)),
     {"query": values(2, 4, 8), "memory": values(2, 6, 8)},
     lambda m, q, k: m(q, k, k, attn_mask=added, need_weights=False)[0], {"attn": added})

# --- transformer layers
hidden5 = padding(2, 5, [5, 3])
causal5 = nn.Transformer.generate_square_subsequent_mask(5).double()
case("encoder_layer", randomize(nn.TransformerEncoderLayer(8, 2, 12, dropout=0)), {"src": values(5, 2, 8)},
     lambda m, src: m(src, src_key_padding_mask=hidden5), {"padding": hidden5})
case("encoder_layer_first",
     randomize(nn.TransformerEncoderLayer(8, 2, 12, dropout=0, activation="gelu", batch_first=True, norm_first=True)),
     {"src": values(2, 5, 8)}, lambda m, src: m(src, src_mask=causal5, is_causal=True))
case("decoder_layer", randomize(nn.TransformerDecoderLayer(8, 2, 12, dropout=0)),
     {"tgt": values(5, 2, 8), "memory": values(4, 2, 8)},
     lambda m, tgt, memory: m(tgt, memory, tgt_mask=causal5, tgt_is_causal=True))
case("decoder_layer_first",
     randomize(nn.TransformerDecoderLayer(8, 2, 12, dropout=0, activation="gelu", batch_first=True, norm_first=True)),
     {"tgt": values(2, 5, 8), "memory": values(2, 5, 8)},
     lambda m, tgt, memory: m(tgt, memory, tgt_mask=causal5, tgt_is_causal=True, memory_key_padding_mask=hidden5),
     {"padding": hidden5})
case("encoder", randomize(nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6, dropout=0, batch_first=True), 2,
                                                norm=nn.LayerNorm(4), enable_nested_tensor=False)),
     {"src": values(2, 3, 4)}, lambda m, src: m(src))
case("transformer", randomize(nn.Transformer(4, 2, 1, 2, 6, dropout=0, batch_first=True)),
     {"src": values(2, 3, 4), "tgt": values(2, 5, 4)},
     lambda m, src, tgt: m(src, tgt, tgt_mask=causal5, tgt_is_causal=True))

# --- norms
case("rms_norm", randomize(nn.RMSNorm(6, eps=1e-3)), {"x": values(3, 4, 6)}, lambda m, x: m(x))
case("group_norm", randomize(nn.GroupNorm(2, 6)), {"x": values(3, 6, 2, 3)}, lambda m, x: m(x))
case("instance_norm_1d", randomize(nn.InstanceNorm1d(3, affine=True)), {"x": values(2, 3, 7)}, lambda m, x: m(x))
case("instance_norm_2d", None, {"x": values(2, 3, 4, 5)}, lambda m, x: nn.InstanceNorm2d(3)(x))

# --- positions
angles = torch.arange(3, 8).double()[:, None] / 10000 ** (torch.arange(0, 6, 2).double() / 6)
turned = torch.cat([angles, angles], -1)[None]
case("rotary", None, {"x": values(2, 2, 5, 6)}, lambda m, x: apply_rotary_pos_emb(x, x, turned.cos(), turned.sin())[0])

# --- sampling
logits = values(4, 12)
put("sampling.logits", logits)
put("sampling.temperature", TemperatureLogitsWarper(0.7)(None, logits))
put("sampling.top_k", TopKLogitsWarper(5)(None, logits))
put("sampling.top_p", TopPLogitsWarper(0.6)(None, logits))
save_file(out, FIXTURES / "attention.safetensors")

# --- GPT-2 by its Hugging Face names
torch.manual_seed(1)
config = GPT2Config(vocab_size=23, n_positions=24, n_embd=12, n_layer=2, n_head=3, bos_token_id=None, eos_token_id=None,
                    resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
model = GPT2LMHeadModel(config)
for p in model.parameters():
    p.data = 0.3 * torch.randn_like(p)
model.double().eval()
gpt = {name: p.detach().float().contiguous() for name, p in model.named_parameters()}  # lm_head is tied: not repeated
tokens = torch.randint(0, 23, (2, 9))
loss = model(tokens, labels=tokens).loss  # transformers casts the logits to float32 for it
loss.backward()
gpt["expected.tokens"] = tokens
gpt["expected.logits"] = model(tokens).logits.detach().contiguous()
gpt["expected.loss"] = loss.detach()
for name in ["wte.weight", "wpe.weight", "h.1.attn.c_attn.weight", "h.0.mlp.c_proj.bias"]:
    gpt["expected.grad.transformer." + name] = dict(model.named_parameters())["transformer." + name].grad.contiguous()
prompt = tokens[:1, :4]
mask = torch.ones_like(prompt)
kinds = {"greedy": {}, "beams": {"num_beams": 3, "length_penalty": 1.0}}
for name, options in kinds.items():
    gpt["expected." + name] = model.generate(prompt, attention_mask=mask, do_sample=False, max_new_tokens=8, pad_token_id=0,
                                             **options)[0].contiguous()
save_file(gpt, FIXTURES / "gpt2.safetensors")

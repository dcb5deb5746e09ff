"""The workloads of bench/workloads.h in PyTorch: the same weights, batches, models and constants, number by number.

Used by torch_gpu.py. Weights are listed as there; `loss(p, x, y)` computes from that list.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F


class Stream:
    """SplitMix64, many numbers at a time."""

    def __init__(self, seed):
        self.seed, self.position = seed, 0

    def next(self, n):
        with np.errstate(over="ignore"):
            k = np.arange(self.position + 1, self.position + n + 1, dtype=np.uint64)
            z = np.uint64(self.seed) + k * np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        self.position += n
        return z ^ (z >> np.uint64(31))

    def uniform(self, n):
        return ((self.next(n) >> np.uint64(43)).astype(np.int64) - (1 << 20)).astype(np.float32) * np.float32(2.0**-20)

    def below(self, n):
        return int(self.next(1)[0] % np.uint64(n))

    def words(self, most):
        """The next ones, one by one; nothing else may be drawn from the stream after them."""
        return iter(self.next(most).tolist())


def uniform(seed, n, bound):
    return np.float32(bound) * Stream(seed).uniform(n)


class Workload:
    adam = adamw = False
    images = False
    learning_rate = 0.0
    dtype = "f32"

    def __init__(self, name):
        self.name = name

    def to_device(self, device):
        """What the loss needs beside parameters and batch."""

    def batch_list(self):
        return [self.batch(i) for i in range(self.batches)]


class Classifier(Workload):
    """Dense or convolutional layers: (in, out, kernel, padding), kernel 0 for a dense one."""

    def __init__(self, name, layers, batch_size, batches, learning_rate, images=False, adam=False):
        super().__init__(name)
        self.layers, self.batch_size, self.batches = layers, batch_size, batches
        self.learning_rate, self.images, self.adam = learning_rate, images, adam

    def weights(self):
        result = []
        for fan_channels, out, kernel, _ in self.layers:
            fan_in = fan_channels * max(kernel, 1) ** 2
            bound = np.float32(math.sqrt(3.0 / fan_in))
            seed = 1000 + 2 * len(result)
            shape = (out, fan_channels, kernel, kernel) if kernel else (out, fan_channels)
            result.append(uniform(seed, fan_in * out, bound).reshape(shape))
            result.append(uniform(seed + 1, out, bound))
        return result

    def batch(self, index):
        patterns = uniform(1, 10 * 784, 1.0).reshape(10, 784) * np.float32(0.25)
        stream, inputs, labels = Stream(100 + index), [], []
        for _ in range(self.batch_size):
            label = stream.below(10)
            inputs.append(stream.uniform(784) + patterns[label])
            labels.append(stream.below(10) if stream.below(8) == 0 else label)
        shape = (self.batch_size, 1, 28, 28) if self.images else (self.batch_size, 784)
        return np.stack(inputs).reshape(shape), np.array(labels, dtype=np.int64)

    def loss(self, p, x, y):
        if self.name == "lenet":
            x = F.max_pool2d(F.relu(F.conv2d(x, p[0], p[1], padding=2)), 2)
            x = F.max_pool2d(F.relu(F.conv2d(x, p[2], p[3])), 2).flatten(1)
            x = F.relu(F.linear(F.relu(F.linear(x, p[4], p[5])), p[6], p[7]))
            return F.cross_entropy(F.linear(x, p[8], p[9]), y)
        if self.name == "cnn":
            x = F.max_pool2d(F.relu(F.conv2d(F.relu(F.conv2d(x, p[0], p[1])), p[2], p[3])), 2).flatten(1)
            x = F.linear(F.relu(F.linear(x, p[4], p[5])), p[6], p[7])
            return F.nll_loss(F.log_softmax(x, 1), y)
        return F.cross_entropy(F.linear(F.relu(F.linear(x, p[0], p[1])), p[2], p[3]), y)


class Vae(Classifier):
    def __init__(self):
        layers = [(784, 400, 0, 0), (400, 20, 0, 0), (400, 20, 0, 0), (20, 400, 0, 0), (400, 784, 0, 0)]
        super().__init__("vae", layers, 128, 10, 1e-4, adam=True)

    def batch(self, index):
        words = Stream(100 + index).next(2 * self.batch_size * 784).reshape(-1, 2)
        values = ((words[:, 0] >> np.uint64(43)).astype(np.int64) - (1 << 20)).astype(np.float32) * np.float32(2.0**-20)
        pixels = np.where(words[:, 1] % np.uint64(4) == 0, np.float32(0.5) + np.float32(0.5) * values, np.float32(0))
        noise = uniform(200 + index, self.batch_size * 20, 1.75)
        return pixels.reshape(self.batch_size, 784), noise.reshape(self.batch_size, 20)

    def loss(self, p, x, noise):
        h = F.relu(F.linear(x, p[0], p[1]))
        mean, log_variance = F.linear(h, p[2], p[3]), F.linear(h, p[4], p[5])
        z = mean + noise * torch.exp(log_variance * 0.5)
        drawn = F.linear(F.relu(F.linear(z, p[6], p[7])), p[8], p[9])
        likelihood = F.binary_cross_entropy_with_logits(drawn, x, reduction="sum")
        return (likelihood - 0.5 * torch.sum(1 + log_variance - mean.square() - log_variance.exp())) / x.shape[0]


class Tokens(Workload):
    """Tokens [steps, sequences] (batch_first: [sequences, steps]) and the next one of each."""

    batch_first = False

    def batch(self, index):
        kinds, sequences = self.vocabulary, self.sequences
        words, tokens = Stream(100 + index).words(2 * (self.steps + 1) * sequences), []
        for i in range((self.steps + 1) * sequences):
            follows = i >= sequences and next(words) % 4 != 0
            tokens.append((tokens[i - sequences] * 7 + 3) % kinds if follows else next(words) % kinds)
        tokens = np.array(tokens, dtype=np.int64).reshape(self.steps + 1, sequences)
        x, y = tokens[:-1], tokens[1:]
        if self.batch_first:
            x, y = x.T, y.T
        return np.ascontiguousarray(x), np.ascontiguousarray(y).reshape(-1)

    @staticmethod
    def parameter(seed, shape, most, centre=0.0):
        return uniform(seed, math.prod(shape), most).reshape(shape) + np.float32(centre)


class Recurrent(Tokens):
    def __init__(self, name):
        super().__init__(name)
        self.gates = 4 if name == "lstm" else 3
        self.vocabulary, self.width, self.hidden = 65, 128, 256
        self.steps, self.sequences, self.batches = 64, 32, 10
        self.adam, self.learning_rate = True, 1e-3

    def weights(self):
        bound, rows = 1 / math.sqrt(self.hidden), self.gates * self.hidden
        shapes = [((self.vocabulary, self.width), 1.0), ((rows, self.width), bound), ((rows, self.hidden), bound),
                  ((rows,), bound), ((rows,), bound), ((self.vocabulary, self.hidden), bound), ((self.vocabulary,), bound)]
        return [self.parameter(1000 + i, shape, most) for i, (shape, most) in enumerate(shapes)]

    def loss(self, p, x, y):
        zeros = torch.zeros(1, self.sequences, self.hidden, device=x.device)
        cell = p[1:5]
        if self.name == "lstm":
            out = torch.lstm(F.embedding(x, p[0]), (zeros, zeros), cell, True, 1, 0.0, True, False, False)[0]
        else:
            out = torch.gru(F.embedding(x, p[0]), zeros, cell, True, 1, 0.0, True, False, False)[0]
        return F.cross_entropy(F.linear(out, p[5], p[6]).flatten(0, 1), y)


class Gpt(Tokens):
    batch_first = True
    adamw = True

    def __init__(self, name, layers, heads, width, context, vocabulary, sequences, batches, learning_rate, dtype):
        super().__init__(name)
        self.layers, self.heads, self.width, self.vocabulary = layers, heads, width, vocabulary
        self.steps, self.sequences, self.batches = context, sequences, batches
        self.learning_rate, self.dtype = learning_rate, dtype

    def weights(self):
        result = []

        def add(shape, most, centre=0.0):
            result.append(self.parameter(1000 + len(result), shape, most, centre))

        def norm():
            add((self.width,), 0.0625, 1.0)
            add((self.width,), 0.0625)

        def linear(inputs, outputs):
            add((outputs, inputs), 1 / math.sqrt(inputs))
            add((outputs,), 0.0625)

        add((self.vocabulary, self.width), 0.0625)
        add((self.steps, self.width), 0.0625)
        for _ in range(self.layers):
            norm()
            linear(self.width, 3 * self.width)
            linear(self.width, self.width)
            norm()
            linear(self.width, 4 * self.width)
            linear(4 * self.width, self.width)
        norm()
        return result

    def loss(self, p, x, y):
        n, steps, width = *x.shape, self.width
        h = F.embedding(x, p[0]) + p[1]
        for i in range(self.layers):
            q = p[2 + 12 * i: 14 + 12 * i]
            parts = F.linear(F.layer_norm(h, (width,), q[0], q[1]), q[2], q[3]).split(width, 2)
            heads = [t.view(n, steps, self.heads, width // self.heads).transpose(1, 2) for t in parts]
            seen = F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).reshape(n, steps, width)
            h = h + F.linear(seen, q[4], q[5])
            inner = F.gelu(F.linear(F.layer_norm(h, (width,), q[6], q[7]), q[8], q[9]), approximate="tanh")
            h = h + F.linear(inner, q[10], q[11])
        scores = F.linear(F.layer_norm(h, (width,), p[-2], p[-1]), p[0])
        return F.cross_entropy(scores.flatten(0, 1), y)


def make(name):
    dense, lenet = [(784, 128, 0, 0), (128, 10, 0, 0)], [(1, 6, 5, 2), (6, 16, 5, 0), (400, 120, 0, 0),
                                                         (120, 84, 0, 0), (84, 10, 0, 0)]
    cnn = [(1, 32, 3, 0), (32, 64, 3, 0), (9216, 128, 0, 0), (128, 10, 0, 0)]
    return {
        "mlp_b64": lambda: Classifier(name, dense, 64, 10, 0.05),
        "mlp_b1": lambda: Classifier(name, dense, 1, 50, 0.005),
        "lenet": lambda: Classifier(name, lenet, 64, 10, 0.2, images=True),
        "cnn": lambda: Classifier(name, cnn, 64, 10, 1e-5, images=True, adam=True),
        "vae": Vae,
        "lstm": lambda: Recurrent(name),
        "gru": lambda: Recurrent(name),
        "gpt": lambda: Gpt(name, 4, 4, 128, 64, 65, 12, 10, 1e-4, "f32"),
        "gpt_10m": lambda: Gpt(name, 6, 6, 384, 256, 65, 64, 10, 1e-4, "bf16"),
        "gpt2": lambda: Gpt(name, 12, 12, 768, 1024, 50257, 32, 2, 1e-5, "bf16"),
    }[name]()

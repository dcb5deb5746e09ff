#!/usr/bin/env python3
"""Training steps of Tenrec and of PyTorch on a GPU, interleaved, with who is faster by how much.

  python3 bench/peers/torch_gpu.py --ours build/cuda/bench/train_bench [--workload NAME]... [--rounds 7]
                                   [--seconds S] [--json FILE] [--device cuda]

Run by `./dev gpu-check` where python3 has torch. The workloads are those of bench/workloads.h, from the same weights on
the same batches, in f32 without TF32. PyTorch takes part as it is by default (eager), with its fused optimizer, cuDNN's
search and channels-last (tuned), that as one CUDA graph (graph), and, for one workload, its compiler (compiled); Tenrec
eager, and captured where it can. Losses of 50 steps must agree to 1e-4 with Tenrec's before a variant is timed.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

WORKLOADS = ["mlp_b64", "mlp_b1", "lenet", "cnn"]
COMPILED = "cnn"  # the compiler's search takes its time
LOSS_STEPS = 50
TOLERANCE = 1e-4


class Stream:
    """bench/workloads.h's SplitMix64, many numbers at a time."""

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


def uniform(seed, n, bound):
    return np.float32(bound) * Stream(seed).uniform(n)


class Workload:
    def __init__(self, name):
        self.name = name
        self.images = name in ("lenet", "cnn")
        self.adam = name == "cnn"
        self.batch = 1 if name == "mlp_b1" else 64
        self.batches = 50 if name == "mlp_b1" else 10
        self.lr = {"mlp_b64": 0.05, "mlp_b1": 0.005, "lenet": 0.2, "cnn": 1e-5}[name]
        self.layers = {  # in, out, kernel (0: linear), padding
            "lenet": [(1, 6, 5, 2), (6, 16, 5, 0), (400, 120, 0, 0), (120, 84, 0, 0), (84, 10, 0, 0)],
            "cnn": [(1, 32, 3, 0), (32, 64, 3, 0), (9216, 128, 0, 0), (128, 10, 0, 0)],
        }.get(name, [(784, 128, 0, 0), (128, 10, 0, 0)])

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

    def make_batches(self):
        patterns = uniform(1, 10 * 784, 1.0).reshape(10, 784) * np.float32(0.25)
        for index in range(self.batches):
            stream, inputs, labels = Stream(100 + index), [], []
            for _ in range(self.batch):
                label = stream.below(10)
                inputs.append(stream.uniform(784) + patterns[label])
                labels.append(stream.below(10) if stream.below(8) == 0 else label)
            shape = (self.batch, 1, 28, 28) if self.images else (self.batch, 784)
            yield np.stack(inputs).reshape(shape), np.array(labels, dtype=np.int64)

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


class Trainer:
    """A workload in one of PyTorch's variants, from its initial weights on."""

    def __init__(self, workload, variant, device):
        tuned, on_gpu = variant != "eager", device.type == "cuda"
        torch.backends.cudnn.benchmark = tuned
        layout = torch.channels_last if tuned and workload.images else torch.contiguous_format
        self.device = device
        self.initial = [torch.from_numpy(w).to(device) for w in workload.weights()]
        self.parameters = [
            (w.to(memory_format=layout) if w.dim() == 4 else w).clone(memory_format=torch.preserve_format)
            .requires_grad_() for w in self.initial]
        self.batches = [(torch.from_numpy(x).to(device), torch.from_numpy(y).to(device))
                        for x, y in workload.make_batches()]
        if workload.images:
            self.batches = [(x.to(memory_format=layout), y) for x, y in self.batches]
        options = {"fused": True} if tuned and on_gpu else {}
        if workload.adam:
            options.update({"capturable": True} if variant == "graph" else {})
            self.optimizer = torch.optim.Adam(self.parameters, lr=workload.lr, **options)
        else:
            self.optimizer = torch.optim.SGD(self.parameters, lr=workload.lr, **options)
        self.loss = lambda x, y: workload.loss(self.parameters, x, y)
        if variant == "compiled":
            self.loss = torch.compile(self.loss, mode="max-autotune")
        self.run = self.train
        if variant == "graph":
            self.capture()

    def train(self, x, y):
        self.optimizer.zero_grad()
        loss = self.loss(x, y)
        loss.backward()
        self.optimizer.step()
        return loss

    def capture(self):
        x, y = (t.clone(memory_format=torch.preserve_format) for t in self.batches[0])
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.train(x, y)
        torch.cuda.current_stream().wait_stream(side)
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = self.train(x, y)

        def replay(new_x, new_y):
            x.copy_(new_x)
            y.copy_(new_y)
            graph.replay()
            return loss

        self.run = replay
        self.reset()

    def reset(self):
        """Undoes the steps of the warm-up, in place."""
        with torch.no_grad():
            for p, w in zip(self.parameters, self.initial):
                p.copy_(w)
            for state in self.optimizer.state.values():
                for value in state.values():
                    if torch.is_tensor(value):
                        value.zero_()

    def step(self, i):
        return self.run(*self.batches[i % len(self.batches)])

    def losses(self):
        return [self.step(i).item() for i in range(LOSS_STEPS)]

    def synchronize(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def time(self, seconds):
        """Microseconds a step, over as many as fill `seconds`."""
        def spent(steps):
            self.synchronize()
            start = time.perf_counter()
            for i in range(steps):
                self.step(i)
            self.synchronize()
            return time.perf_counter() - start

        spent(20)
        steps = max(5, int(seconds / (spent(10) / 10)))
        return spent(steps) / steps * 1e6


class Failure(Exception):
    pass


def ours(args, workload, *more):
    command = [args.ours, "--workload", workload, "--device", args.device, *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"{' '.join(command)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def difference(a, b):
    pairs = list(zip(a, b))
    if len(a) != len(b) or any(x is None or y is None for x, y in pairs):
        return math.inf
    return max(abs(x - y) / max(abs(x), abs(y), 1e-30) for x, y in pairs)


def compare(args, name):
    workload, device = Workload(name), torch.device(args.device)
    expected = ours(args, name, "--losses", "--repeats", "0")["losses"]
    timed, row = {}, {"workload": name, "loss_difference": {}, "us": {}, "refused": {}}
    for label, flags in {"tenrec": [], "tenrec captured": ["--capture"]}.items():
        if flags and device.type != "cuda":
            continue
        try:
            losses = ours(args, name, "--losses", "--repeats", "0", *flags)["losses"]
        except Failure as failure:
            row["refused"][label] = str(failure)[-300:]
            continue
        row["loss_difference"][label] = difference(losses, expected)
        timed[label] = lambda flags=flags: ours(args, name, "--repeats", "1", "--min-time", str(args.min_time),
                                                *flags)["us_per_step"]
    variants = ["eager", "tuned"] + (["graph"] if device.type == "cuda" else [])
    if name == COMPILED and not args.no_compile:
        variants.append("compiled")
    for variant in variants:
        label = "torch " + variant
        try:
            trainer = Trainer(workload, variant, device)
            row["loss_difference"][label] = worst = difference(trainer.losses(), expected)
        except Exception as error:  # whatever PyTorch throws: the other variants go on
            row["refused"][label] = f"{type(error).__name__}: {error}"[:300]
            continue
        if worst <= TOLERANCE:
            timed[label] = lambda trainer=trainer: trainer.time(args.min_time)
        else:
            row["refused"][label] = f"its losses differ by {worst:.1e}"
    times = {label: [] for label in timed}
    for _ in range(args.rounds):
        for label, measure in timed.items():
            times[label].append(measure())
    row["us"] = {label: statistics.median(t) for label, t in times.items()}
    row["spread"] = {label: (max(t) - min(t)) / statistics.median(t) for label, t in times.items()}
    best_ours = min((t for label, t in row["us"].items() if label.startswith("tenrec")), default=None)
    peers = [t for label, t in row["us"].items() if label.startswith("torch")]
    if best_ours and peers:
        row["ratio_to_best"] = min(peers) / best_ours
        if "torch eager" in row["us"]:
            row["ratio_to_eager"] = row["us"]["torch eager"] / best_ours
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True, help="Tenrec's train_bench")
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="only this one; may be repeated")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--min-time", type=float, default=0.05, help="seconds a measurement")
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no workload after so long")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--json")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        raise Failure("PyTorch finds no GPU")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    device = torch.cuda.get_device_name() if args.device == "cuda" else "the processor"
    print(f"PyTorch {torch.__version__} on {device}; f32, microseconds a step, medians of {args.rounds} rounds")
    start, rows, bad = time.perf_counter(), [], 0
    for name in args.workload or WORKLOADS:
        if time.perf_counter() - start > args.seconds:
            print(f"{name}: not reached in {args.seconds:g} s")
            continue
        row = compare(args, name)
        rows.append(row)
        print(f"{name:<8} " + "  ".join(f"{label} {us:.4g} ({row['loss_difference'][label]:.0e})"
                                        for label, us in row["us"].items()))
        for label, reason in row["refused"].items():
            print(f"{'':<8} {label}: {reason}")
        bad += "torch eager" not in row["us"] or "tenrec" not in row["us"]
        if args.json:
            with open(args.json, "w", encoding="utf-8") as file:
                json.dump({"torch": torch.__version__, "device": device, "rows": rows}, file)
        sys.stdout.flush()
    ratios = ", ".join(f"{r['workload']} {r['ratio_to_best']:.2f} (eager {r.get('ratio_to_eager', math.nan):.2f})"
                       for r in rows if "ratio_to_best" in r)
    print(f"{len(rows)} workloads; PyTorch's time at its best over Tenrec's: {ratios or 'none could be compared'}")
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"torch_gpu: {failure}")

#!/usr/bin/env python3
"""Training steps of Tenrec and of PyTorch on a GPU, interleaved, with who is faster by how much.

  python3 bench/peers/torch_gpu.py --ours build/cuda/bench/train_bench [--workload NAME]... [--rounds 7]
                                   [--seconds S] [--json FILE] [--device cuda]

Run by `./dev gpu-check` where python3 has torch. The workloads are those of bench/workloads.h, from the same weights on
the same batches (torch_workloads.py); in f32 without TF32, gpt_10m and gpt2 under autocast to bf16. PyTorch takes part
as it is by default (eager), with its fused optimizer, cuDNN's search and channels-last (tuned), that as one CUDA graph
(graph), and, for some workloads, its compiler (compiled); Tenrec eager, and captured where it can. Losses of 50 steps
(10 of gpt2) must agree with Tenrec's, to 1e-4 in f32 and 2e-2 in bf16, before a variant is timed.
"""

import argparse
import gc
import json
import math
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
import torch_workloads  # noqa: E402

WORKLOADS = ["mlp_b64", "lenet", "cnn", "gpt_10m", "vae", "lstm", "gpt", "gpt2", "gru", "mlp_b1"]
COMPILED = ["cnn", "gpt_10m", "gpt2"]  # the compiler's search takes its time
LOSS_STEPS = 50
TOLERANCE = {"f32": 1e-4, "bf16": 2e-2}


class Failure(Exception):
    pass


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
        self.batches = [tuple(torch.from_numpy(t).to(device) for t in batch) for batch in workload.batch_list()]
        if workload.images:
            self.batches = [(x.to(memory_format=layout), y) for x, y in self.batches]
        options = {"fused": True} if tuned and on_gpu else {}
        if workload.adam or workload.adamw:
            options.update({"capturable": True} if variant == "graph" else {})
            kind = torch.optim.AdamW if workload.adamw else torch.optim.Adam
            self.optimizer = kind(self.parameters, lr=workload.learning_rate, **options)
        else:
            self.optimizer = torch.optim.SGD(self.parameters, lr=workload.learning_rate, **options)
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=workload.dtype == "bf16",
                                       cache_enabled=variant != "graph")
        self.loss = lambda x, y: workload.loss(self.parameters, x, y)
        if variant == "compiled":
            self.loss = torch.compile(self.loss, mode="max-autotune-no-cudagraphs" if workload.adamw else "max-autotune")
        self.run = self.train
        if variant == "graph":
            self.capture()

    def train(self, x, y):
        self.optimizer.zero_grad()
        with self.autocast:
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

    def losses(self, steps):
        return [self.step(i).item() for i in range(steps)]

    def synchronize(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def spent(self, steps):
        self.synchronize()
        start = time.perf_counter()
        for i in range(steps):
            self.step(i)
        self.synchronize()
        return time.perf_counter() - start

    def warm_up(self, seconds):
        """After this, time() takes about so long."""
        self.spent(3)
        self.steps = max(3, int(seconds / (self.spent(3) / 3)))
        self.spent(self.steps)

    def time(self):
        """Microseconds a step."""
        return self.spent(self.steps) / self.steps * 1e6

    def close(self):
        pass


class Ours:
    """A train_bench that stays, so that a turn does not pay for its start."""

    def __init__(self, args, workload, flags):
        self.command = [args.ours, "--workload", workload.name, "--device", args.device, "--dtype", workload.dtype,
                        *flags]
        done = subprocess.run([*self.command, "--losses", "--repeats", "0"], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failure(f"{' '.join(self.command)}: {done.stderr.strip()}")
        self.expected = json.loads(done.stdout)["losses"]
        self.process = None

    def losses(self, steps):
        return self.expected[:steps]

    def warm_up(self, seconds):
        self.process = subprocess.Popen([*self.command, "--repeats", "1", "--min-time", str(seconds), "--serve"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        first = self.process.stdout.readline()
        if not first:
            raise Failure(f"{' '.join(self.command)} ended with status {self.process.wait()}")
        self.report = json.loads(first)

    def time(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline()
        if not said:
            raise Failure(f"{' '.join(self.command)} ended with status {self.process.wait()}")
        return float(said)

    def close(self):
        if self.process:
            self.process.communicate()  # closes its input, dead or alive, and waits


def difference(a, b):
    pairs = list(zip(a, b))
    if len(a) != len(b) or any(x is None or y is None for x, y in pairs):
        return math.inf
    return max(abs(x - y) / max(abs(x), abs(y), 1e-30) for x, y in pairs)


def variants_of(args, workload, device):
    """What takes part, by name: makers, so that one that fails does not keep the others from it."""
    on_gpu = device.type == "cuda"
    makers = {"tenrec": lambda: Ours(args, workload, [])}
    if on_gpu:
        makers["tenrec captured"] = lambda: Ours(args, workload, ["--capture"])
    variants = ["eager", "tuned"] + (["graph"] if on_gpu else [])
    if workload.name in COMPILED and not args.no_compile:
        variants.append("compiled")
    for variant in variants:
        makers["torch " + variant] = lambda variant=variant: Trainer(workload, variant, device)
    return makers


def one_by_one(workload):
    """Whether two of it do not fit a device side by side, so that each is timed and closed before the next."""
    return workload.name == "gpt2"


def free_memory(device):
    """Of trainers that nobody holds any more: their closures refer to them, so counting references does not free it."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def compare(args, name):
    workload, device = torch_workloads.make(name), torch.device(args.device)
    row = {"workload": name, "dtype": workload.dtype, "loss_difference": {}, "us": {}, "spread": {}, "peak_mb": {},
           "refused": {}}
    steps = 10 if one_by_one(workload) else LOSS_STEPS
    timed, times, expected = {}, {}, None

    def refuse(label, error):  # whatever PyTorch throws: the other variants go on
        row["refused"][label] = f"{type(error).__name__}: {error}"[:300]
        times.pop(label, None)

    for label, make in variants_of(args, workload, device).items():
        program = None
        try:
            if device.type == "cuda":  # those that stay hold memory too
                torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated()
            program = make()
            losses = program.losses(steps)
            expected = expected or losses
            row["loss_difference"][label] = worst = difference(losses, expected)
            if worst > TOLERANCE[workload.dtype]:
                raise Failure(f"its losses differ by {worst:.1e}")
            program.warm_up(args.min_time)
            if isinstance(program, Ours):
                row["peak_mb"][label] = program.report.get("peak_device_mb")
            elif device.type == "cuda":
                row["peak_mb"][label] = (torch.cuda.max_memory_allocated() - before) / 2**20
            if one_by_one(workload):
                times[label] = [program.time() for _ in range(min(args.rounds, 3))]
            else:
                timed[label], program = program, None
        except Exception as error:
            refuse(label, error)
        if program:
            program.close()
        program = None
        free_memory(device)
    for _ in range(args.rounds):
        for label, program in list(timed.items()):
            try:
                times.setdefault(label, []).append(program.time())
            except Exception as error:
                refuse(label, error)
                timed.pop(label).close()
    for program in timed.values():
        program.close()
    row["us"] = {label: statistics.median(t) for label, t in times.items()}
    row["spread"] = {label: (max(t) - min(t)) / statistics.median(t) for label, t in times.items()}
    best_ours = min((t for label, t in row["us"].items() if label.startswith("tenrec")), default=None)
    peers = [t for label, t in row["us"].items() if label.startswith("torch")]
    if best_ours and peers:
        row["ratio_to_best"] = min(peers) / best_ours
        if "torch eager" in row["us"]:
            row["ratio_to_eager"] = row["us"]["torch eager"] / best_ours
    return row


def show(row):
    print(f"{row['workload']:<8} " + "  ".join(
        f"{label} {us:.4g} ({row['loss_difference'][label]:.0e}" +
        (f", {row['peak_mb'][label]:.0f} MB)" if row["peak_mb"].get(label) else ")") for label, us in row["us"].items()))
    for label, reason in row["refused"].items():
        print(f"{'':<8} {label}: {reason}")
    sys.stdout.flush()


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
    print(f"PyTorch {torch.__version__} on {device}; microseconds a step (loss difference, most memory held), medians of "
          f"{args.rounds} rounds")
    start, rows, bad = time.perf_counter(), [], 0
    for name in args.workload or WORKLOADS:
        if time.perf_counter() - start > args.seconds:
            print(f"{name}: not reached in {args.seconds:g} s")
            continue
        row = compare(args, name)
        rows.append(row)
        show(row)
        bad += "torch eager" not in row["us"] or "tenrec" not in row["us"]
        if args.json:
            with open(args.json, "w", encoding="utf-8") as file:
                json.dump({"torch": torch.__version__, "device": device, "rows": rows}, file)
    ratios = ", ".join(f"{r['workload']} {r['ratio_to_best']:.2f} (eager {r.get('ratio_to_eager', math.nan):.2f})"
                       for r in rows if "ratio_to_best" in r)
    print(f"{len(rows)} workloads; PyTorch's time at its best over Tenrec's: {ratios or 'none could be compared'}")
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"torch_gpu: {failure}")

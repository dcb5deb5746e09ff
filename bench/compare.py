#!/usr/bin/env python3
"""Runs the training workloads in Tenrec and in LibTorch, interleaved, and prints who is faster by how much.

  python3 bench/compare.py [--workload NAME]... [--rounds 7] [--quick]

Called by `./dev bench --peers`, which has built Tenrec before; the peers (bench/peers, needs libtorch-dev) are built
here. For each workload:

1. The losses of 50 steps from the same weights on the same batches must agree to 1e-4, or there is no ratio.
2. The peer's best setting is searched: threads, malloc's thresholds, OpenBLAS's own threads, and its variants.
3. Tenrec and the peer at its default and at its best then take turns, at least 7 times; what counts is the median.

The table gives what the step cannot do without: its arithmetic or memory traffic at the ceilings measured on this
machine, or the same step in plain loops. It is also written to build/bench/report.json.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORKLOADS = ["chain", "xor", "mlp_b64", "mlp_b1", "lenet", "cnn", "lstm", "gru", "vae", "gpt",
             "attention", "adamw", "mlp_grad", "mlp_hvp"]
BY_HAND = ["chain", "xor"]  # rows whose limit is the same step in plain loops
LOSS_TOLERANCE = 1e-4
TUNING_VARIABLES = ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "OPENBLAS_NUM_THREADS",
                    "OMP_NUM_THREADS", "TENREC_THREADS"]
KEEP_PAGES = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 34)}


class Failure(Exception):
    pass


class Config:
    """A program with its arguments and environment."""

    def __init__(self, program, label, args=(), env=None):
        self.program, self.label, self.args, self.env = program, label, list(args), dict(env or {})

    def run(self, workload, *args):
        env = {k: v for k, v in os.environ.items() if k not in TUNING_VARIABLES}
        command = [str(self.program), "--workload", workload, *self.args, *args]
        done = subprocess.run(command, capture_output=True, text=True, env={**env, **self.env}, check=False)
        if done.returncode:
            raise Failure(f"{' '.join(command)} failed ({done.returncode}): {done.stderr.strip()}")
        return json.loads(done.stdout)


def build_peers(folder):
    for command in (["cmake", "-S", ROOT / "bench/peers", "-B", folder, "-DCMAKE_BUILD_TYPE=Release"],
                    ["cmake", "--build", folder, "-j", "1"]):
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failure(f"{' '.join(map(str, command))} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def losses_agree(a, b):
    """True if both went the same way for all steps; None counts as a loss that is not finite."""
    if len(a) != len(b) or not a or None in a or None in b:
        return False
    return all(abs(x - y) <= LOSS_TOLERANCE * max(abs(x), abs(y)) for x, y in zip(a, b))


def worst_difference(a, b):
    pairs = [(x, y) for x, y in zip(a, b) if x is not None and y is not None]
    return max((abs(x - y) / max(abs(x), abs(y), 1e-30) for x, y in pairs), default=float("inf"))


def search_space(program):
    """Every setting in which LibTorch might be at its best."""
    threads = sorted({1, os.cpu_count() or 1})
    variants = {"": [], "set_to_none": ["--variant", "set_to_none"],
                "set_to_none channels_last": ["--variant", "set_to_none", "--variant", "channels_last"]}
    for n, pages, blas, (name, flags) in itertools.product(threads, (False, True), (False, True), variants.items()):
        env = {**(KEEP_PAGES if pages else {}), **({"OPENBLAS_NUM_THREADS": "1"} if blas else {})}
        label = f"{n}T" + (" keep pages" if pages else "") + (" blas 1T" if blas else "") + (f" {name}" if name else "")
        yield Config(program, label, ["--threads", str(n), *flags], env)


def has_images(workload):
    return workload in ("lenet", "cnn")


def search_best(program, workload, keep, min_time):
    """The `keep` fastest settings by a short run each, the first half of them by two."""
    space = [c for c in search_space(program) if has_images(workload) or "channels_last" not in c.label]
    if workload in ("chain", "adamw", "mlp_grad", "mlp_hvp"):  # no gradients to zero there
        space = [c for c in space if "set_to_none" not in c.label]
    scores = {}
    for attempt in range(2):
        for config in space:
            result = config.run(workload, "--repeats", "2", "--min-time", str(min_time))
            scores[config] = min(scores.get(config, float("inf")), result["us_per_step"])
        space = sorted(space, key=scores.get)[: max(keep, len(space) // 2)]
    return space[:keep]


def limit_us(workload, result, ceilings, by_hand):
    """The least time for a step, and what bounds it."""
    if workload in BY_HAND:
        hand = by_hand.run(workload, "--losses", "--repeats", "7")
        return hand["us_per_step"], "by hand", hand["losses"]
    compute = result["flops"] / ceilings["gflops"][-1] * 1e-3
    levels = ceilings["bandwidth"]
    level = next((b for b in levels if result["footprint"] <= b["footprint"]), levels[-1])
    memory = result["bytes"] / level["gbs"][-1] * 1e-3
    return (compute, "arithmetic", None) if compute >= memory else (memory, "memory", None)


def interleave(configs, workload, rounds, min_time):
    """Each configuration once a round; lists of medians, in microseconds."""
    times = {config: [] for config in configs}
    for _ in range(rounds):
        for config in configs:
            times[config].append(config.run(workload, "--repeats", "3", "--min-time", str(min_time))["us_per_step"])
    return times


def spread(values):
    return (max(values) - min(values)) / statistics.median(values)


def compare(workload, ours, peer, by_hand, ceilings, args):
    mine, theirs = ours.run(workload, "--losses", "--repeats", "0"), peer.run(workload, "--losses", "--repeats", "0")
    agree = losses_agree(mine["losses"], theirs["losses"])
    limit, bound, hand_losses = limit_us(workload, mine, ceilings, by_hand)
    if hand_losses is not None:
        agree = agree and losses_agree(hand_losses, theirs["losses"])
    row = {"workload": workload, "ours_us": None, "peer_default_us": None, "peer_best_us": None, "ratio": None,
           "limit_us": limit, "limit_kind": bound, "losses_agree": agree,
           "worst_loss_difference": worst_difference(mine["losses"], theirs["losses"]),
           "flops": mine["flops"], "bytes": mine["bytes"],
           "ours_rss_mb": mine["peak_rss_mb"], "peer_rss_mb": theirs["peak_rss_mb"]}
    if not agree:
        return row
    single = Config(ours.program, "1T", ["--threads", "1"])
    best = search_best(peer.program, workload, args.candidates, args.min_time / 2)
    times = interleave([ours, peer, single, *best], workload, args.rounds, args.min_time)
    medians = {config: statistics.median(t) for config, t in times.items()}
    winner = min([peer, *best], key=medians.get)
    per_round = [b / a for a, b in zip(times[ours], times[winner])]
    row.update(ours_us=medians[ours], ours_1t_us=medians[single], peer_default_us=medians[peer],
               peer_best_us=medians[winner], ratio=medians[winner] / medians[ours],
               ratio_range=[min(per_round), max(per_round)], peer_best_setting=winner.label,
               ours_best_run_us=min(times[ours]), peer_best_run_us=min(times[winner]),
               ours_spread=spread(times[ours]), peer_spread=spread(times[winner]),
               limit_share=limit / medians[ours], load=os.getloadavg()[0])
    return row


COLUMNS = (f"{'workload':<9} {'ours us':>10} {'1 thread':>10} {'peer default':>12} {'peer best':>10} {'ratio':>6} "
           f"{'range':>11} {'spread':>11} {'limit us':>10} {'share':>6}  losses  peer's best setting")


def format_row(row):
    name, limit = row["workload"], f"{row['limit_us']:>10.4g}"
    if row["ratio"] is None:
        return f"{name:<9} losses differ by {row['worst_loss_difference']:.1e}: no ratio (limit{limit} us)"
    low, high = row["ratio_range"]
    spreads = f"{row['ours_spread']:.0%} {row['peer_spread']:.0%}"
    return (f"{name:<9} {row['ours_us']:>10.4g} {row['ours_1t_us']:>10.4g} {row['peer_default_us']:>12.4g} "
            f"{row['peer_best_us']:>10.4g} {row['ratio']:>6.2f} {f'{low:.2f}-{high:.2f}':>11} "
            f"{spreads:>11} {limit} {row['limit_share']:>6.1%}  "
            f"{row['worst_loss_difference']:.0e}   {row['peer_best_setting']} ({row['limit_kind']}); "
            f"{row['ours_rss_mb']:.0f} of {row['peer_rss_mb']:.0f} MB")


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--min-time", type=float, default=0.1, help="seconds a repeat; a run has three")
    parser.add_argument("--candidates", type=int, default=2, help="peer settings that enter the rounds")
    parser.add_argument("--quick", action="store_true", help="3 rounds of short repeats: a look, not a result")
    parser.add_argument("--ours", type=Path, default=ROOT / "build/release/bench/train_bench")
    parser.add_argument("--peers", type=Path, default=ROOT / "build/peers", help="build folder of bench/peers")
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench/report.json")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.min_time = 3, 0.03
    return args


def check_programs(args):
    build_peers(args.peers)
    peer = args.peers / "torch_bench"
    if not peer.exists():
        raise Failure("LibTorch was not found; on Debian or Ubuntu: apt-get install libtorch-dev libopenblas0-pthread")
    if not args.ours.exists():
        raise Failure(f"{args.ours} is missing: build Tenrec first (./dev build)")
    return Config(args.ours, "default"), Config(peer, "default"), Config(args.peers / "by_hand", "by hand")


def main():
    args = parse_args()
    ours, peer, by_hand = check_programs(args)
    about = peer.run("chain", "--repeats", "0")
    if "OpenBLAS" not in about["backend"]:
        raise Failure(f"LibTorch runs on the {about['backend']}, which is no peer: apt-get install libopenblas0-pthread")
    ceilings = json.loads(subprocess.run([by_hand.program, "--ceilings"], capture_output=True, text=True,
                                         check=True).stdout)
    print(f"LibTorch {about['version']}, {about['backend']}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}")
    print(f"ceilings: {ceilings['gflops'][0]:.0f} GFLOP/s a core, {ceilings['gflops'][-1]:.0f} all; " + ", ".join(
        f"{b['gbs'][0]:.0f} / {b['gbs'][-1]:.0f} GB/s in {b['footprint'] / 2**20:g} MiB" for b in ceilings["bandwidth"]))
    print(COLUMNS, flush=True)
    rows = []
    for workload in args.workload or WORKLOADS:
        rows.append(compare(workload, ours, peer, by_hand, ceilings, args))
        print(format_row(rows[-1]), flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    report = {"rows": rows, "ceilings": ceilings, "rounds": args.rounds, "peer": about["program"],
              "peer_version": about["version"], "peer_backend": about["backend"]}
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"written to {args.out}")
    return 0 if all(row["losses_agree"] for row in rows) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"compare: {failure}")

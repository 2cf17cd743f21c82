#!/usr/bin/env python3
"""Tells whether a benchmark run has become slower than the committed baseline.

    bench/run.sh --benchmark_repetitions=5 --benchmark_enable_random_interleaving=true --benchmark_out=run.json
    bench/guard.py run.json             exits 1 where a benchmark became slower, 2 where there is nothing to compare with
    bench/guard.py --update run.json    makes the run the new baseline

Times drift from machine to machine and from hour to hour, so nothing but ratios inside one process is compared: how many
times as fast a benchmark is as one plain Eigen expression of the same run (naive Eigen = 1). It is the same expression
for all, one whose matrices fit into the cache: larger ones were seen to vary by 30 % from run to run, with the price of
fresh memory. Of repetitions the median counts. A ratio may fall by 15 %.

What a ratio is depends on the processor, so each kind of it has a baseline of its own in bench/baselines/, by the widest
instructions that the run was built for.
"""
import argparse
import collections
import json
import pathlib
import statistics
import sys

BASELINES = pathlib.Path(__file__).parent / "baselines"
NAIVE = "naive/f32/b1_h12_kv12_q128_k128_d64_full/t1"
MAY_FALL_BY = 0.15
NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


def median_times(run):
    """Name -> nanoseconds, and the names of the benchmarks that stopped with an error."""
    times, failed = collections.defaultdict(list), set()
    for entry in run["benchmarks"]:
        name = entry.get("run_name", entry["name"])
        if entry.get("error_occurred"):
            failed.add(name)
        elif entry.get("run_type") != "aggregate":
            times[name].append(entry["real_time"] * NANOSECONDS[entry["time_unit"]])
    return {name: statistics.median(values) for name, values in times.items()}, failed


def speeds(times):
    """Name -> how many times as fast as the plain Eigen expression."""
    if NAIVE not in times:
        sys.exit(f"the run lacks {NAIVE}, which all others are measured against")
    return {name: times[NAIVE] / time for name, time in times.items() if not name.startswith("naive/")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="write the run's ratios to the baseline")
    parser.add_argument("run", help="what --benchmark_out wrote")
    arguments = parser.parse_args()

    with open(arguments.run) as file:
        run = json.load(file)
    kind = run["context"]["instruction_set"]
    path = BASELINES / (kind.lower().replace(" ", "-") + ".json")
    times, failed = median_times(run)
    if failed:
        sys.exit("stopped with an error: " + ", ".join(sorted(failed)))
    now = speeds(times)
    if arguments.update:
        ratios = {name: float(f"{ratio:.4g}") for name, ratio in sorted(now.items())}
        with open(path, "w") as file:
            json.dump({"instruction_set": kind, "times_as_fast_as_naive": ratios}, file, indent=1)
            file.write("\n")
        print(f"{len(ratios)} ratios written to {path}")
        return

    if not path.exists():
        print(f"no baseline for {kind} yet: there is none to compare with. --update makes {path} of this run", file=sys.stderr)
        sys.exit(2)
    with open(path) as file:
        before = json.load(file)["times_as_fast_as_naive"]

    slower = 0
    print(f"{'times as fast as naive Eigen':56} {'before':>8} {'now':>8} {'change':>8}")
    for name in sorted(before.keys() & now.keys()):
        change = now[name] / before[name] - 1
        slower += change < -MAY_FALL_BY
        print(f"{name:56} {before[name]:8.4g} {now[name]:8.4g} {change:+8.0%}{'  SLOWER' * (change < -MAY_FALL_BY)}")
    compared = len(before.keys() & now.keys())
    print(f"{compared} compared, {slower} slower by more than {MAY_FALL_BY:.0%}; "
          f"{len(before) - compared} of the baseline not run, {len(now) - compared} of the run not in the baseline")
    sys.exit(slower > 0 or compared == 0)


if __name__ == "__main__":
    main()

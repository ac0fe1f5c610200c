"""Hand-over of items to worker processes: vidmill's pool beside Python's usual means and iceoryx2, in one run.

    .venv/bin/python bench/pool.py [--quick] [--repeats N] [--seconds S] [--only CONTENDER]... [--bytes N]...

The contenders take turns, so that a slow minute of the machine hits all of them; medians are shown. Prints a table, and
writes bench/results/pool.json. bench/README.md says what each contender does.
"""

import argparse
import importlib.metadata
import platform
import signal
import statistics
import sys
import tempfile
from pathlib import Path

import meter
import outside

SIZES = {"64 B": 64, "100 KB": 100_000, "1.2 MB": 1_228_800, "6.2 MB": 6_220_800, "24 MB": 24_883_200}
WORKERS = [1, 2]
MODES = ["throughput", "round-trip"]
VIDMILL = meter.TARGET / "examples" / "hand_over"
PEERS = [sys.executable, meter.ROOT / "bench" / "pool_peers.py"]
# Which contender's items per second are divided by which one's.
RATIOS = [
    ("vidmill", "mp.Queue"),
    ("vidmill", "shared memory + queue"),
    ("vidmill", "iceoryx2"),
    ("vidmill, in place", "shared memory + queue"),
    ("vidmill, in place", "shared memory + queue, in place"),
    ("vidmill, in place", "iceoryx2, in place"),
]
# A 99th percentile of fewer says nothing at all.
LEAST_ROUND_TRIPS = 30
MOST_ITEMS = 300_000


def contenders(scratch):
    """What each is called with, and why some cannot run: name to command or to a reason."""
    iceoryx2 = outside.build("iceoryx2", "iceoryx2-hand-over")
    if not isinstance(iceoryx2, str):
        iceoryx2 = [iceoryx2, "--name", scratch.name, "--root", scratch]
    vidmill = [VIDMILL] if VIDMILL.exists() else f"not built: there is no {VIDMILL}"
    slots = python("shared-memory", name=f"{scratch.name}_")
    return {
        "vidmill": fill(vidmill, "copy"),
        "vidmill, in place": fill(vidmill, "in-place"),
        "iceoryx2": fill(iceoryx2, "copy"),
        "iceoryx2, in place": fill(iceoryx2, "in-place"),
        "shared memory + queue": fill(slots, "copy"),
        "shared memory + queue, in place": fill(slots, "in-place"),
        "faster-fifo": python("faster-fifo", package="faster-fifo"),
        "mp.Queue": python("mp.Queue"),
        "mp.Pool.imap": python("mp.Pool.imap"),
        "loky": python("loky", package="loky"),
    }


def fill(command, how):
    return command if isinstance(command, str) else [*command, "--fill", how]


def python(contender, name=None, package=None):
    try:
        package and importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return f"not installed: {sys.executable} has no package {package}"
    return [*PEERS, contender, *(["--name", name] if name else [])]


def few(size):
    """Items for a first look, some milliseconds of work."""
    return max(8, min(2000, 100_000_000 // size))


def compare(commands, size, workers, options):
    """One size and number of workers: the contenders in turn. A contender that fails takes no further turn."""
    case = ["--bytes", size, "--workers", workers]
    turns = {name: {mode: [] for mode in MODES} for name in commands}
    reasons, items = {}, {}
    for repeat in range(options.repeats):
        for name, command in commands.items():
            if name in reasons:
                continue
            try:
                for mode in MODES:
                    ask = [*command, *case, "--mode", mode, "--items"]
                    if (name, mode) not in items:
                        items[name, mode] = few(size) if options.quick else enough(ask, size, mode, options.seconds)
                    turns[name][mode].append(meter.ask([*ask, items[name, mode]]))
            except meter.BenchmarkError as error:
                print(error, file=sys.stderr)
                reasons[name] = f"failed: {str(error).strip().splitlines()[-1]}"
        print(f"{size} bytes, {workers} workers: turn {repeat + 1} of {options.repeats} done", file=sys.stderr)
    return {name: {"failed": reasons[name]} if name in reasons else summary(turns[name], size) for name in commands}


def enough(ask, size, mode, seconds):
    """As many items as this contender hands over in `seconds`."""
    look = meter.ask([*ask, few(size)])
    least = LEAST_ROUND_TRIPS if mode == "round-trip" else 8
    return max(least, min(MOST_ITEMS, round(seconds * look["items"] / max(look["seconds"], 1e-6))))


def summary(turns, size):
    through, trips = turns["throughput"], turns["round-trip"]
    rate = statistics.median(turn["items"] / turn["seconds"] for turn in through)
    return {
        "items_per_second": rate,
        "items_per_second_all": [turn["items"] / turn["seconds"] for turn in through],
        "gb_per_second": rate * size / 1e9,
        "cpu_us_per_item": statistics.median(turn["cpu_seconds"] / turn["items"] for turn in through) * 1e6,
        "p50_us": statistics.median(turn["p50_us"] for turn in trips),
        "p99_us": statistics.median(turn["p99_us"] for turn in trips),
        "items": through[0]["items"],
        "round_trips": trips[0]["items"],
    }


def print_table(results, missing):
    print(
        f"{'item':<7} {'workers':>7} {'contender':<32} {'items/s':>9} {'GB/s':>7} {'CPU us/item':>12} {'p50 us':>9} {'p99 us':>9}"
    )
    for result in results:
        for name, row in result["contenders"].items():
            start = f"{result['item']:<7} {result['workers']:>7} {name:<32} "
            if "failed" in row:
                print(start + row["failed"])
                continue
            print(
                f"{start}{row['items_per_second']:>9.0f} {row['gb_per_second']:>7.2f} {row['cpu_us_per_item']:>12.1f} "
                f"{row['p50_us']:>9.1f} {row['p99_us']:>9.1f}"
            )
    for name, reason in missing.items():
        print(f"{name}: {reason}")


def ratio(result, ours, theirs):
    rows = [result["contenders"].get(name, {}) for name in (ours, theirs)]
    rates = [row.get("items_per_second") for row in rows]
    return rates[0] / rates[1] if all(rates) else None


def print_ratios(results):
    """A row for each pair and number of workers, a column for each size; pairs of which one did not run have none."""
    sizes = list(dict.fromkeys(result["item"] for result in results))
    rows = []
    for ours, theirs in RATIOS:
        for workers in WORKERS:
            found = {result["item"]: ratio(result, ours, theirs) for result in results if result["workers"] == workers}
            if any(found.values()):
                cells = "".join(f"{found[size]:>9.2f}" if found[size] else f"{'-':>9}" for size in sizes)
                rows.append(f"{f'{ours} / {theirs}':<56} {workers:>7}{cells}")
    if rows:
        print(f"\n{'items/s, how many times':<56} {'workers':>7}" + "".join(f"{size:>9}" for size in sizes))
        print("\n".join(rows))


def tidy(scratch):
    """Removes what a contender that was killed left in shared memory; names begin with this run's own."""
    for left in Path("/dev/shm").glob(f"{scratch.name}*"):
        left.unlink(missing_ok=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few items and one turn: shows that all works, not how fast")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each contender, case and turn")
    parser.add_argument("--only", action="append", metavar="CONTENDER", help="by name, as the table shows it")
    parser.add_argument("--bytes", action="append", type=int, choices=SIZES.values())
    options = parser.parse_args()
    if options.quick:
        options.repeats = 1
    return options


def main(scratch):
    options = parse()
    known = contenders(scratch)
    if unknown := set(options.only or []) - set(known):
        raise SystemExit(f"no contender {', '.join(sorted(unknown))}: choose from {'; '.join(known)}")
    chosen = {name: command for name, command in known.items() if not options.only or name in options.only}
    missing = {name: command for name, command in chosen.items() if isinstance(command, str)}
    commands = {name: command for name, command in chosen.items() if name not in missing}
    results = []
    for item, size in SIZES.items():
        for workers in WORKERS:
            if not options.bytes or size in options.bytes:
                rows = compare(commands, size, workers, options)
                results.append({"item": item, "bytes": size, "workers": workers, "contenders": rows})
    print_table(results, missing)
    print_ratios(results)
    packages = ["numpy", "faster-fifo", "loky"]
    versions = {"python": platform.python_version()} | {name: version(name) for name in packages}
    meter.write_report("pool.json", {"versions": versions, "missing": missing, "results": results})
    return any("failed" in row for result in results for row in result["contenders"].values())


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    # However it ends, what runs is ended and what lies about is removed on the way out.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="vidmill_bench_") as folder:
        try:
            sys.exit(main(Path(folder)))
        except KeyboardInterrupt:
            sys.exit(130)
        finally:
            tidy(Path(folder))

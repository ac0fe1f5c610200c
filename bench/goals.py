"""What `make bench` aims at, and whether a run reached it."""

from pathlib import Path

BY_HAND = ("python workers", "python single")


def reached(scenario, result):
    """Rows of (what, the value, the goal, whether it is reached), for the contenders that ran."""
    rows, ran = [], result["contenders"]
    ours = ran["vidmill"]
    by_hand = [ran[name] for name in BY_HAND if name in ran]
    if by_hand:
        better = min(by_hand, key=lambda other: other["wall_seconds"])
        rows.append(least("speed, of the better hand-written form", better["wall_seconds"] / ours["wall_seconds"], scenario.speed))
        loop = min(other["loop_seconds"] for other in by_hand)
        rows.append(least("  without Python's start", loop / ours["wall_seconds"], None))
        rows.append(most("memory, of the better hand-written form", ours["peak_bytes"] / better["peak_bytes"], 0.5))
    share = ours["frames_per_second"] / result["limit_fps"]
    rows.append(least(f"share of the limit, {result['limit_fps']:.1f} frames/s", share, scenario.limit_share))
    if isolated := ran.get("vidmill --isolate"):
        rows.append(most("time with --isolate", isolated["wall_seconds"] / ours["wall_seconds"], 1.03))
    if tuned := ran.get("vidmill tuned"):
        wanted = 1.7 if bf16_units() and scenario.every == 1 else None
        rows.append(least("speed of the tuned run, of the default", tuned["speed"], wanted))
        rows.append(least("its boxes that are the default's", tuned["boxes_matched"], 0.99))
    if before := ran.get("against"):
        rows.append(least("speed, of the vidmill compared with", 1 / before["speed"], 0.98))
        rows.append(("its records", "same bytes" if before["same_bytes"] else "other bytes", None, None))
    return rows


def least(what, value, goal):
    return what, value, goal and f"at least {goal}", None if goal is None else value >= goal


def most(what, value, goal):
    return what, value, f"at most {goal}", value <= goal


def bf16_units():
    flags = Path("/proc/cpuinfo").read_text()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def show(results, parts):
    rows = [(result["scenario"], *row) for result in results for row in result["goals"]]
    ratio = parts["preprocess"]["cv2"] / parts["preprocess"]["vidmill"]
    rows.append(("all", *least("speed of preprocessing, of cv2's", ratio, 2.0)))
    for scenario, what, value, goal, met in rows:
        value = f"{value:.3f}" if isinstance(value, float) else value
        print(f"{scenario:<16} {what:<42} {value:>11}  {goal or '':<14} {'' if met is None else 'reached' if met else 'MISSED'}")

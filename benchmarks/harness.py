"""How Kairos is compared: equal answers first, then both sides by turns, at least five times, median, least and most.

A ratio is the peer's cost over Kairos's, so more is better. Both sides see the same data on the same machine in the
same run; what else the machine does meets both alike, because they take turns.
"""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

__all__ = [
    "MIN_REPEATS",
    "Benchmark",
    "Result",
    "Side",
    "Spread",
    "UnequalAnswers",
    "compare",
    "describe",
    "machine",
    "per_call",
]

MIN_REPEATS = 5


class UnequalAnswers(AssertionError):
    """The two sides do not give the same answer, so their speeds cannot be compared."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of two that are compared.

    `answer()` is what it says about the common question; `cost()` measures once and gives the cost of one unit of
    work, less being better; `settings` is how it is set up.
    """

    name: str
    answer: Callable[[], Any]
    cost: Callable[[], float]
    settings: dict[str, Any] = field(default_factory=dict)


class Spread(msgspec.Struct, frozen=True):
    """Least and most of the repetitions."""

    min: float
    max: float


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison. `kairos` and `peer` are medians in `unit`; `ratio` is the median over the repetitions' ratios."""

    name: str
    ratio: float
    kairos: float
    peer: float
    unit: str
    repeats: int
    machine: dict[str, Any]
    settings: dict[str, Any]
    spread: dict[str, Spread]
    """Of `ratio`, `kairos` and `peer`."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A member: what is compared, and how. `run(quick)` is small where `quick`, for a test that looks at the shape."""

    about: str
    run: Callable[[bool], list[Result]]


def compare(
    name: str,
    kairos: Side,
    peer: Side,
    *,
    unit: str,
    equal: Callable[[Any, Any], bool],
    repeats: int = MIN_REPEATS,
    settings: dict[str, Any] | None = None,
) -> Result:
    """Ask both for their answer, then measure them by turns.

    Args:
        equal: whether two answers say the same.
        settings: what both share.

    Raises:
        UnequalAnswers: they do not; nothing was measured.
        ValueError: fewer than `MIN_REPEATS` repetitions.
    """
    if repeats < MIN_REPEATS:
        raise ValueError(f"{repeats} repetitions are too few: a median with its spread needs {MIN_REPEATS}")
    ours, theirs = kairos.answer(), peer.answer()
    if not equal(ours, theirs):
        raise UnequalAnswers(f"{name}: {kairos.name} says {_short(ours)}, {peer.name} says {_short(theirs)}")
    costs = _by_turns(kairos, peer, repeats)
    medians = {key: statistics.median(each) for key, each in costs.items()}
    both = {"kairos": {"is": kairos.name} | kairos.settings, "peer": {"is": peer.name} | peer.settings}
    return Result(
        name=name,
        **medians,
        unit=unit,
        repeats=repeats,
        machine=machine(),
        settings=(settings or {}) | both,
        spread={key: Spread(min(each), max(each)) for key, each in costs.items()},
    )


def _by_turns(kairos: Side, peer: Side, repeats: int) -> dict[str, list[float]]:
    """Costs of both sides and their ratio, one a repetition; neither side is always first."""
    costs: dict[str, list[float]] = {"kairos": [], "peer": []}
    for turn in range(repeats):
        sides = [("kairos", kairos), ("peer", peer)]
        for key, side in sides if turn % 2 == 0 else reversed(sides):
            gc.collect()
            costs[key].append(side.cost())
    return costs | {"ratio": [peer / ours for ours, peer in zip(costs["kairos"], costs["peer"], strict=True)]}


def per_call(work: Callable[[], object], *, seconds: float, scale: float = 1.0) -> Callable[[], float]:
    """A `Side.cost`: the mean time of a call, over as many as fit into `seconds` (one at least), times `scale`."""

    def cost() -> float:
        calls, started = 0, time.perf_counter()
        while True:
            work()
            calls += 1
            elapsed = time.perf_counter() - started
            if elapsed >= seconds:
                return elapsed / calls * scale

    return cost


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu": _cpu(),
        "python": platform.python_version(),
    }


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123  not a file of ours
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown"


def _short(answer: Any) -> str:
    text = repr(answer)
    return text if len(text) <= 200 else text[:199] + "…"


def describe(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Rows for people: name, ratio with its spread, both costs."""
    return [
        (
            each.name,
            f"{each.ratio:.2f}×",
            f"{each.spread['ratio'].min:.2f} to {each.spread['ratio'].max:.2f}",
            f"{each.kairos:.4g}",
            f"{each.peer:.4g}",
            each.unit,
        )
        for each in results
    ]

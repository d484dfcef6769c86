"""What `kairos models compare` prints: two versions of a problem side by side."""

from __future__ import annotations

from typing import Any

from cli import console
from cli.models_show import figure
from features.kernel.card import Card, Metric

__all__ = ["compare"]

_SPLITS = ("train", "validation", "test")


def compare(a: Card, b: Card, *, as_json: bool) -> None:
    """Print the two; figures of other test rows are beside each other, not against each other, and that is said."""
    if as_json:
        console.print_json(_as_json(a, b))
        return
    same = a.data_hash == b.data_hash
    console.out.print(
        "Both were judged on the same rows."
        if same
        else "They were judged on other rows each: a gap may be that of the rows, not of the models.",
        markup=False,
    )
    columns = ("", f">{a.version}", f">{b.version}")
    console.table(
        f"{a.problem} on its test split", columns, [(name, _of(one), _of(two)) for name, one, two in _metrics(a, b)]
    )
    console.table("How they were made", ("", a.version, b.version), _made(a, b))
    gates = _gates(a, b)
    rows = [(code, title, one, two) for code, title, one, two in gates]
    console.table("Gates", ("code", "gate", a.version, b.version), rows)
    mine, theirs = _features(a), _features(b)
    console.out.print(f"{len(mine & theirs)} features are in both.", markup=False)
    for version, only in ((a.version, mine - theirs), (b.version, theirs - mine)):
        if only:
            console.out.print(f"Only in {version}: {', '.join(sorted(only))}.", markup=False, soft_wrap=True)


def _as_json(a: Card, b: Card) -> dict[str, Any]:
    mine, theirs = _features(a), _features(b)
    return {
        "problem": a.problem,
        "versions": [a.version, b.version],
        "same_rows": a.data_hash == b.data_hash,
        "metrics": [{"name": name, "a": one, "b": two} for name, one, two in _metrics(a, b)],
        "made": [{"what": what, "a": one, "b": two} for what, one, two in _made(a, b)],
        "cutoffs": {"a": a.cutoffs, "b": b.cutoffs},
        "gates": [{"code": code, "title": title, "a": one, "b": two} for code, title, one, two in _gates(a, b)],
        "features": {"both": sorted(mine & theirs), "only_a": sorted(mine - theirs), "only_b": sorted(theirs - mine)},
    }


def _metrics(a: Card, b: Card) -> list[tuple[str, Metric | None, Metric | None]]:
    mine, theirs = ({each.name: each for each in card.metrics} for card in (a, b))
    return [(name, mine.get(name), theirs.get(name)) for name in dict.fromkeys([*mine, *theirs])]


def _made(a: Card, b: Card) -> list[tuple[str, str, str]]:
    told: list[tuple[str, str, str]] = [
        ("trained", f"{a.trained_at:%Y-%m-%d %H:%M}", f"{b.trained_at:%Y-%m-%d %H:%M}"),
        ("learner", a.learner, b.learner),
        ("rounds", str(a.rounds), str(b.rounds)),
        ("calibration", a.calibration.method, b.calibration.method),
        ("largest error over tenths", f"{a.calibration.largest_error:.3f}", f"{b.calibration.largest_error:.3f}"),
        ("horizon in days", str(a.horizon_days), str(b.horizon_days)),
    ]
    told += [(f"{name} rows", f"{a.rows[name]:,}", f"{b.rows[name]:,}") for name in _SPLITS]
    told += [(f"{name} cutoffs", _span(a, name), _span(b, name)) for name in _SPLITS]
    names = dict.fromkeys([*a.parameters, *b.parameters])
    told += [(name, _number(a.parameters.get(name, "")), _number(b.parameters.get(name, ""))) for name in names]
    return told


def _gates(a: Card, b: Card) -> list[tuple[str, str, str, str]]:
    mine, theirs = ({each.code: each for each in card.gates} for card in (a, b))
    found: list[tuple[str, str, str, str]] = []
    for code in sorted({*mine, *theirs}):
        one, two = mine.get(code), theirs.get(code)
        title = next(each.title for each in (one, two) if each is not None)
        found.append((code, title, one.outcome if one else "", two.outcome if two else ""))
    return found


def _features(card: Card) -> set[str]:
    return {each.ref for each in card.features}


def _span(card: Card, split: str) -> str:
    when = getattr(card.cutoffs, split)
    return f"{when[0]:%Y-%m-%d} to {when[-1]:%Y-%m-%d}" if when else ""


def _of(metric: Metric | None) -> str:
    return figure(metric) if metric else ""


def _number(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

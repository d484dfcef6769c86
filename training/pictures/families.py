"""Grouped importance: how far each family of inputs moves an answer, in the answer's own unit, members beside it."""

from __future__ import annotations

from typing import Any

from training.drawing import BASELINE, MODEL, figure
from training.explanation.importance import Strength
from training.picture import Picture, Shown

__all__ = ["picture"]

MOST = 15
_MEMBERS = 4


def _draw(shown: Shown) -> Any:
    importance = shown.explanation.importance
    groups = [each for each in sorted(importance.groups, key=lambda each: -each.worth) if each.worth > 0][:MOST]
    if not groups:
        return None
    alone = {each.name: each.worth for each in importance.inputs}
    scale = 1.0 if shown.card.kind == "regression" else 100.0
    drawn, axes = figure(9, 1.4 + 0.42 * len(groups))
    for place, each in enumerate(reversed(groups)):
        axes.barh(place, scale * each.worth, height=0.62, color=MODEL, label="together" if place == 0 else None)
        if len(each.members) > 1:
            parts = [scale * alone[name] for name in each.members]
            axes.plot(parts, [place] * len(parts), "|", color=BASELINE, markersize=9, markeredgewidth=1.6)
        axes.annotate(_members(each, alone), (scale * each.worth, place), xytext=(5, 0), textcoords="offset points",
                      va="center", fontsize=8, color="#555555")  # fmt: skip
    axes.set_yticks(range(len(groups)), [each.name for each in reversed(groups)])
    axes.set_xlim(0, 1.45 * scale * groups[0].worth)
    axes.spines[["top", "right"]].set_visible(False)
    unit = shown.card.unit if shown.card.kind == "regression" else "percentage points"
    axes.set(xlabel=f"mean move of the answer, in {unit} (orange: each member alone)", title="What drives the answer")
    return drawn


def _members(group: Strength, alone: dict[str, float]) -> str:
    names = [each.rpartition(":")[2] for each in group.members if alone[each] > 0]
    if len(group.members) == 1:
        return ""
    return ", ".join(names[:_MEMBERS]) + (f" and {len(names) - _MEMBERS} more" if len(names) > _MEMBERS else "")


picture = Picture(
    file="shap_groups.png",
    title="What drives the answer, by family",
    kinds=("binary", "candidates", "regression", "uplift"),
    draw=_draw,
)

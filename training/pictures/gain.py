"""What contacting the best tenths finds: lift of each tenth, and the share of all yeses found so far."""

from __future__ import annotations

from typing import Any

import numpy as np

from training.drawing import BASELINE, GUIDE, MODEL, percent, row
from training.picture import Picture, Shown

__all__ = ["picture"]


def _draw(shown: Shown) -> Any:
    rows = shown.evaluation.tables["deciles"]
    drawn, (left, right) = row(2, "Whom to contact first, on the test split")
    tenth = np.arange(1, len(rows) + 1)
    _bars(left, tenth, rows, "lift")
    left.axhline(1, color=GUIDE, linewidth=1, label="average")
    left.set(
        xlabel="tenth of people, highest score first",
        ylabel="times the average share of yes",
        title=f"The best tenth holds {rows[0]['lift']:.1f} times the average",
        xticks=tenth,
    )
    left.legend()
    share = np.arange(0, 11) / 10
    gain, low, high, simple = (
        np.concatenate(([0.0], [each[name] for each in rows]))
        for name in ("gain", "gain_low", "gain_high", "baseline_gain")
    )
    right.plot([0, 1], [0, 1], color=GUIDE, linewidth=1, label="at random")
    right.plot(share, simple, "--", color=BASELINE, label="baseline")
    right.fill_between(share, low, high, color=MODEL, alpha=0.2, linewidth=0)
    right.plot(share, gain, "o-", color=MODEL, markersize=4, label="model, 95 %")
    right.set(
        xlabel="share of people contacted",
        ylabel="share of all yeses found",
        title=f"Contacting 30 % finds {100 * gain[3]:.0f} % of them",
    )
    percent(right.xaxis, right.yaxis)
    right.legend(loc="lower right")
    return drawn


def _bars(axes: Any, tenth: Any, rows: Any, name: str) -> None:
    value, low, high, simple = (
        np.array([each[key] for each in rows]) for key in (name, f"{name}_low", f"{name}_high", f"baseline_{name}")
    )
    axes.bar(tenth, value, 0.75, color=MODEL, alpha=0.85, label="model, 95 %")
    axes.errorbar(tenth, value, np.stack([value - low, high - value]), fmt="none", ecolor="black", capsize=3)
    axes.plot(tenth, simple, "_", color=BASELINE, markersize=16, markeredgewidth=3, label="baseline")


picture = Picture(file="gain.png", title="Lift and gain", kinds=("binary", "candidates"), draw=_draw)

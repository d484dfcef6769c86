"""What targeting gains: the Qini curve beside the random line and the band where random rankings of the rows lie."""

from __future__ import annotations

from typing import Any

from training.drawing import GUIDE, MODEL, figure
from training.picture import Picture, Shown

__all__ = ["picture"]


def _draw(shown: Shown) -> Any:
    rows = shown.evaluation.tables["qini"]
    share, gained, chance, low, high = (
        [100 * each[name] for each in rows] for name in ("share", "gained", "at_random", "low", "high")
    )
    qini, gain = shown.evaluation.metric("qini_in_null_sds"), shown.evaluation.gain
    drawn, axes = figure()
    axes.fill_between(share, low, high, color=GUIDE, alpha=0.25, linewidth=0, label="95 % of random rankings")
    axes.plot(share, chance, "--", color=GUIDE, linewidth=1, label="at random")
    axes.plot(share, gained, "-", color=MODEL, linewidth=2, label="by predicted effect")
    axes.axhline(0, color=GUIDE, linewidth=0.5)
    verdict = "Targeting gains" if gain.low > 0 else "No proven gain from targeting"
    axes.set(
        xlabel="share of people treated, highest predicted effect first (%)",
        ylabel="additional yeses per 100 customers treated in the test",
        title=f"{verdict}: Qini {qini.value:.1f} standard deviations of random rankings",
        xlim=(0, 100),
    )
    axes.legend(loc="upper left")
    return drawn


picture = Picture(file="qini.png", title="What targeting gains", kinds=("uplift",), draw=_draw)

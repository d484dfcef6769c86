"""What `kairos models send`, `promote` and `rollback` say: what MLflow was told, and what it was not."""

from __future__ import annotations

from cli import console
from features.kernel.errors import InvalidInput
from features.kernel.settings import Settings
from training.registry import pending, promotion
from training.registry.promotion import Change

__all__ = ["changed", "send"]


def send(settings: Settings, *, as_json: bool) -> None:
    """Send everything that waits; what is damaged is named, and the others need not wait for it.

    Raises:
        Unavailable: MLflow cannot be used; the rest stays kept.
    """
    sent, faults = dict[str, str](), dict[str, str]()
    with console.step("Send to MLflow") as at:
        waiting = pending.kept(settings)
        for done, each in enumerate(waiting):
            name = f"{each.problem}/{each.version}" if each.version else each.problem
            at(done, len(waiting), name)
            try:
                made = pending.send(each, settings)
            except InvalidInput as damaged:
                faults[name] = str(damaged)
            else:
                sent |= {name: made.run_id} if made else {}
        at.note = f"{len(sent)} of {sum(bool(each.version) for each in waiting)} models"
    if as_json:
        console.print_json({"sent": sent, "faults": faults})
        return
    for name, run_id in sent.items():
        console.out.print(f"{name}: run {run_id}", markup=False)
    for name, fault in faults.items():
        console.err.print(f"{name}: {fault}", markup=False, soft_wrap=True)
    if not waiting:
        console.out.print("MLflow has everything.")


def changed(change: Change, settings: Settings, *, as_json: bool) -> None:
    """Tell MLflow of a change of champion, and say who is champion now."""
    unsent = promotion.tell(change.problem, settings)
    if as_json:
        console.print_json({"change": change, "unsent": unsent})
        return
    before = f", before it {change.before}" if change.before else ""
    console.out.print(f"{change.problem}: {change.version} is champion{before}.", markup=False)
    if unsent:
        console.err.print(f"[yellow]MLflow was not told:[/] {unsent}", soft_wrap=True)

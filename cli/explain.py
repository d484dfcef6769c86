"""`kairos explain`: what drives a served model, over everyone, and the SHAP values of each row as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import console
from cli.console import JsonOption
from cli.explain_rows import customers, explain_rows, training_rows
from features.kernel import clock
from features.kernel.errors import InvalidInput
from features.kernel.settings import Settings
from serving.bundles import load_bundle
from serving.watch import champion_folder
from training.explanation.importance import Importance, Strength

__all__ = ["run"]

_SHOWN = 15


def run(
    problem: Annotated[str, typer.Argument(help="Whose served model, for example churn.")],
    rows: Annotated[int | None, typer.Option(min=1, help="At most so many, drawn at random; all if not given.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write score and SHAP values of every row to this .parquet.")] = None,
    training: Annotated[bool, typer.Option("--training", help="Explain the training rows the model keeps.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what drives a served model: mean moves of its answer by family of inputs, over all customers.

    Customers are those of the newest run of kairos features; of a model trained on a table, its training rows. A row of
    the file holds customer_id, value (the answer), raw (the raw score), base, and one column an input: base plus the
    inputs' values is raw. WOODELF computes where the model has no splits by category, else LightGBM.

    Example:

        kairos explain churn
        kairos explain churn --out shap.parquet --json
        kairos explain churn --training --rows 1000
    """
    settings = Settings.from_env()
    _require_parquet(out)
    folder = champion_folder(settings.models, problem)
    bundle = load_bundle(folder)
    training = training or bundle.card.source == "request"
    with console.step(f"SHAP values of {problem}") as at:
        if training:
            total, blocks = training_rows(folder, rows)
        else:
            total, blocks = customers(settings, bundle, clock.now(), rows)
        found = explain_rows(folder, blocks, out, lambda done: at(done, total))
        at.note = f"{found.importance.rows:,} rows by {found.path}" + (f", as {found.why}" if found.why else "")
    if as_json:
        head = {"problem": problem, "version": bundle.card.version, "rows_of": "training" if training else "customers"}
        how = {"path": found.path, "why": found.why, "base": found.expected, "out": out}
        console.print_json(head | how | {"importance": found.importance})
        return
    _show(problem, found.importance, bundle.card.kind)
    if out is not None:
        console.out.print(f"Rows: {out}", markup=False, soft_wrap=True)


def _require_parquet(out: Path | None) -> None:
    if out is not None and (out.suffix != ".parquet" or not out.absolute().parent.is_dir()):
        raise InvalidInput(
            "must be a .parquet file in a folder that exists",
            field="--out",
            value=str(out),
            remedy="for example --out shap.parquet",
        )


def _show(problem: str, importance: Importance, kind: str) -> None:
    scale, unit = (1.0, importance.unit) if kind == "regression" else (100.0, "points")
    strongest = sorted(importance.groups, key=lambda each: -each.worth)[:_SHOWN]
    title = f"{problem}: what moves the answer, over {importance.rows:,} rows"
    lines = [
        (each.name, f"{scale * each.worth:,.2f}", f"{each.shap:.4f}", _members(each)) for each in strongest if each.shap
    ]
    console.table(title, ["input or family", f">mean move, {unit}", f">{importance.raw_unit}", "members"], lines)


def _members(group: Strength) -> str:
    return ", ".join(each.rpartition(":")[2] for each in group.members) if len(group.members) > 1 else ""

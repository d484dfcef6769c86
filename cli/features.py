"""`kairos features`: define, compute, check, materialise and look up what is known about customers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer

from cli import console, features_diff, features_show
from cli.console import JsonOption
from cli.features_show import plain
from features import history, quality
from features.compare import rows_of_run, run_at
from features.compute import all_views
from features.frames import spine_of
from features.freshness import newest_in, newest_recorded
from features.kernel import clock, cursors, tables
from features.kernel.discover import pick
from features.kernel.errors import Unavailable
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from features.quality import Finding, Report
from features.store import FeatureStore
from features.view import FeatureView

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Define, compute, check, look up and materialise features.")

AsOf = Annotated[str, typer.Option(help="The instant, ISO 8601 with a time zone; by default now.")]
RunAt = Annotated[str, typer.Option(help="Check the newest run that is not after this instant.")]
OneView = Annotated[str, typer.Option(help="Only this view.")]
Allow = Annotated[bool, typer.Option("--allow-breaches", help="Write the run even so; the ledger records that.")]


@app.command("apply")
def apply_() -> None:
    """Register entity, views and sources with Feast, as `feast -c features apply` does.

    Example:

        kairos features apply
    """
    with console.step("Feature definitions") as at:
        FeatureStore(Settings.from_env()).apply()
        at.note = f"{sum(len(each.features) for each in all_views().values())} features in {len(all_views())} views"


@app.command("list")
def list_(view: OneView = "", as_json: JsonOption = False) -> None:
    """List every feature with its unit, what is expected of it, and how it reads as a reason.

    Example:

        kairos features list
        kairos features list --view orders --json
    """
    found = [(each, feature) for each in _chosen(view).values() for feature in each.features]
    if as_json:
        console.print_json(
            [
                {
                    "ref": f"{each.name}:{feature.name}",
                    "entity": each.entity,
                    "ttl_days": each.ttl.total_seconds() / 86_400,
                    "dtype": feature.dtype,
                    "length": feature.length,
                    "unit": feature.unit,
                    "phrase": feature.phrase,
                    "expected": quality.expected(feature),
                }
                for each, feature in found
            ]
        )
        return
    rows = [
        (
            f"{each.name}:{feature.name}",
            feature.dtype + ("" if feature.length is None else f" × {feature.length}"),
            feature.unit,
            quality.described(feature),
            feature.phrase,
        )
        for each, feature in found
    ]
    console.table(f"{len(rows)} features", ("feature", "type", "unit", "expected", "as a reason"), _plain(rows))


@app.command()
def build(as_of: AsOf = "", allow_breaches: Allow = False, as_json: JsonOption = False) -> None:
    """Compute every view for everyone known at an instant, check it, and write it to the offline store.

    A run that breaches what is expected of a view is not written: the store stays as it was.

    Example:

        kairos features build --as-of 2026-11-01T00:00:00Z
    """
    settings, instant = Settings.from_env(), _instant(as_of)
    with Ledger.of(settings) as ledger:
        written, breaches = _build(settings, ledger, instant, "build" if allow_breaches else "", as_json=as_json)
    _report("Rows written", written, breaches, as_json)


@app.command()
def materialize(as_of: AsOf = "", allow_breaches: Allow = False, as_json: JsonOption = False) -> None:
    """Compute everyone's features at an instant, check them, and load them into Redis (KAIROS_REDIS_URL).

    A run that breaches what is expected of a view is not loaded: offline store and Redis stay as they were.

    Example:

        KAIROS_REDIS_URL=redis://127.0.0.1:6379/0 kairos features materialize
    """
    settings, instant = Settings.from_env(), _instant(as_of)
    if not settings.redis_url:
        raise Unavailable(
            "there is no Redis to load features into",
            field="KAIROS_REDIS_URL",
            remedy="set it, or run kairos up, which starts its own and materialises into it",
        )
    store = FeatureStore(settings)
    with Ledger.of(settings) as ledger:
        mark = ledger.mark(tables.events)
        forced = "materialize" if allow_breaches else ""
        _, breaches = _build(settings, ledger, instant, forced, as_json=as_json)
        with console.step("Materialise into Redis") as at:
            store.apply()
            loaded = store.materialize(instant, at)
            store.close()
        if not as_of:  # what follows the ledger need not compute everyone again
            cursors.move(ledger, cursors.Cursor(mark, instant))
    _report("Customers loaded", loaded, breaches, as_json)


@app.command()
def check(as_of: RunAt = "", view: OneView = "", as_json: JsonOption = False) -> None:
    """Check a stored run against what is expected of its views; exit code 1 when it is not kept.

    Looks at range, missing values, cardinality and freshness. docs/features.md says where expectations come from.

    Example:

        kairos features check
        kairos features check --as-of 2026-11-01T00:00:00Z --view orders --json
    """
    settings, chosen = Settings.from_env(), _chosen(view)
    run = run_at(settings.offline, chosen, _instant(as_of))
    frames = {name: rows_of_run(settings.offline, each, run) for name, each in chosen.items()}
    with console.step(f"Check the run of {run:%Y-%m-%d %H:%M:%S} UTC") as at:
        with Ledger.of(settings) as ledger:
            newest = newest_recorded(ledger, run)
        report = quality.inspect(frames, chosen, run, newest)
        at.note = f"{len(report.findings)} expectations, {len(report.breaches)} breached"
    if as_json:
        console.print_json({"as_of": run, "expectations": report.findings, "breached": len(report.breaches)})
    else:
        _findings(f"Expectations of the run of {run:%Y-%m-%d %H:%M} UTC", report.findings)
    if report.breaches:
        raise typer.Exit(1)


app.command("show")(features_show.show)
app.command("diff")(features_diff.diff)


def _instant(text: str) -> datetime:
    return clock.parse_instant(text, field="--as-of") if text else clock.now()


def _chosen(view: str) -> dict[str, FeatureView]:
    return {view: pick(all_views(), view, field="view")} if view else dict(all_views())


def _build(
    settings: Settings, ledger: Ledger, instant: datetime, forced: str, *, as_json: bool
) -> tuple[dict[str, int], Sequence[Finding]]:
    """Rows written by view, and what was breached; `forced` names the verb that may write a run in spite of it."""
    reports: list[Report] = []

    def gate(report: Report) -> None:
        reports.append(report)
        if not forced:
            quality.require(report)
        elif report.breaches:
            # No examples: the audit trail holds nobody's id.
            detail = [(each.where, each.expectation, each.found, each.rows, each.of) for each in report.breaches]
            ledger.record(f"kairos features {forced}", "breaches allowed", {"as_of": instant, "breaches": detail})

    try:
        with console.step("Features") as at:
            events = history.refreshed(settings, ledger)
            spine = spine_of(events["customer_id"].unique().sort(), instant)
            written = FeatureStore(settings).backfill(events, spine, newest_in(events, instant), gate)
            at.note = f"{max(written.values()):,} customers"
    finally:
        breaches = reports[0].breaches if reports else ()
        if breaches and not forced and as_json:
            console.print_json({"rows": None, "breaches": breaches})
        elif breaches and not as_json:
            _findings("Not as expected", breaches)
    return written, breaches


def _report(title: str, counts: dict[str, int], breaches: Sequence[Finding], as_json: bool) -> None:
    if as_json:
        console.print_json({"rows": counts, "breaches": breaches})
    else:
        console.table(title, ("view", ">rows"), [(name, f"{rows:,}") for name, rows in counts.items()])


def _findings(title: str, findings: Sequence[Finding]) -> None:
    rows = [
        (each.where, each.expectation, each.found, f"{each.rows:,} of {each.of:,}" if each.breached else "")
        for each in findings
    ]
    console.table(title, ("feature", "expected", "found", ">rows at fault"), _plain(rows))
    for each in findings:
        if each.examples:
            console.out.print(
                f"{each.where}: rows of {', '.join(map(repr, each.examples))}", markup=False, soft_wrap=True
            )


def _plain(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[plain(each) for each in row] for row in rows]

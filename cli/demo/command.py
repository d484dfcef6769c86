"""`kairos demo`: which world, and where it is kept."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from cli import console
from cli.console import JsonOption
from cli.demo.loop import Plan, run_loop
from cli.demo.snapshot import run_snapshot
from cli.demo.world import World, market_world, transactions_world
from features.kernel.errors import InvalidInput
from features.kernel.settings import Settings
from features.recipe import Imported, load_recipe, read

__all__ = ["fresh_home", "run"]

_MARK = ".kairos-demo"
_HELD_BACK = timedelta(days=7)


def run(
    data: Annotated[Path | None, typer.Option(help="A real table instead of the simulated market.")] = None,
    recipe: Annotated[str, typer.Option(help="How to read it: a recipe's name or a YAML file.")] = "",
    people: Annotated[int, typer.Option(min=200, help="Size of the simulated market.")] = 3000,
    audience: Annotated[int, typer.Option(min=50, help="Customers asked for the next best action.")] = 2000,
    trials: Annotated[int, typer.Option(min=0, help="Tuning trials a problem.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the simulated market.")] = 7,
    as_json: JsonOption = False,
) -> None:
    """Run the whole loop once: events, features, models, service, decisions, outcomes, verdict, drift.

    Everything is kept in the folder demo (or demo-RECIPE) of KAIROS_HOME, which is made anew each time.

    Example:

        kairos demo
        kairos demo --data onlineretail.parquet --recipe online_retail
        kairos demo --data bank-full.csv --recipe bank_marketing
    """
    if (data is None) != (not recipe):
        raise InvalidInput(
            "go together", field="--data and --recipe", remedy="give both, or neither for the simulated market"
        )
    settings = Settings.from_env()
    if data is None:
        settings = fresh_home(settings, "demo")
        with console.step("Simulate the market") as at:
            world = market_world(seed=seed, people=people, audience=audience)
            at.note = f"{len(world.events):,} events"
    else:
        imported = _read(data, recipe)
        if not as_json:
            _say_fates(imported)
        settings = fresh_home(settings, f"demo-{imported.recipe}")
        if imported.kind == "snapshot":
            run_snapshot(imported, settings, trials=trials, as_json=as_json)
            return
        world = _real_world(imported, audience)
    run_loop(world, settings, Plan(trials=trials), as_json=as_json)


def _read(data: Path, recipe: str) -> Imported:
    with console.step(f"Read {data.name} by the recipe {recipe}") as at:
        imported = read(load_recipe(recipe), data)
        at.note = f"{imported.rows_read:,} rows"
    return imported


def _fates(imported: Imported) -> dict[str, int]:
    used = {f"used: {what}": rows for what, rows in imported.used.items()}
    return used | {f"refused: {reason}": rows for reason, rows in imported.named_counts.items()}


def _say_fates(imported: Imported) -> None:
    rows = [(fate, f"{rows:,}") for fate, rows in _fates(imported).items()]
    console.table("What became of every row", ["fate", ">rows"], [*rows, ("read", f"{imported.rows_read:,}")])


def _real_world(imported: Imported, audience: int) -> World:
    title = f"{imported.recipe}, {imported.events['customer_id'].n_unique():,} customers"
    world = transactions_world(title, imported.events, audience=audience, held_back=_HELD_BACK)
    return replace(world, fates=_fates(imported))


def fresh_home(settings: Settings, name: str) -> Settings:
    """An empty folder of the demo's own; only a folder that a demo made is ever emptied."""
    home = settings.home / name
    if home.exists():
        if not (home / _MARK).exists():
            raise InvalidInput("was not made by a demo", field=str(home), remedy="move it away or set KAIROS_HOME")
        shutil.rmtree(home)
    home.mkdir(parents=True)
    (home / _MARK).touch()
    # All else at its default: a demo must reach no ledger, no registry and no key of a real deployment.
    return Settings(
        home=home,
        redis_url=settings.redis_url,
        ledger_url=f"sqlite:///{home.resolve() / 'ledger.sqlite'}",
        mlflow_uri=f"sqlite:///{home.resolve() / 'mlflow.sqlite'}",
    )

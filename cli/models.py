"""`kairos models`: which models there are, how far to trust each, who is champion, and who said so."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import console, models_compare, models_list, models_send, models_show
from cli.console import JsonOption
from features.kernel.settings import Settings
from training.registry import bundle, pending, promotion

__all__ = ["app"]

app = typer.Typer()

Problem = Annotated[str, typer.Argument(help="The problem.")]
Version = Annotated[str, typer.Argument(help="A version as the list shows it, or 'champion', or 'challenger'.")]
Why = Annotated[str, typer.Option(help="Why, in words: it stands on the record.")]
Who = Annotated[str, typer.Option(help="Who; KAIROS_USER if not given, else user@host.")]


@app.callback(invoke_without_command=True)
def _models(context: typer.Context) -> None:
    """List the models, or look at one, compare two, choose the champion, send MLflow what it has not been told.

    Example:

        kairos models
        kairos models show churn
        kairos models compare churn champion challenger
        kairos models rollback churn --why "complaints since Monday"
    """
    if context.invoked_subcommand is None:
        list_()


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List every published model, oldest first, and which of them serve.

    The headline of each says how far to trust it, its weakness first. What cannot be read is named and passed over.

    Example:

        kairos models list
        kairos models list --json
    """
    settings = Settings.from_env()
    found = bundle.listing(settings.models)
    waiting = pending.kept(settings)
    if as_json:
        models_list.print_list(found, waiting)
    else:
        models_list.show_list(found, waiting, settings)


@app.command()
def show(
    problem: Problem,
    version: Annotated[str, typer.Option(help="One version; the champion if not given.")] = "champion",
    as_json: JsonOption = False,
) -> None:
    """Show a model's card: what it was asked, how it was judged, what it reads, what it was refused.

    Example:

        kairos models show churn
        kairos models show churn --version 20260601-1a2b3c4d --json
    """
    card = models_show.card(Settings.from_env().models, problem, version)
    if as_json:
        console.print_json(card)
    else:
        models_show.show(card)


@app.command()
def compare(problem: Problem, a: Version, b: Version, as_json: JsonOption = False) -> None:
    """Show two versions side by side: figures with intervals, features, cutoffs, parameters, gates.

    Example:

        kairos models compare churn champion challenger
        kairos models compare churn 20260601-1a2b3c4d 20260701-5e6f7a8b --json
    """
    models = Settings.from_env().models
    models_compare.compare(models_show.card(models, problem, a), models_show.card(models, problem, b), as_json=as_json)


@app.command()
def promote(problem: Problem, version: Version, why: Why, who: Who = "", as_json: JsonOption = False) -> None:
    """Make a version the champion, if its gates let it; who, when and why go on the record.

    There is no way round a gate. Exit code 1 if one refuses.

    Example:

        kairos models promote churn challenger --why "two weeks of shadow scores agree"
    """
    settings = Settings.from_env()
    chosen = models_show.card(settings.models, problem, version).version
    models_send.changed(promotion.promote(problem, chosen, why, settings, who), settings, as_json=as_json)


@app.command()
def rollback(
    problem: Problem,
    why: Why,
    to: Annotated[str, typer.Option(help="A former champion; the last one if not given.")] = "",
    who: Who = "",
    as_json: JsonOption = False,
) -> None:
    """Make a former champion the champion again; who, when and why go on the record.

    Example:

        kairos models rollback churn --why "complaints since Monday"
        kairos models rollback churn --to 20260501-1a2b3c4d --why "the last one judged on a whole year"
    """
    settings = Settings.from_env()
    models_send.changed(promotion.rollback(problem, why, settings, to=to, who=who), settings, as_json=as_json)


@app.command()
def log(
    problem: Annotated[str, typer.Argument(help="The problem; all of them if not given.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List every promotion, refusal and rollback on the record, oldest first.

    Example:

        kairos models log churn
    """
    found = promotion.changes(Settings.from_env(), problem)
    if as_json:
        console.print_json(found)
    else:
        models_list.show_log(found)


@app.command()
def send(as_json: JsonOption = False) -> None:
    """Send MLflow what was kept while it could not be used; sending twice sends once.

    Exit code 1 if MLflow still cannot be used: what was sent is sent, the rest is kept.

    Example:

        kairos models send
    """
    models_send.send(Settings.from_env(), as_json=as_json)

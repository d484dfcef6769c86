"""`kairos forget`: remove a person from everything Kairos keeps, and name the models that learnt from them."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from cli import console
from cli.console import JsonOption
from decisioning.learner import learn
from decisioning.point import all_points
from features import erasure
from features.erasure import Found
from features.kernel.clock import now
from features.kernel.erasure import unfinished
from features.kernel.errors import InvalidInput, NotFound
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from training.registry import bundle
from training.registry.bundle import Membership

__all__ = ["run"]

_REMEDY = "Train these anew: `kairos train` leaves out whom the ledger does not know."
_ROWS = ("events", "quarantine", "scores", "decisions", "outcomes")


def run(
    customer: Annotated[str, typer.Argument(help="The customer's id.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what there is, and change nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Forget a person: events, scores, features, offline and online; decisions stay without them. It cannot be undone.

    Name Redis by KAIROS_REDIS_URL. Whatever interrupts it, running the same command again completes it. Models are not
    changed: those that learnt from the person are listed, and the remedy is to train them anew. docs/privacy.md says
    what is kept and why.

    Example:

        kairos forget c00042 --dry-run
        kairos forget c00042
        kairos forget c00042 --yes --json

    Raises:
        NotFound: nothing is known of this customer.
        Unavailable: a part cannot be reached now.
    """
    if as_json and not (yes or dry_run):
        raise InvalidInput("prints no question", field="--json", remedy="add --yes, or --dry-run")
    settings = Settings.from_env()
    with Ledger.of(settings) as ledger:
        found, models = _look(settings, ledger, customer)
        if not as_json:
            _show_found(customer, found)
        if not dry_run:
            if not yes:
                typer.confirm(f"Forget {customer} for good?", abort=True)
            _forget(settings, ledger, customer)
    mentions = erasure.mentions(settings.home, customer)
    if as_json:
        console.print_json(_report(customer, found, models, mentions, forgotten=not dry_run))
    else:
        _show_rest(settings, models, mentions, forgotten=not dry_run)


def _look(settings: Settings, ledger: Ledger, customer: str) -> tuple[Found, list[Membership]]:
    with console.step("Look for them everywhere"):
        found = erasure.look(settings, ledger, customer)
        models = bundle.memberships(settings.models, customer)
    if not found and not any(each.trained_on for each in models) and not unfinished(ledger):
        raise NotFound("is not known: nothing was changed", field="customer", value=customer)
    return found, models


def _forget(settings: Settings, ledger: Ledger, customer: str) -> None:
    with console.step("Learn from what has closed"):  # the last states that saw them whole
        for point in all_points().values():
            learn(ledger, point, now())
    with console.step("Forget") as at:
        erasure.forget(settings, ledger, customer, lambda what: at(0, note=what))
        bundle.forget(settings.models, customer)
        at.note = "done"


def _report(
    customer: str, found: Found, models: list[Membership], mentions: list[str], *, forgotten: bool
) -> dict[str, Any]:
    return {
        "customer_id": customer,
        "forgotten": forgotten,
        "ledger": {name: getattr(found.ledger, name) for name in _ROWS},
        "accounts": found.ledger.accounts,
        "files": found.files,
        "online": found.online,
        "models": [
            {name: value for name, value in each._asdict().items() if name != "trained_on"}
            | {"trained_on": "unknown" if each.trained_on is None else each.trained_on}
            for each in models
        ],
        "mentions": mentions,
    }


def _show_found(customer: str, found: Found) -> None:
    rows = [(f"ledger: {name}", f"{getattr(found.ledger, name):,}") for name in _ROWS]
    rows += [("files", f"{sum(found.files.values()):,} in {len(found.files)}")]
    rows += [("online", "KAIROS_REDIS_URL is not set" if found.online is None else f"{found.online:,}")]
    console.table(f"What there is of {escape(customer)}", ("where", ">rows"), rows)
    if found.ledger.accounts:
        console.out.print(f"Accounts nobody else belongs to: {', '.join(found.ledger.accounts)}.", markup=False)


def _show_rest(settings: Settings, models: list[Membership], mentions: list[str], *, forgotten: bool) -> None:
    concerned = [each for each in models if each.trained_on is not False]
    if concerned:
        rows = [
            (
                each.problem,
                each.version,
                f"{each.trained_at:%Y-%m-%d %H:%M}" if each.trained_at else "",
                "champion" if each.champion else "",
                "unknown" if each.trained_on is None else "yes",
            )
            for each in concerned
        ]
        console.table("Models that learnt from them", ("problem", "version", "trained", "", "trained on them"), rows)
        console.out.print(_REMEDY, markup=False)
    elif models:
        console.out.print("No model was trained on them.")
    for each in mentions:
        console.out.print(f"Their id also stands in {settings.home / each}: remove it by hand.", markup=False)
    console.out.print("They are forgotten." if forgotten else "Dry run: nothing was changed.")

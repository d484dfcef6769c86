"""The same model once more, from its record: the rows are built again, the trees fitted again, the hashes compared.

`origin.json` says how to build the rows: from the events of the ledger up to a sequence at recorded cutoffs, or from a
file whose SHA-256 is recorded. Where the hashes differ, the reasons say what else does: people forgotten since, a
changed feature, another library.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
from sqlalchemy import func, select

from features.kernel import tables
from features.kernel.card import Card, load_card
from features.kernel.clock import to_micros
from features.kernel.errors import InvalidInput
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from training import pipeline
from training.fitted import Fitted, Progress
from training.origin import Origin
from training.plan import Plan
from training.registry import bundle, track
from training.registry.environment import Environment, environment
from training.registry.rebuild import rows_again

__all__ = ["Reproduced", "reproduce"]

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Reproduced:
    """What doing it again came to."""

    problem: str
    version: str
    data_hash: tuple[str, str]
    """As recorded, and as it is now."""
    model_sha256: tuple[str, str]
    """As recorded, and as it is now."""
    reasons: tuple[str, ...]
    """What differs, a sentence each; empty where both hashes are the same."""

    @property
    def same(self) -> bool:
        """Whether rows and model are the same, bit by bit."""
        return self.data_hash[0] == self.data_hash[1] and self.model_sha256[0] == self.model_sha256[1]


def reproduce(run_id: str, settings: Settings, progress: Progress = lambda what, share: None) -> Reproduced:
    """Build a run's training set again, fit its model again, and compare; nothing is registered.

    Args:
        run_id: an MLflow run, or a version of this home: `20260601-1a2b3c4d`.

    Raises:
        NotFound: there is no such run, or its table is no longer there.
        InvalidInput: it does not say where its rows came from, or its table is another one now.
        NotEnoughData: what is left of the rows cannot be learnt from.
        Unavailable: MLflow or the ledger cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="kairos-") as scratch:
        made = _recorded(run_id, Path(scratch), settings)
    progress("rows", 0.0)
    card = made.card
    data = rows_again(made.origin, settings)
    plan = Plan(fixed=card.parameters, rounds=card.rounds) if card.parameters else Plan(trials=0)
    found = pipeline.fit(data, plan=plan, progress=lambda what, share: progress(what, 0.2 + 0.8 * share))
    hashes = (card.data_hash, found.card.data_hash), (card.model_sha256, found.model.sha256)
    reasons = () if all(before == now for before, now in hashes) else _reasons(made, found, settings)
    progress("done", 1.0)
    return Reproduced(card.problem, card.version, *hashes, reasons)


@dataclass(frozen=True, slots=True)
class _Made:
    card: Card
    origin: Origin
    environment: Environment | None


def _recorded(run_id: str, scratch: Path, settings: Settings) -> _Made:
    """What is on record of a run: in its bundle, if this home published it, else in MLflow."""
    mine = [card for card, _ in bundle.cards(settings.models) if run_id in (card.version, card.run_id)]
    folder = settings.models / mine[0].problem / mine[0].version if mine else scratch
    if not mine:
        track.fetch(run_id, ("card.json", *bundle.MADE_FROM), scratch, settings)
    origin = _read(folder / "origin.json", Origin)
    if origin is None:
        raise InvalidInput(
            "does not say where its rows came from", field="run", value=run_id, remedy="it was trained by hand"
        )
    return _Made(load_card(folder / "card.json"), origin, _read(folder / "environment.json", Environment))


def _reasons(made: _Made, found: Fitted, settings: Settings) -> tuple[str, ...]:
    said = []
    if made.card.data_hash != found.card.data_hash:
        said.append("the rows are others")
        said += _of_events(made, settings) if made.origin.kind == "events" else []
        said += _of_columns(made.card, found.card)
    else:
        said.append("the rows are the same, the model fitted to them is another")
    said += made.environment.differences(environment()) if made.environment else []
    if len(said) == 1:
        said.append("nothing else on record differs: a view, a problem or a kind may have been changed by hand")
    return tuple(said)


def _of_events(made: _Made, settings: Settings) -> list[str]:
    said, events, stones = [], tables.events, tables.tombstones
    trained = to_micros(made.card.trained_at)
    with Ledger.of(settings) as ledger, ledger.engine.connect() as connection:
        left = connection.execute(select(func.count()).where(events.c.seq <= made.origin.seq)).scalar() or 0
        since = select(func.count()).select_from(stones).where(stones.c.forgotten_at >= trained)
        forgotten = connection.execute(since).scalar() or 0
    read_then = int(made.origin.options.get("events", left))
    if left != read_then:
        said.append(f"of the {read_then:,} events that were read, {left:,} are there")
    if forgotten:
        said.append(f"{forgotten:,} {'person was' if forgotten == 1 else 'people were'} forgotten since")
    return said


def _of_columns(before: Card, now: Card) -> list[str]:
    then, there = ({each.ref for each in card.features} for card in (before, now))
    said = [f"{each} is no input any more" for each in sorted(then - there)]
    said += [f"{each} is an input now" for each in sorted(there - then)]
    rows = [
        f"{name} {before.rows[name]:,} → {now.rows[name]:,}"
        for name in before.rows
        if before.rows[name] != now.rows[name]
    ]
    return said + ([f"rows: {', '.join(rows)}"] if rows else [])


def _read(path: Path, kind: type[T]) -> T | None:
    return msgspec.json.decode(path.read_bytes(), type=kind) if path.exists() else None

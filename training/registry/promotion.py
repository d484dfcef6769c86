"""Who is champion, and who said so, when and why: every change through the gates, and on the ledger's record.

The pointer on disk decides what is served; MLflow's aliases follow it. A line of the record and the pointer change
together: where the ledger cannot be written, nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec
from sqlalchemy import insert, select
from sqlalchemy.exc import SQLAlchemyError

from features.kernel import champion as champions
from features.kernel import tables
from features.kernel.card import Card
from features.kernel.champion import read_champion
from features.kernel.clock import from_micros, now, to_micros
from features.kernel.errors import GateRefused, InvalidInput, NotFound, Unavailable
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from training.registry import bundle, pending

__all__ = ["Change", "allow", "changes", "judge", "promote", "rollback", "tell"]

_PROMOTED, _ROLLED_BACK, _REFUSED = "a model was promoted", "a model was rolled back", "a model was not promoted"
_JSON = msgspec.json.Encoder(order="sorted")


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the record."""

    at: datetime
    who: str
    what: str
    problem: str
    version: str
    """Who is champion from now on; of a refused model, that model."""
    before: str
    """Who was champion until then; empty where nobody was."""
    why: str


def judge(card: Card, settings: Settings) -> bool:
    """After training: promote the version if no gate refuses it; either is put on the record.

    Hold `bundle.alone`.

    Raises:
        Unavailable: the ledger cannot be written; the champion stays who it was.
    """
    refused = [f"gate {each.code} '{each.title}' failed: {each.figure}" for each in card.gates if each.refuses]
    if refused:
        _change(_REFUSED, card, "; ".join(refused), settings, settings.who, lambda: None)
        return False
    _change(_PROMOTED, card, "trained, and no gate refused", settings, settings.who, _pointing(card, settings))
    return True


def promote(problem: str, version: str, why: str, settings: Settings, who: str = "") -> Change:
    """Make a version the champion, if the gates recorded in its card let it.

    Raises:
        GateRefused: a gate refused it; names the gate and its figure.
        InvalidInput: it is the champion already, or no reason is given.
        NotFound: there is no such version.
        Unavailable: the ledger cannot be written; nothing was changed.
    """
    with bundle.alone(settings.models, _known(problem, settings)):
        card = bundle.card(settings.models, problem, version)
        allow(card)
        if _served(problem, settings) == version:
            raise InvalidInput("is the champion already", field=f"version of {problem}", value=version)
        return _change(_PROMOTED, card, _reason(why), settings, who or settings.who, _pointing(card, settings))


def rollback(problem: str, why: str, settings: Settings, *, to: str = "", who: str = "") -> Change:
    """Make a former champion the champion again: the last one, or the one named. Who came after it is no former one.

    Raises:
        InvalidInput: it was never champion, or no reason is given.
        NotFound: there is no former champion, or its bundle is gone.
        Unavailable: the ledger cannot be written; nothing was changed.
    """
    with bundle.alone(settings.models, _known(problem, settings)):
        pointer = read_champion(settings.models / problem)
        if pointer is None or not pointer.former:
            raise NotFound("has no former champion", field="problem", value=problem)
        version = to or pointer.former[-1]
        if version not in pointer.former:
            shown = ", ".join(reversed(pointer.former))
            raise InvalidInput(
                "is no former champion", field=f"version of {problem}", value=version, remedy=f"choose one of: {shown}"
            )
        card = bundle.card(settings.models, problem, version)

        def act() -> None:
            champions.restore(settings.models / problem, version)

        return _change(_ROLLED_BACK, card, _reason(why), settings, who or settings.who, act)


def allow(card: Card) -> None:
    """Let a card pass whom its gates let pass.

    Raises:
        GateRefused: one of them refused; the message names the gate and its figure.
    """
    for each in card.gates:
        if each.refuses:
            raise GateRefused(
                f"gate {each.code} '{each.title}' failed: {each.figure}",
                field=f"{card.problem} {card.version}",
                remedy="mend what it names and train again; there is no way round a gate",
            )


def tell(problem: str, settings: Settings) -> str:
    """Let MLflow's aliases follow; returns why they could not, and what makes them do so later, or an empty text.

    MLflow is slow to import and may be away: call it when everything else is done.
    """
    try:
        pending.send(pending.of_aliases(problem, settings), settings)
    except Unavailable as error:
        return f"{error}; `kairos models send` tells it later"
    return ""


def changes(settings: Settings, problem: str = "") -> list[Change]:
    """Every change of a champion on the record, oldest first; of one problem, or of all.

    Raises:
        Unavailable: the ledger cannot be read.
    """
    audit = tables.audit
    query = select(audit.c.at, audit.c.who, audit.c.what, audit.c.detail).where(
        audit.c.what.in_((_PROMOTED, _ROLLED_BACK, _REFUSED))
    )
    try:
        with Ledger.of(settings) as ledger, ledger.engine.connect() as connection:
            rows = connection.execute(query.order_by(audit.c.seq)).all()
    except SQLAlchemyError as error:
        raise Unavailable(f"the ledger cannot be read: {error}") from error
    found = [
        Change(at=from_micros(at), who=who, what=what, **msgspec.json.decode(detail)) for at, who, what, detail in rows
    ]
    return [each for each in found if problem in ("", each.problem)]


def _change(what: str, card: Card, why: str, settings: Settings, who: str, act: Callable[[], None]) -> Change:
    """Put it on the record and do it, both or neither; MLflow is to be told of it."""
    at, before = now(), _served(card.problem, settings)
    detail = {"problem": card.problem, "version": card.version, "before": before, "why": why}
    line = {"at": to_micros(at), "who": who, "what": what, "detail": _JSON.encode(detail).decode()}
    with Ledger.of(settings) as ledger, ledger.transaction() as connection:
        connection.execute(insert(tables.audit), [line])
        act()
    verb = what.removeprefix("a model was ").replace(" ", "_")
    tags = {f"kairos.{verb}.{key}": value for key, value in (("by", who), ("at", at.isoformat()), ("why", why))}
    pending.note(card.problem, {card.version: tags}, settings)
    return Change(at=at, who=who, what=what, **detail)


def _pointing(card: Card, settings: Settings) -> Callable[[], None]:
    return lambda: bundle.point(settings.models, card.problem, card.version)


def _served(problem: str, settings: Settings) -> str:
    try:
        found = read_champion(settings.models / problem)
    except InvalidInput:
        return ""  # damaged: it is about to be replaced
    return found.version if found else ""


def _known(problem: str, settings: Settings) -> str:
    """The problem's name, if it was ever trained: nothing is made for one that was not."""
    if not (settings.models / problem).is_dir():
        raise NotFound("has no model", field="problem", value=problem, remedy="see `kairos models`")
    return problem


def _reason(why: str) -> str:
    if not why.strip():
        raise InvalidInput("must say something: it stands on the record", field="--why", value=why)
    return why.strip()

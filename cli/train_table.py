"""`kairos train --table`: reading the table, and telling what was made of it."""

from __future__ import annotations

import shlex

import msgspec

from cli import console
from features.kernel.card import Refused
from features.kernel.settings import Settings
from training.leak import ROW_ORDER
from training.table.asked import Asked
from training.table.build import Built, build

__all__ = ["plain", "read", "request"]


def read(asked: Asked, *, as_json: bool) -> Built:
    """Make a training set of the table, and unless JSON is wanted say at once what was decided."""
    with console.step(f"Read {asked.path}") as at:
        built = build(asked, lambda what, share: at(share, 1.0, what))
        data = built.data
        at.note = f"{sum(map(len, data.splits.values())):,} rows, {len(data.features)} inputs"
    if not as_json:
        _tell(built)
    return built


def _tell(built: Built) -> None:
    for each in built.said:
        console.out.print(each, markup=False)
    if built.data.refused:
        rows = [(each.column, _fate(each), each.reason) for each in _by_fate(built.data.refused)]
        console.table("Columns", ("column", "", "why"), rows)
    console.out.print(f"Inputs: {'; '.join(each.ref for each in built.data.features)}.", markup=False)


def _by_fate(refused: tuple[Refused, ...]) -> list[Refused]:
    return sorted(refused, key=lambda each: (each.kept, not each.allowed))


def _fate(each: Refused) -> str:
    if each.column == ROW_ORDER:
        return "warning"
    return "refused" if not each.kept else "allowed" if each.allowed else "kept"


def plain(built: Built) -> dict[str, object]:
    """What `--json` says of the table beside the model."""
    return {"said": built.said, "columns": built.data.refused, "example": built.example}


def request(problem: str, built: Built, settings: Settings) -> str:
    """A request for a score of a row of the table, as a line for the shell."""
    who = built.data.test.person[0] if len(built.data.test) else "row-1"
    body = {"items": [{"customer_id": str(who), "features": built.example}]}
    key = ' -H "Authorization: Bearer $KAIROS_API_KEY"' if settings.api_key else ""
    url = f"http://{settings.host}:{settings.port}/v1/scores/{problem}"
    text = shlex.quote(msgspec.json.encode(body).decode())
    return f"curl -s {url}{key} -H 'Content-Type: application/json' -d {text}"

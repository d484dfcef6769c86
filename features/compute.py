"""All views at once: what every caller of `aggregate` calls.

    events, spine ─► population ─► blocks of customers ─► each view's aggregate ─► one frame a view
                                                    └──► accounts named ─► blocks of accounts ─┘

Events are sorted by customer once; a block is a stretch of customers whose pairs of event and instant fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

import polars as pl

from features import views
from features.accounts import accounts_named
from features.kernel.card import column_name
from features.kernel.discover import discover
from features.population import months_of, with_population
from features.refs import resolve
from features.view import FeatureView, column_type
from features.windows import key_of, with_first

__all__ = ["Population", "all_views", "compute", "population", "wide"]

Population = Mapping[str, pl.DataFrame]
"""Of each view that reads one: what was known of everyone, one row a `month`."""

Block = tuple[pl.DataFrame, pl.DataFrame]
"""Events, and the rows of a spine that need no others."""

PAIRS_AT_ONCE = 1_000_000
"""Pairs of event and instant held at a time: about 200 MB with the widest view."""
ROWS_AT_ONCE = 25_000
"""Spine rows held at a time: the lists of `send_hours` take 4 kB a row while they are made."""
_INSTANT = pl.Datetime("us", "UTC")


@cache
def all_views() -> dict[str, FeatureView]:
    """Every view of `features/views/`, by name."""
    found = discover(views, "view", FeatureView)
    for module, view in found.items():
        if view.name != module:
            raise TypeError(f"features/views/{module}.py holds the view '{view.name}': name it as its file")
    return found


def population(
    events: pl.DataFrame, months: pl.Series, views: Mapping[str, FeatureView] | None = None
) -> dict[str, pl.DataFrame]:
    """What the views must know of everyone, at the first instant of each month; see `features.population`.

    Args:
        events: everyone's; columns `features.frames.EVENT_SCHEMA`.
        months: first instants (UTC) of months: `features.population.months_of(spine)`.
        views: those of `features/views`, if None.
    """
    chosen = all_views() if views is None else views
    return {each.name: each.population(events, months) for each in chosen.values() if each.population is not None}


def compute(
    events: pl.DataFrame,
    spine: pl.DataFrame,
    population: Population | None = None,
    views: Mapping[str, FeatureView] | None = None,
) -> dict[str, pl.DataFrame]:
    """Every view's frame over the spine: the key, `as_of` and its features, one row per spine row, in its order.

    A view of accounts has one row for each account that a customer of the spine was known to name by its instant,
    sorted by `account_id`, `as_of`.

    Args:
        events: columns `features.frames.EVENT_SCHEMA`, any order of rows: all those of the spine's customers, and of
            all customers of the accounts they name.
        spine: columns `customer_id`, `as_of`.
        population: what `population` gives for the spine's months; computed from `events`, which then must be
            everyone's, if None.
        views: those of `features/views`, if None.
    """
    chosen = all_views() if views is None else views
    everyone = _population(events, months_of(spine), chosen) if population is None else population
    asked = spine.select("customer_id", pl.col("as_of").cast(_INSTANT))
    by_entity = {kind: [each for each in chosen.values() if each.entity == kind] for kind in ("customer", "account")}
    frames = _over(by_entity["customer"], _of_customers(events, asked), asked, everyone)
    if by_entity["account"]:
        accounts = accounts_named(events, asked).sort("account_id", "as_of")
        frames |= _over(by_entity["account"], _of_accounts(events, accounts), accounts, everyone)
    return {name: frames[name] for name in chosen}


def wide(
    frames: Mapping[str, pl.DataFrame], refs: Sequence[str], views: Mapping[str, FeatureView] | None = None
) -> pl.DataFrame:
    """Computed frames as one: `customer_id`, `as_of` and `column_name(ref)` of each reference, in the spine's order.

    Features of accounts are those of the account the customer was known to belong to: `profile:account_id`.

    Raises:
        NotFound: a reference names no feature.
    """
    found = resolve(refs, all_views() if views is None else views)
    spine = next(frame for frame in frames.values() if key_of(frame) == "customer_id").select("customer_id", "as_of")
    columns = []
    for ref, (parsed, view, _) in found.items():
        frame = frames[view.name]
        if view.entity == "account":
            frame = _belonging(frames["profile"], frame)
        column = frame.get_column(parsed.feature)
        columns.append((column if parsed.index is None else column.arr.get(parsed.index)).alias(column_name(ref)))
    return spine.with_columns(columns)


_population = population


def _belonging(profile: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    belongs = profile.select("account_id", "as_of")
    return belongs.join(frame, on=["account_id", "as_of"], how="left", maintain_order="left")


def _over(
    chosen: Sequence[FeatureView], blocks: Iterable[Block], spine: pl.DataFrame, everyone: Population
) -> dict[str, pl.DataFrame]:
    """The frames of views of one entity; the blocks hold the spine's rows, each once, in the order of its columns."""
    parts: dict[str, list[pl.DataFrame]] = {each.name: [] for each in chosen}
    for events, rows in blocks:
        for each in chosen:
            known = everyone.get(each.name)
            found = each.aggregate(events, rows if known is None else with_population(rows, known))
            parts[each.name].append(found.drop(each.key, "as_of"))
    key = key_of(spine)
    rows = spine.unique().sort(key, "as_of").with_row_index("place")
    places = spine.join(rows, on=[key, "as_of"], how="left", maintain_order="left")["place"]
    return {each.name: _whole(each, parts[each.name], spine, places) for each in chosen}


def _whole(view: FeatureView, parts: list[pl.DataFrame], spine: pl.DataFrame, places: pl.Series) -> pl.DataFrame:
    if not parts:
        return spine.with_columns(pl.lit(None, column_type(each)).alias(each.name) for each in view.features)
    return spine.hstack(pl.concat(parts)[places])


def _of_customers(events: pl.DataFrame, spine: pl.DataFrame) -> Iterator[Block]:
    """Blocks with numbers in place of customer ids, which join and group faster than text."""
    rows = spine.unique().sort("customer_id", "as_of")
    codes = rows.select("customer_id").unique(maintain_order=True).with_row_index("code")
    own = _coded(events, codes)
    known = with_first(own, _coded(rows, codes).sort("customer_id", "as_of"))
    if _fits(own, rows):
        yield own, known
        return
    own = own.sort("customer_id")
    counts = codes.select(customer_id="code").join(
        own.group_by("customer_id").len("events"), on="customer_id", how="left", maintain_order="left"
    )
    ends = counts["events"].fill_null(0).cum_sum()
    for block in _cut(known, counts):
        first, last = int(block["customer_id"][0]), int(block["customer_id"][-1])
        begin = int(ends[first - 1]) if first else 0
        yield own[begin : int(ends[last])], block


def _of_accounts(events: pl.DataFrame, spine: pl.DataFrame) -> Iterator[Block]:
    rows = spine.unique().sort("account_id", "as_of")
    if _fits(events, rows):
        yield events, rows
        return
    belongs = events.select("customer_id", "account_id").drop_nulls().unique()
    belongs = belongs.join(rows.select("account_id").unique(), on="account_id", how="semi")
    sizes = events.group_by("customer_id").len("events")
    counts = belongs.join(sizes, on="customer_id").group_by("account_id").agg(pl.col("events").sum())
    for block in _cut(rows, counts):
        people = belongs.join(block.select("account_id").unique(), on="account_id", how="semi")
        yield events.join(people.select("customer_id").unique(), on="customer_id", how="semi"), block


def _fits(events: pl.DataFrame, rows: pl.DataFrame) -> bool:
    """Whether these need not be cut: even if every event were known at every instant."""
    return rows.height <= ROWS_AT_ONCE and events.height * rows["as_of"].n_unique() <= PAIRS_AT_ONCE


def _cut(rows: pl.DataFrame, counts: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Sorted rows of a spine cut where their pairs, or they themselves, become too many; `counts`: `events` by key."""
    key = key_of(rows)
    pairs = rows.select(key).join(counts, on=key, how="left", maintain_order="left")["events"].fill_null(0)
    part = (pairs.cum_sum() // PAIRS_AT_ONCE).cast(pl.Int64) + pl.Series(range(len(rows))) // ROWS_AT_ONCE
    return iter(rows.with_columns(part.alias("_part")).partition_by("_part", include_key=False, maintain_order=True))


def _coded(frame: pl.DataFrame, codes: pl.DataFrame) -> pl.DataFrame:
    code = pl.col("customer_id").replace_strict(codes["customer_id"], codes["code"], default=None)
    return frame.with_columns(code).filter(pl.col("customer_id").is_not_null())

"""Recipes that cannot be right: the error names the key, the value and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.kernel.errors import InvalidRecipe, NotFound
from features.recipe import load_recipe

SHOP = (Path(__file__).parent / "recipes" / "shop.yaml").read_text()
CALLS = (Path(__file__).parent / "recipes" / "calls.yaml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "field", "told"),
    [
        ("columns:", "colums:", "colums", "did you mean columns?"),
        ("type: number}", "typ: number}", "columns.price.typ", "did you mean type?"),
        ("type: number}", "type: numeric}", "columns.price.type", "numeric"),
        ("Europe/London", "Europe/Londn", "time_zone", "did you mean Europe/London?"),
        ("time_zone: Europe/London\n", "", "time_zone", "Europe/London"),
        ("kind: events", "kind: event", "kind", "events or snapshot"),
        ("kind: events", "kind: events\nname: mine", "name", "leave it out"),
        ("kind: events", "kind: events\nkind: events", "kind", "twice"),
        ("about: A small shop\n", "", "about", "is missing"),
        ("about: A small shop", "about: yes", "about", "in quotes"),
        ("currency: GBP\n", "", "currency", "GBP"),
        (', format: "%Y-%m-%d %H:%M"', "", "columns.at.format", "is missing"),
        ("customer: {column: who, type: id}", "customer: {column: who, type: text}", "columns.customer.type", "id"),
        ("  invoice: {type: text}", "  row: {type: text}", "columns.row", "row is taken"),
        ("price = 0", "prize = 0", "refused[2].when", "did you mean price?"),
        ("price = 0", "price = 'x'", "refused[2].when", "cannot be computed"),
        ("price = 0", "price + 1", "refused[2].when", "is no condition"),
        ("price = 0", "price IN (SELECT 1)", "refused[2].when", "SQL"),
        ("price = 0", "price ==== 0", "refused[2].when", "is no SQL expression"),
        ("repeats: all", "when: ''", "refused[0]", "either `when` or `repeats`"),
        ("repeats: all", "repeats: [invoce]", "refused[0].repeats", "did you mean invoice?"),
        ("reason: free", "reason: duplicate", "refused[2].reason", "taken"),
        ("reason: free", "reason: unparsable_date", "refused[2].reason", "taken"),
        ("event: order", "event: ordr", "used[1].event", "did you mean order?"),
        ("amount: SUM(price), ", "", "used[1].amount", "is missing"),
        ("amount: SUM(price), ", "amount: price, ", "used[1].amount", "write SUM(price)"),
        ("one_per: [invoice], amount: SUM(price)", "one_per: [], amount: SUM(price)", "used[1].one_per", "or row"),
        ("{country: country}", "{country: land}", "profile.country", "known are"),
        ("properties: {", "fields: {chanel: invoice}, properties: {", "used[1].fields.chanel", "did you mean channel?"),
        ("event: refund", "event: custom", "used[0].properties.name", "is missing"),
        ("kind: events", "kind: [events", None, "is no YAML"),
    ],
)
def test_a_recipe_that_cannot_be_right(tmp_path: Path, old: str, new: str, field: str | None, told: str) -> None:
    assert old in SHOP
    path = tmp_path / "broken.yaml"
    path.write_text(SHOP.replace(old, new, 1))
    with pytest.raises(InvalidRecipe) as caught:
        load_recipe(path)
    assert caught.value.field == (field or str(path))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('positive: "yes"', "positive: yes", "label.positive"),
        ('positive: "yes"', 'positive: "no"', "label.positive"),
        ("start: 2008-11", "start: 2008-13", "as_of.start"),
        ("month: month", "month: moth", "as_of.month"),
        ("time_zone: Europe/Lisbon\n", "", "time_zone"),
        ("[gap]", "[gab]", "baseline"),
        ("{duration: known", "{job: known", "columns.job"),
        ("horizon_days: 1", "horizon_days: 0", "horizon_days"),
        ("horizon_days: 1", "horizon_days: one", "horizon_days"),
        ("as_of:", "id: job\nas_of:", "id"),
        ('["-1"]', "[none]", "columns.gap.missing"),
        ("label: {column: y", "label: {column: job", "columns.job"),
    ],
)
def test_a_snapshot_recipe_that_cannot_be_right(tmp_path: Path, old: str, new: str, field: str) -> None:
    assert old in CALLS
    (tmp_path / "broken.yaml").write_text(CALLS.replace(old, new, 1))
    with pytest.raises(InvalidRecipe) as caught:
        load_recipe(tmp_path / "broken.yaml")
    assert caught.value.field == field
    assert caught.value.remedy or caught.value.value is not None


def test_an_unknown_recipe_is_named_with_the_known(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="did you mean online_retail"):
        load_recipe("online_retial")
    with pytest.raises(NotFound):
        load_recipe(tmp_path / "none.yaml")

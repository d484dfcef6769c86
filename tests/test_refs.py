"""References to features and to the elements of lists."""

from __future__ import annotations

import polars as pl
import pytest

from features.kernel.card import column_name
from features.kernel.errors import NotFound
from features.refs import Ref, all_refs, expand, parse_ref, resolve
from features.view import Feature, FeatureView


def _nothing(events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    return spine


VIEW = FeatureView(
    "hours",
    (
        Feature("rate", "share", "opens {value}", length=3),
        Feature("best", "share", "opens {value} at best"),
        Feature("owner", "", "belongs to {value}", "string", identifier=True),
    ),
    _nothing,
)
VIEWS = {"hours": VIEW}


def test_every_reference_of_a_view_leads_back_to_its_feature() -> None:
    refs = all_refs(VIEW)
    assert refs == ("hours:rate[0]", "hours:rate[1]", "hours:rate[2]", "hours:best", "hours:owner")
    assert all_refs(VIEW, lists=False) == VIEW.refs == refs[3:]
    for ref, found in resolve(refs, VIEWS).items():
        assert str(found.ref) == ref and found.feature.name == found.ref.feature and found.view is VIEW


def test_columns_of_different_references_have_different_names() -> None:
    names = [column_name(ref) for ref in all_refs(VIEW)]
    assert len(set(names)) == len(names)
    assert not any(mark in name for name in names for mark in '[]{},:"'), "LightGBM takes none of these"


def test_a_whole_view_is_its_single_values_without_names() -> None:
    assert expand("hours:*", VIEWS) == ("hours:best",)
    assert expand("hours:rate[2]", VIEWS) == ("hours:rate[2]",)
    assert expand("hours:owner", VIEWS) == ("hours:owner",)


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("hours", "write view:feature or"),
        ("hours:rate[x]", "write view:feature or"),
        ("hours:rate[01]", "write view:feature or"),
        ("days:rate[0]", "the views are hours"),
        ("days:*", "the views are hours"),
        ("hours:worst", "hours has rate, best, owner"),
        ("hours:rate", r"is a list .* write hours:rate\[0\] to \[2\]"),
        ("hours:best[0]", r"is no list .* write hours:best$"),
        ("hours:rate[3]", r"it ends at \[2\]"),
    ],
)
def test_a_reference_to_nothing_is_named_with_a_remedy(ref: str, said: str) -> None:
    with pytest.raises(NotFound, match=said):
        expand(ref, VIEWS)


def test_parts_are_found_without_knowing_the_view() -> None:
    assert parse_ref("a:b[12]") == Ref("a", "b", 12)
    assert str(Ref("a", "b", 12)) == "a:b[12]"

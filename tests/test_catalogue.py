"""docs/features.md lists every feature as the code has it."""

from __future__ import annotations

from pathlib import Path

from features.compute import all_views
from features.view import Feature, FeatureView

PAGE = Path(__file__).parent.parent / "docs" / "features.md"


def kind(feature: Feature) -> str:
    return feature.dtype if feature.length is None else f"{feature.length} × {feature.dtype}"


def section(view: FeatureView) -> str:
    assert view.aggregate.__module__.startswith("features.views.")
    rows = [f"| `{each.name}` | {kind(each)} | {each.unit} | {each.phrase} |" for each in view.features]
    title = f"### {view.name}, of the {view.entity}"
    return "\n".join([title, "", "| feature | type | unit | as a reason |", "|---|---|---|---|", *rows])


def test_the_catalogue_is_what_the_views_hold() -> None:
    views = all_views().values()
    total = sum(len(view.features) for view in views)
    expected = f"{total} features in {len(views)} views, a list counted once.\n\n" + "\n\n".join(map(section, views))
    _, _, found = PAGE.read_text().partition("## Catalogue\n\n")
    assert found.strip() == expected, f"docs/features.md should end with:\n\n{expected}\n"

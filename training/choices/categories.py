"""Product categories of orders: `properties.category` (one), `properties.categories` (several of one order), or both.

They are told apart by their plain names, which can stand in a problem's name: "Garden & Tools" is `garden_tools`.
"""

from __future__ import annotations

import msgspec
import polars as pl

from features.kernel.errors import NotEnoughData
from training.problem import plain_name

__all__ = ["bought", "require"]

_MOST_SHOWN = 10


def bought(orders: pl.DataFrame) -> pl.DataFrame:
    """Order events, each once for every category it names: `customer_id`, `occurred_at`, `category` (plain)."""
    said = orders.select("customer_id", "occurred_at", text=_said()).explode("text").drop_nulls("text")
    texts = said.get_column("text").unique().to_list()
    names = pl.DataFrame(
        {"text": texts, "category": [_plain(each) for each in texts]},
        schema={"text": pl.String, "category": pl.List(pl.String)},
    )
    named = said.join(names, on="text", how="left").drop("text").explode("category")
    return named.drop_nulls("category").unique(maintain_order=True)


def require(events: pl.DataFrame, category: str, problem: str) -> None:
    """Refuse a category that no order names.

    Raises:
        NotEnoughData: listing those that are named, the most frequent first.
    """
    counts = bought(events.filter(pl.col("type") == "order")).get_column("category").value_counts(name="orders")
    ranked = counts.sort("orders", "category", descending=[True, False]).get_column("category").to_list()
    if category in ranked:
        return
    shown = ", ".join(ranked[:_MOST_SHOWN])
    raise NotEnoughData(
        f"no order is of the category '{category}'",
        field=problem,
        remedy=f"ask about one of: {shown}" if ranked else "send orders with `properties.category` or `categories`",
    )


def _said() -> pl.Expr:
    """What an order says of its categories, as texts: a plain one, or a JSON array."""
    properties = pl.col("properties")
    return pl.concat_list(properties.str.json_path_match("$.category"), properties.str.json_path_match("$.categories"))


def _plain(text: str) -> list[str]:
    """Plain names in what was said: `books` or `["books", "toys"]`."""
    try:
        many = msgspec.json.decode(text, type=list[str]) if text.startswith("[") else [text]
    except msgspec.MsgspecError:
        many = [text]
    return sorted({name for each in many if (name := plain_name(each))})

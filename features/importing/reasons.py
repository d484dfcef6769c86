"""The reasons of refusal that every recipe has without saying so."""

from __future__ import annotations

from features.kernel.events import MAX_ID

__all__ = ["BUILT_IN", "OF_EVENTS", "OF_SNAPSHOTS"]

BUILT_IN = {
    "unparsable_date": "a time is there but cannot be read, or never was (clocks going forward)",
    "unparsable_number": "a number is there but cannot be read, or is infinite",
    "missing_date": "no time",
    "date_out_of_range": "a time outside 1970 to 2261",
    "missing_customer": "no customer id, and no rule of the recipe says so",
    "unusable_id": f"an id of more than {MAX_ID} characters, or with NUL in it",
    "missing_amount": "no amount where the event needs one",
    "unusable_amount": "an amount below zero, or not finite, after summing up",
    "no_rule_fits": "no `used` rule holds",
    "missing_id": "a snapshot without an id",
    "missing_label": "a snapshot without an outcome",
    "unlisted_label": "an outcome that is neither the positive nor the negative value",
}
"""Each with its meaning; tried after the recipe's own."""

_ONLY_EVENTS = ("missing_customer", "missing_amount", "unusable_amount", "no_rule_fits")
_ONLY_SNAPSHOTS = ("missing_id", "missing_label", "unlisted_label")

OF_EVENTS = tuple(name for name in BUILT_IN if name not in _ONLY_SNAPSHOTS)
OF_SNAPSHOTS = tuple(name for name in BUILT_IN if name not in _ONLY_EVENTS)

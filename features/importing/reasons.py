"""The reasons of refusal that every recipe has without saying so."""

from __future__ import annotations

from features.kernel.events import MAX_ID, MAX_PROPERTIES

__all__ = ["BUILT_IN", "CORRECTED", "OF_EVENTS", "OF_SNAPSHOTS", "UNREADABLE"]

BUILT_IN = {
    "ragged_row": "more or fewer fields than the header has",
    "broken_quotes": "a quoted field that does not close, or goes on after its closing quote",
    "broken_line": "a line that is no JSON object",
    "unreadable_text": "bytes that are no text, neither in the file's encoding nor in Windows-1252",
    "unparsable_date": "a time is there but cannot be read, or never was (clocks going forward)",
    "unparsable_number": "a number is there but cannot be read, or is infinite",
    "missing_date": "no time",
    "date_out_of_range": "a time outside 1970 to 2261",
    "missing_customer": "no customer id, and no rule of the recipe says so",
    "unusable_id": f"an id of more than {MAX_ID} characters, or with NUL in it",
    "missing_amount": "no amount where the event needs one",
    "unusable_amount": "an amount below zero, or not finite, after summing up",
    "no_rule_fits": "no `used` rule holds",
    "unusable_field": f"a channel, campaign or other id of more than {MAX_ID} characters, or with NUL in it",
    "missing_name": "a custom event without its name",
    "properties_too_large": f"properties of more than {MAX_PROPERTIES // 1024} KB",
    "incomplete_event": "readable, but another line of the same event is not: mend that one and import both",
    "missing_id": "a snapshot without an id",
    "missing_label": "a snapshot without an outcome",
    "unlisted_label": "an outcome that is neither the positive nor the negative value",
    "missing_treatment": "a snapshot of an experiment that does not say what was done",
}
"""Each with its meaning; tried after the recipe's own."""

UNREADABLE = ("unparsable_date", "unparsable_number", "missing_date", "date_out_of_range", "missing_amount")
"""Reasons for which a line is missing from its event, so that the event is not complete."""

CORRECTED = {
    "byte_order_mark": "the invisible mark at the file's start was left out (counted as one row)",
    "mis_encoded": "bytes that are no UTF-8 were read as Windows-1252",
    "stray_quote": "a quote within an unquoted field was taken as it stands",
    "trimmed": "blanks at an end of a text were left out",
    "point_zero_id": "an id lost its `.0`: 17850.0 is what spreadsheets make of 17850",
    "decimal_comma": "a number's comma, which can only be a decimal one, was read as a point",
    "thousands_separator": "a number's thousands stand apart",
    "currency_sign": "a number's currency was left out",
    "repeated_hour": "a time in the hour that clocks repeat in autumn was taken as the first of the two",
}
"""What is changed to make a value usable, with its meaning; each is counted in rows."""

_ONLY_EVENTS = (
    "missing_customer",
    "missing_amount",
    "unusable_amount",
    "no_rule_fits",
    "unusable_field",
    "missing_name",
    "properties_too_large",
    "incomplete_event",
)
_ONLY_SNAPSHOTS = ("missing_id", "missing_label", "unlisted_label", "missing_treatment")

OF_EVENTS = tuple(name for name in BUILT_IN if name not in _ONLY_SNAPSHOTS)
OF_SNAPSHOTS = tuple(name for name in BUILT_IN if name not in _ONLY_EVENTS)

"""What a model was fitted on must be there when it is asked: each feature is one that the views keep online.

A feature that only history holds scores well on every test and is missing in every answer. Where the request brings the
features, there is nothing to look up.
"""

from __future__ import annotations

from features.compute import all_views
from features.kernel.errors import NotFound
from features.refs import resolve
from training.gate import Answer, Evidence, Gate, does_not_apply, failed, passed

__all__ = ["gate"]


def _check(evidence: Evidence) -> Answer:
    data = evidence.data
    refs = [each.ref for each in data.features]
    refs += [ref for column in (data.candidates.columns if data.candidates else ()) for ref in column.refs]
    needed = list(dict.fromkeys(refs))
    if data.source == "request":
        return does_not_apply(f"its {len(needed)} features come with the request")
    missing = [ref for ref in needed if not _is_online(ref)]
    if missing:
        return failed(f"{len(missing)} of {len(needed)} features cannot be read online: {', '.join(missing[:5])}")
    return passed(f"all {len(needed)} features can be read online")


def _is_online(ref: str) -> bool:
    try:
        resolve([ref], all_views())
    except NotFound:
        return False
    return True


gate = Gate(code="KT108", title="finds its features online", severity="refuse", check=_check)

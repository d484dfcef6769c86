"""Which group of the experiment a customer belongs to: for good, by hashing, without a table of who is where."""

from __future__ import annotations

from decisioning.point import DecisionPoint, Group
from features.kernel.seeds import uniform

__all__ = ["assign"]


def assign(point: DecisionPoint, customer_id: str, salt: str) -> Group:
    """The customer's group: the one whose share of [0, 1) holds the hash of salt, point and customer.

    Independent between points, and of the sticky draw within a group (that hashes another word).
    """
    u, upto = uniform(salt, point.name, "group", customer_id), 0.0
    for group in point.groups:
        upto += group.share
        if u < upto:
            return group
    return point.groups[-1]  # the shares' sum may fall short of 1 by rounding

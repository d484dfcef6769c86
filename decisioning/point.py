"""A decision point: the moment of a journey where one of several actions is chosen, described in one YAML file.

`journeys/<name>.yaml` says what may be done, to whom, who decides for which share of customers, and what counts as
success. `journeys/win_back.yaml` is the example. Everything is checked when it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from decisioning import policies
from decisioning.policy import Policy
from features.kernel.discover import discover, pick
from features.kernel.errors import InvalidInput, KairosError

__all__ = [
    "Cap",
    "Comparison",
    "DecisionPoint",
    "Group",
    "RewardRule",
    "Rule",
    "all_points",
    "all_policies",
    "load_point",
]

_JOURNEYS = Path(__file__).parent / "journeys"
_ROUNDING = 1e-9


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Some actions need a feature in a range, or one of some values; otherwise they are excluded for `reason`."""

    reason: str
    actions: tuple[str, ...]
    feature: str
    when_missing: Literal["exclude", "allow"]
    """What an unknown value means for this rule."""
    at_least: float | None = None
    at_most: float | None = None
    one_of: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        numeric = self.at_least is not None or self.at_most is not None
        _require(numeric != (self.one_of is not None), "needs a range (at_least, at_most) or one_of", self.reason)
        _require(":" in self.feature, "must be a reference view:feature", self.feature)


class Cap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most `at_most` decisions for any of `actions` per customer within `within_days` days."""

    reason: str
    actions: tuple[str, ...]
    at_most: int
    within_days: float

    def __post_init__(self) -> None:
        _require(self.at_most >= 1, "must be 1 or more", self.at_most)
        _require(self.within_days > 0, "must be positive", self.within_days)

    @property
    def window(self) -> timedelta:
        """How far back it looks."""
        return timedelta(days=self.within_days)


class Group(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A share of the customers and the policy that decides for them; `actions` narrows what it may choose from."""

    name: str
    share: float
    policy: str
    parameters: dict[str, Any] = {}
    actions: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _require(0 < self.share <= 1, "must lie in (0, 1]", self.share)


class RewardRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Success is an outcome of this kind within the window after the decision."""

    kind: str
    within_days: float

    def __post_init__(self) -> None:
        _require(self.within_days > 0, "must be positive", self.within_days)

    @property
    def window(self) -> timedelta:
        """How long after the decision an outcome counts."""
        return timedelta(days=self.within_days)


class Comparison(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the experiment is to answer: the groups on one side against those on the other."""

    question: str
    groups: tuple[str, ...]
    against: tuple[str, ...]


class DecisionPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See the module and `journeys/win_back.yaml`.

    Raises:
        InvalidInput: when built with parts that contradict each other.
    """

    name: str
    question: str
    actions: tuple[str, ...]
    fallback: str
    groups: tuple[Group, ...]
    reward: RewardRule
    rules: tuple[Rule, ...] = ()
    caps: tuple[Cap, ...] = ()
    context: tuple[str, ...] = ()
    """Numeric features that are journaled with the decision and given to the policy."""
    scores: tuple[str, ...] = ()
    """Problems whose score is journaled and given to the policy as `score:<problem>`."""
    comparisons: tuple[Comparison, ...] = ()

    def __post_init__(self) -> None:
        names = [each.name for each in self.groups]
        _require(len(set(self.actions)) == len(self.actions) > 0, "actions must be given, each once", self.actions)
        _require(len(set(names)) == len(names) > 0, "groups must be given, each name once", names)
        total = sum(each.share for each in self.groups)
        _require(abs(total - 1) < _ROUNDING, "shares of the groups must sum to 1", total)
        exclusions = [(each.actions, each.reason) for each in self.rules]
        exclusions += [(each.actions, each.reason) for each in self.caps]
        for actions, reason in exclusions:
            self._require_actions(actions)
            _require(self.fallback not in actions, "must not exclude the fallback action", reason)
        for group in self.groups:
            self._require_actions(group.actions or self.actions)
            _require(self.fallback in (group.actions or self.actions), "must keep the fallback action", group.name)
        for each in self.comparisons:
            for name in (*each.groups, *each.against):
                _require(name in names, f"is no group, choose from {', '.join(names)}", name)
            _require(not set(each.groups) & set(each.against), "compares a group with itself", each.question)
        self._require_one_learner_a_policy()

    @property
    def refs(self) -> tuple[str, ...]:
        """Every feature a decision looks at: what to read for it, each once."""
        return tuple(dict.fromkeys((*self.context, *(each.feature for each in self.rules))))

    @property
    def window(self) -> timedelta:
        """How long a decision waits for its outcome."""
        return self.reward.window

    @property
    def cap_window(self) -> timedelta:
        """How far back the caps look: the past decisions a decision must be given."""
        return max((each.window for each in self.caps), default=timedelta(0))

    @property
    def learners(self) -> dict[str, Policy]:
        """The policies that learn, by name (a policy whose first state is empty has nothing to learn)."""
        each = {group.policy: self.policy_of(group) for group in self.groups}
        return {name: policy for name, policy in each.items() if policy.initial()}

    def policy_of(self, group: Group) -> Policy:
        """The policy that decides for a group, with its parameters."""
        policy: Policy = _with_parameters(pick(all_policies(), group.policy, field="policy"), group.parameters)
        return policy

    def group(self, name: str) -> Group:
        """The group called `name`.

        Raises:
            NotFound: there is none.
        """
        return pick({each.name: each for each in self.groups}, name, field="group")

    def _require_actions(self, named: Iterable[str]) -> None:
        for action in (*named, self.fallback):
            _require(action in self.actions, f"is no action, choose from {', '.join(self.actions)}", action)

    def _require_one_learner_a_policy(self) -> None:
        learning = [each.policy for each in self.groups if self.policy_of(each).initial()]
        twice = sorted({name for name in learning if learning.count(name) > 1})
        _require(not twice, "a learning policy has one state at a point, so it can serve one group only", twice or None)


@lru_cache(maxsize=1)
def all_policies() -> dict[str, Policy]:
    """Every policy of `decisioning/policies/` with its default parameters, by name."""
    return discover(policies, "policy", Policy)  # type: ignore[type-abstract]  # a protocol is its own contract


def all_points(folder: Path | None = None) -> dict[str, DecisionPoint]:
    """Every decision point of a folder (Kairos's own if None), by name, sorted.

    Raises:
        InvalidInput: a file cannot be right; names file, place and remedy.
    """
    points = [load_point(path) for path in sorted((folder or _JOURNEYS).glob("*.yaml"))]
    return {each.name: each for each in points}


def load_point(path: Path) -> DecisionPoint:
    """Read one decision point.

    Raises:
        InvalidInput: it is not YAML, or not the decision point its file name says; names file and place.
    """
    try:
        point = msgspec.convert(yaml.safe_load(path.read_text()), DecisionPoint)
    except (yaml.YAMLError, msgspec.ValidationError, KairosError) as error:
        raise InvalidInput(
            f"is no decision point: {error}", field=path.name, remedy="compare with journeys/win_back.yaml"
        ) from error
    if point.name != path.stem:
        raise InvalidInput("must be the file's own name", field=f"{path.name}: name", value=point.name)
    return point


def _with_parameters(policy: Any, parameters: Mapping[str, Any]) -> Any:
    make: Callable[..., Any] = replace
    known = [name for name in policy.__dataclass_fields__ if name not in ("name", "sticky")]
    for name in parameters:
        _require(name in known, f"is no parameter of policy {policy.name}, which has {', '.join(known)}", name)
    return make(policy, **parameters)


def _require(holds: bool, message: str, value: object) -> None:
    if not holds:
        raise InvalidInput(message, value=value)

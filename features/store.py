"""The one door to Feast: definitions, point-in-time retrieval, materialisation, push and online reads.

Nothing here imports Feast before it is needed: `import feast` costs seconds and 200 MB.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import polars as pl
import yaml

from features import offline_files as files
from features.compute import all_views, compute, population
from features.kernel.card import column_name
from features.kernel.errors import Unavailable
from features.kernel.settings import Settings, quiet_libraries
from features.packed.servers import redis_errors
from features.packed.store import PackedStore
from features.population import months_of
from features.promotion import Gate, promote
from features.quality import require
from features.refs import Resolved, resolve
from features.vectors import Vectors
from features.view import FeatureView, column_type

__all__ = ["FeatureStore"]

ACCOUNT_OF = "profile:account_id"
"""The feature that names a customer's account."""
EVENT_TIMESTAMP = "event_timestamp"
_KEYS = ("customer_id", "as_of")
_INSTANT = pl.Datetime("us", "UTC")

Progress = Callable[[int, int | None], object]

SPINE_AT_ONCE = 100_000
"""Spine rows whose features are computed and written at a time."""


class FeatureStore:
    """Kairos's feature store; opens Feast at the first call that needs it. Safe to share between threads.

    Args:
        settings: `home` holds registry and offline files; `redis_url` is the online store.
        views: what it stores; those of `features/views`, if None.
    """

    def __init__(self, settings: Settings, views: Mapping[str, FeatureView] | None = None) -> None:
        self.settings = settings
        self.views = all_views() if views is None else views

    # -- definitions -----------------------------------------------------------------------------------------------

    def apply(self) -> None:
        """Register entity, views and sources with Feast, as `feast -c features apply` does; what is gone is removed."""
        feast = self._feast
        from features.entities import feast_objects  # noqa: PLC0415  Feast's door

        files.prepare(self.settings.offline, self.views)
        objects = feast_objects(self.settings.offline, self.views)
        gone = [view for view in feast.list_feature_views() if view.name not in objects]
        with _quiet(), redis_errors():
            feast.apply(list(objects.values()), objects_to_delete=gone, partial=False)

    @cached_property
    def _feast(self) -> Any:
        _import_feast()
        from feast import FeatureStore as Feast  # noqa: PLC0415  Feast's door
        from feast.repo_config import RepoConfig  # noqa: PLC0415  Feast's door

        from features.repository import REPOSITORY  # noqa: PLC0415  Feast's door

        config = yaml.safe_load((REPOSITORY / "feature_store.yaml").read_text())
        config["registry"]["path"] = str(self.settings.home.absolute() / config["registry"]["path"])
        if self.settings.redis_url:
            config["online_store"]["url"] = self.settings.redis_url
        return Feast(config=RepoConfig(**config, repo_path=REPOSITORY))

    # -- offline ---------------------------------------------------------------------------------------------------

    def backfill(
        self,
        events: pl.DataFrame,
        spine: pl.DataFrame,
        newest: Mapping[str, datetime] | None = None,
        gate: Gate = require,
    ) -> dict[str, int]:
        """Compute every view over the spine and write it offline, all of it or nothing; again, it changes nothing.

        Args:
            events: everyone's; columns `features.frames.EVENT_SCHEMA`.
            spine: `customer_id`, `as_of`.
            newest: the newest receipt by event type (`features.freshness`); None: freshness is not looked at.
            gate: decides on the run by what was found of its values.

        Returns:
            Rows written by view; customers with nothing known at an instant have none.

        Raises:
            QualityBreach: the gate stopped the run; the offline store is as it was.
        """
        files.prepare(self.settings.offline, self.views)
        everyone = population(events, months_of(spine), self.views)
        slices = spine.unique().sort("as_of", "customer_id").iter_slices(SPINE_AT_ONCE)
        parts = (compute(events, part, everyone, self.views) for part in slices)
        return promote(self.settings.offline, self.views, parts, newest, gate)

    def historical(self, spine: pl.DataFrame, refs: Sequence[str]) -> pl.DataFrame:
        """Features as they were known, through Feast's point-in-time join.

        Each spine row gets the view row of its own instant, or the latest before it within the view's TTL.

        Args:
            spine: `customer_id`, `as_of`, in any order, repeats allowed.
            refs: `view:feature`.

        Returns:
            `customer_id`, `as_of` and `column_name(ref)` of each, one row per spine row, in the spine's order.

        Raises:
            NotFound: a reference names no feature.
            Unavailable: the features were not applied, or no feature was ever written.
        """
        named = resolve(refs, self.views)
        files.prepare(self.settings.offline, self.views)
        rows = spine.select("customer_id", pl.col("as_of").cast(_INSTANT))
        keys = rows.unique()
        if any(each.view.entity == "account" for each in named.values()):
            keys = keys.with_columns(account_id=self._read(keys, [ACCOUNT_OF])[ACCOUNT_OF].fill_null(""))
        found = self._read(keys, list(dict.fromkeys(each.ref.base for each in named.values())))
        columns = [_column(each).alias(column_name(ref)) for ref, each in named.items()]
        return rows.join(found.select(*_KEYS, *columns), on=_KEYS, how="left", maintain_order="left")

    def _read(self, keys: pl.DataFrame, wanted: Sequence[str]) -> pl.DataFrame:
        """Features as of each row of `keys`, in its order, one column a feature named as it is referred to."""
        entities = keys.rename({"as_of": EVENT_TIMESTAMP})  # the offline store takes a Polars frame as it is
        with _quiet(), self._applied():
            job = self._feast.get_historical_features(entities, features=list(wanted), full_feature_names=True)
            found = pl.DataFrame(job.to_arrow())
        instant = pl.col(EVENT_TIMESTAMP).cast(_INSTANT).alias("as_of")
        found = found.select("customer_id", instant, *(pl.col(column_name(each)).alias(each) for each in wanted))
        return keys.join(found, on=_KEYS, how="left", maintain_order="left")

    # -- online ----------------------------------------------------------------------------------------------------

    def materialize(self, as_of: datetime, progress: Progress | None = None) -> dict[str, int]:
        """Load each customer's latest offline row as of an instant, within the view's TTL, into Redis.

        Args:
            progress: called with the rows written so far and how many they will be, if that is known.

        Returns:
            Customers (or accounts) by view.

        Raises:
            Unavailable: Redis cannot be reached, or the features were not applied. What was written until then stays,
                each customer's whole; running it again completes it.
        """
        by_ttl: dict[timedelta, list[str]] = {}
        for view in self.views.values():
            by_ttl.setdefault(view.ttl, []).append(view.name)
        loaded: dict[str, int] = {}
        with _quiet(), self._applied(), redis_errors():
            engine = self._feast._get_provider().batch_engine
            engine.progress = progress
            for ttl, names in by_ttl.items():
                self._feast.materialize(start_date=as_of - ttl, end_date=as_of, feature_views=names)
                loaded |= engine.loaded
            engine.progress = None
        return {name: loaded.get(name, 0) for name in self.views}

    def push(self, frames: Mapping[str, pl.DataFrame]) -> None:
        """Write view frames (as `compute` gives them) online. An older row never replaces a newer one.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        self.online.push(frames)

    def read_vectors(self, ids: Sequence[str], refs: Sequence[str]) -> Vectors:
        """The online features of these customers; see `features.vectors.Vectors`.

        Raises:
            NotFound: a reference names no feature.
            Unavailable: Redis cannot be reached.
        """
        return self.online.read_vectors(ids, refs)

    @cached_property
    def online(self) -> PackedStore:
        """The online store itself, which needs no Feast."""
        return PackedStore.of(self.settings, self.views)

    def close(self) -> None:
        """Give back the connections to Redis."""
        opened = self.__dict__.pop("_feast", None)
        if opened is not None:
            opened._get_provider().online_store.packed(opened.config).close()
        if (online := self.__dict__.pop("online", None)) is not None:
            online.close()

    @contextlib.contextmanager
    def _applied(self) -> Iterator[None]:
        self._feast  # noqa: B018  opened here, so that Feast is imported as `_import_feast` wants it
        from feast.errors import FeastObjectNotFoundException, PushSourceNotFoundException  # noqa: PLC0415

        try:
            yield
        except (FeastObjectNotFoundException, PushSourceNotFoundException) as error:
            raise Unavailable(
                f"the feature store was not set up: {error}", remedy="run kairos features apply"
            ) from error


def _import_feast() -> None:
    """Import Feast without what its import does to others.

    It sets two variables that switch every later `prometheus_client` of this process and of its children to files
    shared between processes. Here the client is imported first, which settles its mode, and the variables are put back.
    """
    quiet_libraries()
    import prometheus_client  # noqa: F401, PLC0415

    names = ("PROMETHEUS_MULTIPROCESS_DIR", "PROMETHEUS_MULTIPROC_DIR")
    before = {name: os.environ.get(name) for name in names}
    import feast.metrics  # noqa: F401, PLC0415  Feast's door

    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)


def _column(named: Resolved) -> pl.Expr:
    """One feature's column of what was read under its own name, or of a list one element."""
    column = pl.col(named.ref.base)
    if named.ref.index is None:
        return column.cast(column_type(named.feature))
    return column.list.get(named.ref.index, null_on_oob=True).cast(pl.Float32)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Feast prints, draws progress bars and triggers a deprecation inside ibis: nothing its caller could act on."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message=r"fetch_arrow_table\(\) is deprecated", category=DeprecationWarning)
        yield

"""The one door to Feast: definitions, point-in-time retrieval, materialisation, push and online reads.

Nothing here imports Feast before it is needed: `import feast` costs seconds and 200 MB.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import redis.exceptions
import yaml

from features import offline_files as files
from features.compute import all_views
from features.kernel import clock
from features.kernel.card import column_name
from features.kernel.discover import pick
from features.kernel.errors import NotFound, Unavailable
from features.kernel.settings import Settings, quiet_libraries
from features.vectors import Vectors
from features.view import FeatureView, push_source

__all__ = ["FeatureStore"]

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
        with _quiet(), _redis_errors():
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

    def backfill(self, events: pl.DataFrame, spine: pl.DataFrame) -> dict[str, int]:
        """Compute every view over the spine and write it offline; the same spine again changes nothing.

        Args:
            events: columns `features.frames.EVENT_SCHEMA`.
            spine: `customer_id`, `as_of`.

        Returns:
            Rows written by view; customers with nothing known at an instant have none.
        """
        files.prepare(self.settings.offline, self.views)
        written = dict.fromkeys(self.views, 0)
        for part in spine.unique().sort("as_of", "customer_id").iter_slices(SPINE_AT_ONCE):
            frames = {name: view.aggregate(events, part) for name, view in self.views.items()}
            for name, rows in files.write(self.settings.offline, frames, self.views).items():
                written[name] += rows
        return written

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
        dtypes = {column_name(ref): dtype for ref, dtype in _checked(refs, self.views).items()}
        files.prepare(self.settings.offline, self.views)
        rows = spine.select("customer_id", pl.col("as_of").cast(pl.Datetime("us", "UTC")))
        entities = rows.unique().rename({"as_of": "event_timestamp"}).to_pandas()
        with _quiet(), self._applied():
            job = self._feast.get_historical_features(entity_df=entities, features=list(refs), full_feature_names=True)
            found = pl.DataFrame(job.to_arrow())
        found = found.select(
            "customer_id",
            pl.col("event_timestamp").cast(pl.Datetime("us", "UTC")).alias("as_of"),
            *(pl.col(name).cast(dtype) for name, dtype in dtypes.items()),
        )
        return rows.join(found, on=["customer_id", "as_of"], how="left", maintain_order="left")

    # -- online ----------------------------------------------------------------------------------------------------

    def materialize(self, as_of: datetime) -> dict[str, int]:
        """Load each customer's latest offline row as of an instant, within the view's TTL, into Redis.

        Returns:
            Customers by view.

        Raises:
            Unavailable: Redis cannot be reached, or the features were not applied.
        """
        counts = {}
        for view in self.views.values():
            with _quiet(), self._applied(), _redis_errors():
                self._feast.materialize(start_date=as_of - view.ttl, end_date=as_of, feature_views=[view.name])
            counts[view.name] = files.latest_rows(self.settings.offline, as_of, view)
        return counts

    def push(self, frames: Mapping[str, pl.DataFrame]) -> None:
        """Write view frames (as `compute` gives them) online. An older row never replaces a newer one.

        Raises:
            Unavailable: Redis cannot be reached, or the features were not applied.
        """
        for name, frame in frames.items():
            rows = files.rows_of(self.views[name], frame)
            if not rows.is_empty():
                with self._applied(), _redis_errors():
                    self._feast.push(push_source(name), rows.to_pandas())

    def read_vectors(self, ids: Sequence[str], refs: Sequence[str]) -> Vectors:
        """The online features of these customers; see `features.vectors.Vectors`.

        Raises:
            NotFound: a reference names no feature.
            Unavailable: Redis cannot be reached, or the features were not applied.
        """
        _checked(refs, self.views)
        if not ids or not refs:
            return Vectors([[] for _ in ids], np.full(len(ids), np.nan), np.zeros(len(ids), dtype=np.bool_))
        with self._applied(), _redis_errors():
            response = self._feast.get_online_features(
                features=list(refs), entity_rows={"customer_id": list(ids)}, full_feature_names=True
            ).proto
        by_name = dict(zip(response.metadata.feature_names.val, response.results, strict=True))
        columns = [by_name[column_name(ref)] for ref in refs]
        values = [[_value(each) for each in column.values] for column in columns]
        stamps = np.array([[t.seconds + t.nanos / 1e9 for t in column.event_timestamps] for column in columns])
        written = np.where(stamps > 0, stamps, np.nan)
        known = np.asarray(~np.isnan(written).all(axis=0))
        oldest = np.min(np.where(np.isnan(written), np.inf, written), axis=0)
        age = np.where(known, clock.now().timestamp() - oldest, np.nan)
        return Vectors([list(row) for row in zip(*values, strict=True)], age, known)

    def close(self) -> None:
        """Give back the connections to Redis."""
        opened = self.__dict__.pop("_feast", None)
        client = getattr(opened._get_provider().online_store, "_client", None) if opened else None
        if client is not None:
            client.close()

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


def _checked(refs: Sequence[str], views: Mapping[str, FeatureView]) -> dict[str, type[pl.DataType]]:
    known = {
        f"{view.name}:{each.name}": pl.String if each.dtype == "string" else pl.Float32
        for view in views.values()
        for each in view.features
    }
    for ref in refs:
        view, _, name = ref.partition(":")
        names = pick(dict(views), view, field="feature").features
        if ref not in known:
            choice = ", ".join(each.name for each in names)
            raise NotFound("is no feature", field="feature", value=ref, remedy=f"{view} has {choice} (not {name})")
    return {ref: known[ref] for ref in refs}


def _value(value: Any) -> float | str | None:
    kind = value.WhichOneof("val")
    return None if kind is None else getattr(value, kind)


@contextlib.contextmanager
def _redis_errors() -> Iterator[None]:
    try:
        yield
    except redis.exceptions.RedisError as error:
        remedy = "check KAIROS_REDIS_URL, or start Kairos with `kairos up`, which brings its own"
        raise Unavailable(f"the online store cannot be reached: {error}", remedy=remedy) from error


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

"""What `feast -c features apply` finds: the same objects that `FeatureStore.apply()` registers.

Feast's command imports a repository's files as top-level modules, so a view imported here and there would be two views.
Hence every other file is hidden by `.feastignore`, and this one takes everything through the package `features`.
"""

from __future__ import annotations

from features.entities import feast_objects
from features.kernel.settings import Settings
from features.repository import home_of

# Feast looks at a module's attributes one by one and does not look into lists.
globals().update(feast_objects(home_of(Settings.from_env()) / "offline"))

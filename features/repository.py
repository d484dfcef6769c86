"""Where Feast's registry lies: in the home of Kairos, replaced atomically. Only Feast imports this module."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from feast.infra.registry.file import FileRegistryStore

from features.kernel.settings import Settings

__all__ = ["REPOSITORY", "HomeRegistryStore", "home_of"]

REPOSITORY = Path(__file__).parent


def home_of(settings: Settings) -> Path:
    """The home of Kairos as an absolute path.

    Feast's command changes into the repository before it reads it; a relative home is relative to where Kairos is
    started, which is the folder above.
    """
    base = REPOSITORY.parent if Path.cwd() == REPOSITORY else Path.cwd()
    return (base / settings.home).absolute()


class HomeRegistryStore(FileRegistryStore):  # type: ignore[misc]
    """A registry file; a relative path is relative to `KAIROS_HOME`. A reader never sees a file half written."""

    _filepath: Path

    def __init__(self, registry_config: Any, repo_path: Path) -> None:
        super().__init__(registry_config, home_of(Settings.from_env()))

    def _write_registry(self, registry_proto: Any) -> None:
        target = self._filepath
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".registry-")
        os.close(descriptor)
        self._filepath = Path(name)
        try:
            super()._write_registry(registry_proto)
            Path(name).replace(target)
        finally:
            self._filepath = target
            Path(name).unlink(missing_ok=True)

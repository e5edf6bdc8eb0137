"""Loads the models of the server, and notices new versions of them on disk."""

from __future__ import annotations

import time
from pathlib import Path

from megalabel.errors import MegalabelError
from megalabel.models.find import find_model
from megalabel.serving.served import ServedModel, version_of
from megalabel.serving.settings import Settings
from megalabel.storage.manifest import NAME

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0  # seconds until a version that could not be loaded is tried again


class Models:
    """The newest versions of the models, as far as they can be loaded.

    Args:
        settings: names and folders of the models.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.loaded = {name: self._load(name, run) for name, run in settings.runs.items()}
        self._seen = {name: _identity(run) for name, run in settings.runs.items()}
        self._pause, self._not_before = 0.0, 0.0

    def __call__(self) -> list[ServedModel]:
        """The models, the default one first."""
        return list(self.loaded.values())

    def renew(self, *, now: bool = False) -> list[str]:
        """Loads the models that have changed on disk; returns a line for each that is new.

        A model that cannot be loaded, such as one that is still being copied, stays as it is and is tried again.

        now: whether failed attempts are repeated at once.
        """
        if not now and time.monotonic() < self._not_before:
            return []
        changed, failed = [], False
        for name, run in self.settings.runs.items():
            identity = _identity(run)
            if identity == self._seen[name]:
                continue
            try:
                old = self.loaded[name].version
                if version_of(run) != old:
                    self.loaded[name] = self._load(name, run)
                    changed.append(f"{name} {old} -> {self.loaded[name].version}")
                self._seen[name] = identity
            except (MegalabelError, OSError, MemoryError) as error:
                failed = True
                self.settings.log.event("new version not loaded", model=name, error=str(error))
        self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE) if failed else 0.0
        self._not_before = time.monotonic() + self._pause
        return changed

    def _load(self, name: str, run: Path) -> ServedModel:
        begun = time.monotonic()
        given = self.settings
        found = ServedModel.load(name, run, device=given.device, trust=given.trust, mapped=given.mapped)
        found.warm_up()
        seconds = round(time.monotonic() - begun, 1)
        facts = {"version": found.version, "labels": len(found.model.label_texts), "seconds": seconds}
        self.settings.log.event("loaded", model=name, **facts)
        return found


def _identity(run: Path) -> tuple[int, ...]:
    """What changes whenever the manifest of a model is replaced; () while there is none."""
    try:
        found = (find_model(run)[0] / NAME).stat()
    except (MegalabelError, OSError):
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size

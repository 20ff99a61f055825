"""The champion as it is served: loaded once, replaced in one assignment when its alias moves.

What serves calls ``look`` between requests or in a thread of its own; requests read ``served`` and never wait for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from grandmodel.registry.moves import Move
from grandmodel.registry.standing import Standing

Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Served(Generic[Loaded]):
    """A verified champion, the move that made it one, and what was loaded from its bundle."""

    move: Move
    loaded: Loaded


class Following(Generic[Loaded]):
    """Keeps the champion of one environment loaded.

    Args:
        registry: the registries; opened by this process.
        environment: whose champion is served.
        load: makes what serves from the folder of a verified bundle.

    Raises:
        RegistryError: there is no champion that may be served; see ``Standing.champion``.
    """

    def __init__(self, registry: Standing, environment: str, load: Callable[[Path], Loaded]) -> None:
        self._registry = registry
        self._environment = environment
        self._load = load
        self._served = self._loaded()

    @property
    def served(self) -> Served[Loaded]:
        """Return the champion as of the last look that raised nothing."""
        return self._served

    def look(self) -> bool:
        """Take the present champion up if the alias has moved; return whether it had.

        The other one is verified and loaded before it takes the place, from every byte of its bundle. Where the alias
        stands as before, its last day is all that is looked at, so that a look costs one query.

        Raises:
            RegistryError: the champion may not be served, or MLflow does not answer. ``served`` is unchanged; whether
                to go on with it is for the caller to say.
        """
        if self._registry.champion_alias(self._environment) == self._served.move.version:
            self._registry.require_in_date(self._served.move)
            return False
        self._served = self._loaded()
        return True

    def _loaded(self) -> Served[Loaded]:
        champion, folder = self._registry.champion(self._environment)
        return Served(champion, self._load(folder))

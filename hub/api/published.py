"""What is published while a process runs is taken up by it, without a restart: asked every second.

A project is a value: a new one takes the old one's place, and whoever works with the old one ends what he does with it.
What hub.yaml says stays as it was at the start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from hub import registry
from hub.log import get_logger
from hub.project import newer, not_used, numbers_in_force, renewed, revisions_in_force

if TYPE_CHECKING:
    from hub.pipe.runtime import Runtime
    from hub.pipe.world import World
    from hub.project.revisions import Revision
    from hub.wiring import Hub

__all__ = ["Published"]

EVERY = 1.0
"""Seconds between two looks."""


class Published:
    """The look of one process. :meth:`watch` runs beside the servers."""

    def __init__(self, hub: Hub, runtime: Runtime | None) -> None:
        """Take the parts; nothing is looked at yet."""
        self._hub, self._runtime = hub, runtime
        self._refused: Mapping[tuple[str, str], int] = {}
        self._log = get_logger("project")

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - a store that is away says so where it is needed
                self._log.debug("project.not_seen", error=str(error))
            await self._hub.clock.sleep(EVERY)

    async def look(self) -> bool:
        """Take up what was published since the last look; say whether there was anything."""
        hub = self._hub
        numbers = await hub.store.read(numbers_in_force)
        if not newer(hub.project, numbers) or numbers == self._refused:
            return False
        found = await hub.store.read(revisions_in_force)
        world = await asyncio.to_thread(self._with, hub.world, found)
        self._refused = {key: one.number for key, one in found.items()} if world.unfit else {}
        before, hub.project, hub.world = hub.project, world.project, world
        if self._runtime is not None:
            self._runtime.take_up(world)
        changed = {f"{kind}:{name}": number for (kind, name), number in hub.project.revisions.items()
                   if before.revisions.get((kind, name)) != number}  # fmt: skip
        if world.unfit:
            self._log.error("project.not_used", syncs=sorted(world.unfit), why=world.why_unfit)
        else:
            self._log.info("project.taken_up", revisions=changed)
        return True

    def _with(self, world: World, found: Mapping[tuple[str, str], Revision]) -> World:
        """Return the world with what is in force, or the one that leaves alone what this program cannot use."""
        try:
            project = renewed(world.project, self._hub.settings.project_dir, registry.specs(), found)
        except Exception as error:  # noqa: BLE001 - whatever an older program meets: it must not go on with the old text
            unfit = not_used(world.project, found)
            why = f"what was published cannot be used by this process, start it with the program that published it: {type(error).__name__}: {error}"
            return replace(world, unfit=unfit, why_unfit=why)
        return replace(world, project=project, unfit=frozenset(), why_unfit="")

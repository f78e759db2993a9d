"""A token shared by every worker of the cluster: sealed in the store, renewed by one of them at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from hub.clock import SECOND, Clock
from hub.metrics import Metrics
from hub.pipe.jobs import Lease, lease, release, renew
from hub.sdk.secret import Secret
from hub.sdk.token import Given
from hub.store.engine import Store, Tx
from hub.store.secrets import StoredSecret, get_secret, swap_secret
from hub.vault import Vault

__all__ = ["TOKEN", "StoredToken"]

TOKEN = "hub.token."  # noqa: S105 - part of a name, not a token
"""What begins the names of the secrets that vendors gave."""

LEASE = 12.0
"""Seconds after which a renewal whose worker died may be begun by another; it is kept while the vendor is asked."""
LOOK = 0.1
"""Seconds between two looks while somebody else renews."""


@dataclass(frozen=True, slots=True)
class StoredToken:
    """The token of one credential; ``name`` is that of the secret, other credentials have another.

    ``metrics``: where its renewals are counted, under the name of the ``connection``.
    """

    store: Store
    vault: Vault
    clock: Clock
    holder: str
    name: str
    connection: str = ""
    metrics: Metrics = field(default_factory=Metrics, compare=False, repr=False)

    async def renewed(self, after: int, fetch: Callable[[], Awaitable[tuple[Secret, float | None]]]) -> Given:
        """Return a token that lives and whose version is above ``after``.

        Whoever renews asks the vendor; the others wait for it. Raises what ``fetch`` raises.
        """
        while True:
            held, known = await self.store.run(self._begin, after)
            if known is not None:
                return known
            if held is not None:
                break
            await self.clock.sleep(LOOK)
        result = "failed"
        keeper = asyncio.ensure_future(self._keep(held))
        try:
            value, life = await fetch()
            self.clock.crash_point("token.given")
            version = await self.store.run(self._save, value, life)
            result = "ok"
        finally:
            keeper.cancel()
            self.metrics.add("hub_token_refresh_total", self.connection, result)
            await self.store.run(release, held)
        return Given(value, version, life)

    async def _keep(self, held: Lease) -> None:
        """Keep the right to renew; who lost it after all goes on asking: a token too many does no harm."""
        while True:
            await self.clock.sleep(LEASE / 3)
            with contextlib.suppress(Exception):  # the store was away, or somebody else has it by now
                await self.store.run(renew, held, LEASE)

    def _begin(self, tx: Tx, after: int) -> tuple[Lease | None, Given | None]:
        """Return the token somebody renewed meanwhile, or the right to renew it, or nothing: somebody is at it."""
        held = lease(tx, self.name, "token", f"{self.holder}:{id(self)}", LEASE)
        # read after the lease was taken: somebody may have saved one just before it was free
        found = get_secret(tx, self.vault, self.name)
        given = _living(tx, found) if found is not None and found.version > after else None
        if held is not None and given is not None:
            release(tx, held)
        return held, given

    def _save(self, tx: Tx, value: Secret, life: float | None) -> int:
        found = get_secret(tx, self.vault, self.name)
        expires = None if life is None else tx.now + int(life * SECOND)
        sealed = value.reveal().encode()
        saved = swap_secret(
            tx, self.vault, self.name, sealed, after=found.version if found else 0, expires=expires
        )
        if saved is not None:
            return saved
        return found.version + 1 if found else 1  # somebody was quicker: ours is good too, theirs comes next


def _living(tx: Tx, found: StoredSecret) -> Given | None:
    value = Secret(found.value.decode())
    if found.expires is None:
        return Given(value, found.version, None)
    left = (found.expires - tx.now) / SECOND
    return Given(value, found.version, left) if left > 0 else None

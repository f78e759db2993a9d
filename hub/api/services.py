"""What the API needs from the rest of the hub, handed in as callables."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hub.access.gate import Caller
from hub.access.viewer import Viewer
from hub.crm.external import WriteAnswer, WriteRefused
from hub.model.record import Scope
from hub.project.values import Project

__all__ = ["Services"]


@dataclass(frozen=True, slots=True)
class Services:
    """Callables of the running hub.

    ``project``: the project in force. ``read``: ``store.read``. ``write_record``: takes an ExternalWrite or a
    RecordPatch: record, debts and act in one transaction; returns and raises as :func:`hub.api.writer.record_writer`
    says. ``gate``: :meth:`hub.access.gate.Gate.admit`. ``ready``: check name -> passed; ``notes``: what people should know
    besides. ``cursor_key``: secret bytes that sign page cursors, the same in every process of one store. ``log``: a structlog
    logger. ``metrics``: the page of ``/metrics``; None: there is none. ``scope``: of the caller that was let in
    (:func:`hub.api.admit.admitted`).
    """

    project: Callable[[], Project]
    read: Callable[..., Awaitable[Any]]
    write_record: Callable[..., Awaitable[WriteAnswer | WriteRefused]]
    gate: Callable[[Caller], Awaitable[Viewer]]
    ready: Callable[[], Awaitable[Mapping[str, bool]]]
    cursor_key: bytes
    log: Any
    metrics: Callable[[], Awaitable[bytes]] | None = None
    notes: Callable[[], Awaitable[Sequence[str]]] | None = None
    scope: Scope = Scope.ALL

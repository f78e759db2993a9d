"""The sandbox itself: routes, dials in front of every call, late operations, the control door."""

from __future__ import annotations

import asyncio
import http
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import httpx
from fastapi import Body, FastAPI, HTTPException
from pydantic import ValidationError
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Router
from starlette.types import Message, Receive, Scope, Send

from hub.clock import SECOND, Clock, SystemClock
from hub.sdk.sandbox.dials import Dials, NextFault
from hub.sdk.sandbox.ledger import Effect, EffectLedger, Json

__all__ = ["SECOND", "Clock", "ConnectionCutError", "Sandbox", "SandboxClock", "html_page"]


class ConnectionCutError(Exception):
    """The connection ends here; ``partial`` is an answer of which half is sent first."""

    def __init__(self, partial: Response | None = None) -> None:
        """Take the answer to break off in the middle, or None to answer nothing."""
        super().__init__("the sandbox cut the connection")
        self.partial = partial


class SandboxClock:
    """The hub's clock plus an offset that only the control door moves."""

    def __init__(self, clock: Clock) -> None:
        """Start without an offset."""
        self._clock = clock
        self._offset = 0

    def now(self) -> int:
        """Return µs since the epoch on the sandbox's own time."""
        return self._clock.now() + self._offset

    def advance(self, seconds: float) -> int:
        """Move on by ``seconds`` (never back) and return the new time.

        Raises:
            ValueError: ``seconds`` is negative.
        """
        if seconds < 0:
            raise ValueError("the sandbox clock never goes back")
        self._offset += round(seconds * SECOND)
        return self.now()

    async def sleep(self, seconds: float) -> None:
        """Wait real (or simulated) seconds."""
        await self._clock.sleep(seconds)

    def token(self, size: int) -> bytes:
        """Return ``size`` random bytes."""
        return self._clock.token(size)


class _Transport(httpx.ASGITransport):
    """Requests in this process; a cut connection becomes the error a socket would give."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await super().handle_async_request(request)
        except ConnectionCutError as cut:
            raise httpx.ReadError(str(cut), request=request) from cut


class Sandbox(ABC):
    """A stand-in for one vendor: subclass it with routes, credentials and a state rebuilt from effects."""

    name: ClassVar[str]
    """The connector's name, as in ``hub sandbox NAME``."""

    def __init__(
        self, *, clock: Clock | None = None, state: Path | None = None, dials: Dials | None = None
    ) -> None:
        """Stand on ``clock`` (default: the machine's); ``state`` is the journal a restart goes on from."""
        self.clock = SandboxClock(clock or SystemClock())
        self.dials = dials or Dials()
        self._file = state
        self._ledger = EffectLedger(state)
        behind = max((effect.at for effect in self._ledger), default=0) - self.clock.now()
        self.clock.advance(
            max(0, behind) / SECOND
        )  # a restart must not undo a virtual clock that was moved on
        self._late: list[tuple[int, Callable[[], object]]] = []
        self._router = Router([*self.routes(), Mount("/control", self._control())])

    @abstractmethod
    def routes(self) -> Sequence[BaseRoute]:
        """Return the vendor's own routes."""

    @abstractmethod
    def credentials(self, base_url: str) -> Mapping[str, str]:
        """Return the settings a client needs to reach this sandbox at ``base_url``."""

    @abstractmethod
    def rebuild(self, effects: Sequence[Effect]) -> None:
        """Forget all state, then take it from ``effects``; the fresh seed when there are none."""

    def extend_control(self, app: FastAPI) -> None:
        """Add the vendor's own control routes."""

    def refuse(self, fault: str, op: str) -> Response | None:
        """Return the answer of a fault that applies nothing, None when ``fault`` is no such fault."""
        del op  # every operation gets the same page
        if fault == "html_200":
            return html_page(200)
        if not fault.startswith("http_"):
            return None
        answer = html_page(int(fault.removeprefix("http_")))
        if fault == "http_429" and self.dials.retry_after:
            answer.headers["retry-after"] = str(self.dials.retry_after)
        return answer

    def replace(self, fault: str, op: str, answer: Response) -> Response:
        """Return what is answered instead of ``answer`` after the operation was applied."""
        del op  # as in refuse
        return html_page(502) if fault == "apply_then_502" else answer

    def ledger(self) -> EffectLedger:
        """Return the effects really applied so far."""
        return self._ledger

    def inject(self, fault: str, *, op: str = "", form: str = "", times: int = 1) -> None:
        """Queue a one-shot fault for the next ``times`` matching calls."""
        self.dials.next = [*self.dials.next, NextFault(fault=fault, op=op, form=form, times=times)]

    def advance(self, seconds: float) -> int:
        """Move the virtual clock on, apply what has become due, return the new time (µs)."""
        now = self.clock.advance(seconds)
        self.apply_due()
        return now

    def apply_due(self) -> None:
        """Apply the late operations whose time has come, in the order of their times."""
        now = self.clock.now()
        due = sorted((item for item in self._late if item[0] <= now), key=lambda item: item[0])
        self._late = [item for item in self._late if item[0] > now]
        for _, apply in due:
            apply()
        if due:
            self._ledger.sync()

    def reset(self) -> None:
        """Return to the fresh seed: effects, faults and the journal are forgotten, the clock stays."""
        self._ledger.close()
        if self._file is not None:
            self._file.unlink(missing_ok=True)
        self._ledger = EffectLedger(self._file)
        self._late.clear()
        self.dials = type(self.dials)()
        self.rebuild(())

    def transport(self) -> httpx.AsyncBaseTransport:
        """Return an httpx transport that reaches this sandbox without a socket."""
        return _Transport(self)

    async def exchange(self, op: str, form: str, apply: Callable[[], Response]) -> Response:
        """Carry one authenticated call through the dials; ``apply`` does it and says what to answer.

        Raises:
            ConnectionCutError: a dial cuts the connection.
        """
        fault = self.dials.draw(op, form)
        await self._pause(self.dials.latency_ms)
        if fault == "fail_before":
            raise ConnectionCutError
        refusal = self.refuse(fault, op) if fault else None
        if refusal is not None:
            return refusal
        if fault == "apply_late":
            self._late.append((self.clock.now() + round(self.dials.late_by * SECOND), apply))
            # The timer covers real time passing; a moved clock and the next request look as well.
            asyncio.get_running_loop().call_later(self.dials.late_by + 0.001, self.apply_due)
            raise ConnectionCutError
        answer = apply()
        self._ledger.sync()
        await self._pause(self.dials.answer_latency_ms)
        if fault == "apply_then_hang":
            await self.clock.sleep(self.dials.hang_seconds)
            raise ConnectionCutError
        if fault in ("apply_then_drop", "cut_body"):
            raise ConnectionCutError(answer if fault == "cut_body" else None)
        return self.replace(fault, op, answer)

    async def _pause(self, milliseconds: float) -> None:
        if milliseconds:
            await self.clock.sleep(milliseconds / 1000)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI): late operations first, then the outage, then the routes."""
        if scope["type"] != "http":
            return
        self.apply_due()

        async def durably(message: Message) -> None:
            self._ledger.sync()  # what an answer reports has reached the disk, the control door's effects too
            await send(message)

        try:
            if self.dials.down and not scope["path"].startswith("/control"):
                if self.dials.down != "503":
                    raise ConnectionCutError
                await html_page(503)(scope, receive, send)
            else:
                await self._router(scope, receive, durably)
        except ConnectionCutError as cut:
            await _cut(cut, send)

    def _control(self) -> FastAPI:
        app = FastAPI(
            title=f"{self.name} sandbox: control",
            docs_url="/docs",
            openapi_url="/openapi.json",
            redoc_url=None,
        )

        @app.get("/", summary="Where the description of this API is")
        async def index() -> dict[str, str]:
            return {"openapi": "/control/openapi.json", "docs": "/control/docs", "ledger": "/control/ledger"}

        @app.get("/ledger", summary="Effects really applied, oldest first")
        async def ledger(
            after: int = 0, by: str | None = None, form: str | None = None
        ) -> list[dict[str, Json]]:
            found = self._ledger.effects(by=by, form=form)
            return [effect.shown() for effect in found if effect.seq > after]

        @app.patch("/dials", summary="Set the named dials, leave the others; answers all of them")
        async def turn(
            change: Annotated[dict[str, Json], Body(examples=[{"apply_then_drop": 0.3}])],
        ) -> dict[str, Json]:
            self.dials = _checked(type(self.dials), {**self.dials.model_dump(), **change})
            return self.dials.model_dump()

        @app.get("/dials", response_model=type(self.dials), summary="All dials")
        async def dials() -> Dials:
            return self.dials

        @app.post("/clock", summary="Move the virtual clock on; answers µs since the epoch")
        async def move(advance_seconds: Annotated[float, Body(embed=True, ge=0)]) -> dict[str, int]:
            return {"now": self.advance(advance_seconds)}

        @app.post("/reset", summary="Back to the fresh seed")
        async def reset() -> dict[str, bool]:
            self.reset()
            return {"ok": True}

        self.extend_control(app)
        return app


def _checked(model: type[Dials], values: Mapping[str, Json]) -> Dials:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise HTTPException(
            422, error.errors(include_url=False, include_context=False, include_input=False)
        ) from error


def html_page(status: int) -> Response:
    """Answer an error page as a gateway does: HTML, not the vendor's own shape."""
    title = http.HTTPStatus(status).phrase
    return HTMLResponse(
        f"<html><head><title>{status} {title}</title></head><body>{title}</body></html>", status
    )


async def _cut(cut: ConnectionCutError, send: Send) -> None:
    """Abort the socket under ``send``; in process, where there is none, let the error go to the transport."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        raise cut
    if cut.partial is not None:
        body = bytes(cut.partial.body)
        start: Message = {"type": "http.response.start", "status": 200, "headers": cut.partial.raw_headers}
        await send(start)
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
    transport.abort()
    await asyncio.sleep(0)  # lets the server notice, so that it does not answer 500 into the void

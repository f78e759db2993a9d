"""Spans of OpenTelemetry, an optional extra: one record can be followed from the door to the vendor, across processes.

We import nothing of OpenTelemetry unless ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or ``..._TRACES_ENDPOINT``) is set. What
is carried from process to process is the W3C ``traceparent``: in the event on the bus, then in the act.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

__all__ = ["ENDPOINTS", "OpenTelemetry", "Span", "Tracer", "open_tracer"]

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""One of these variables says that spans are wanted, and where."""
SERVICE: Final = "integration-hub"
_NAMED: Final = ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES")


class Span(Protocol):
    """Something that takes time. ``traceparent``: what makes another span its child, in any process."""

    @property
    def traceparent(self) -> str:
        """The W3C header's value."""
        ...

    def end(self, error: str = "") -> None:
        """It is over; ``error``: the name of what went wrong, never a message."""
        ...


class Tracer(Protocol):
    """Where spans are begun."""

    def start(self, name: str, parent: str = "", **attributes: str) -> Span:
        """Begin a span, the child of ``parent`` (a traceparent) or the first of a trace. No value may be an attribute."""
        ...

    def close(self) -> None:
        """Send what is left."""
        ...


def open_tracer(environment: Mapping[str, str]) -> Tracer | None:
    """Return what sends spans by OTLP over HTTP; None if the environment names no place.

    Sampler, headers, service name and all else are read from the ``OTEL_`` variables as OpenTelemetry says.

    Raises:
        ImportError: a place is named, but the extra ``otel`` is not installed.
    """
    if not any(environment.get(name) for name in ENDPOINTS):
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - as above
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - as above
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above

    named = any(environment.get(name) for name in _NAMED)
    resource: dict[str, str | int] = {
        "process.pid": os.getpid(),
        **({} if named else {"service.name": SERVICE}),
    }
    provider = TracerProvider(resource=Resource.create(resource))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OpenTelemetry(provider)


class OpenTelemetry:
    """Spans of a provider of our own: nothing global is set, so two hubs in one process do not meet."""

    def __init__(self, provider: TracerProvider) -> None:
        """Take a provider; it is shut down by :meth:`close`."""
        from opentelemetry import trace  # noqa: PLC0415 - an extra
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        self._provider, self._trace = provider, trace
        self._tracer = provider.get_tracer("hub")
        self._context = TraceContextTextMapPropagator()

    def start(self, name: str, parent: str = "", **attributes: str) -> Span:
        """Begin a span; a parent that is no traceparent is left out."""
        given = {"traceparent": parent} if parent else {}
        # an empty context, not the current one: what a span belongs to is said, never guessed
        context = self._context.extract(
            given, context=self._trace.set_span_in_context(self._trace.INVALID_SPAN)
        )
        return _Span(
            self._tracer.start_span(name, context, attributes={f"hub.{k}": v for k, v in attributes.items()}),
            self,
        )

    def close(self) -> None:
        """Send what is left and end the sender's thread."""
        self._provider.shutdown()

    def inject(self, span: Any) -> str:
        """Return the traceparent of a span."""
        carrier: dict[str, str] = {}
        self._context.inject(carrier, self._trace.set_span_in_context(span))
        return carrier.get("traceparent", "")

    def failed(self, span: Any, error: str) -> None:
        """Mark a span as failed."""
        span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, error))


class _Span:
    """A span of the SDK as :class:`Span` says."""

    __slots__ = ("_span", "_tracer", "traceparent")

    def __init__(self, span: Any, tracer: OpenTelemetry) -> None:
        self._span, self._tracer = span, tracer
        self.traceparent = tracer.inject(span)

    def end(self, error: str = "") -> None:
        if error:
            self._tracer.failed(self._span, error)
        self._span.end()

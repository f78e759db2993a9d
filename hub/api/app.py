"""The application: routes, problem documents for every refusal, health, OpenAPI and its page."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from hub.api import openapi
from hub.api.docs import docs_page
from hub.api.metadata import metadata_routes
from hub.api.problem import ApiProblem, ProblemKind, problem_response
from hub.api.records import KINDS_BY_PATH, record_routes
from hub.api.services import Services
from hub.api.wire import encode
from hub.errors import HubError

__all__ = ["create_app"]

VERSION = "1"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format, as :mod:`hub.api.scrape` writes it."""

_BY_STATUS = {
    404: ProblemKind.NOT_FOUND,
    405: ProblemKind.BAD_METHOD,
    406: ProblemKind.NOT_ACCEPTABLE,
    413: ProblemKind.TOO_LARGE,
    415: ProblemKind.BAD_MEDIA,
}


def create_app(services: Services, *, records: bool = True) -> FastAPI:
    """Return the ASGI application over these services; without ``records`` it tells of its health alone.

    The webhook doors are another application on another listener: :mod:`hub.api.hooks`.
    """
    app = FastAPI(
        title="hub", version=VERSION, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    _add_refusals(app, services)
    _add_health(app, services)
    if records:
        for path, kind in KINDS_BY_PATH.items():
            app.include_router(record_routes(services, path, kind))
        app.include_router(metadata_routes(services, KINDS_BY_PATH))
        _add_description(app, services)
    return app


def _add_health(app: FastAPI, services: Services) -> None:
    @app.get("/healthz", tags=["health"], summary="The process lives")
    async def healthz() -> Response:
        return Response(encode({"status": "ok"}), media_type="application/json")

    @app.get("/readyz", tags=["health"], summary="The hub takes requests")
    async def readyz() -> Response:
        checks = dict(await services.ready())
        ok = all(checks.values())
        notes = [] if services.notes is None else list(await services.notes())
        body = {"status": "ready" if ok else "not ready", "checks": checks, "notes": notes}
        return Response(encode(body), status_code=200 if ok else 503, media_type="application/json")

    if (page := services.metrics) is not None:

        @app.get("/metrics", include_in_schema=False)
        async def metrics() -> Response:
            return Response(await page(), headers={"Content-Type": METRICS_TYPE})


def _add_description(app: FastAPI, services: Services) -> None:
    described: tuple[str, dict[str, Any]] | None = None

    def describe() -> dict[str, Any]:
        nonlocal described
        project = services.project()
        if described is None or described[0] != project.digest:  # custom fields change while the hub runs
            made = openapi.complete(get_openapi(title=app.title, version=app.version, routes=app.routes))
            openapi.name_custom_fields(
                made, {path: project.kind(kind.name) for path, kind in KINDS_BY_PATH.items()}
            )
            described = (project.digest, made)
        return described[1]

    app.openapi = describe  # type: ignore[method-assign]  # the framework's documented way to extend the document

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi_json() -> Response:
        return Response(encode(describe()), media_type="application/json")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return Response(docs_page(describe()), media_type="text/html", headers=headers)


def _add_refusals(app: FastAPI, services: Services) -> None:
    @app.exception_handler(ApiProblem)
    async def refused(request: Request, problem: ApiProblem) -> Response:
        fields = [field for field, _ in problem.errors]
        services.log.info(
            "api.refused",
            problem=problem.kind.slug,
            method=request.method,
            path=request.url.path,
            fields=fields,
        )
        return problem_response(problem)

    @app.exception_handler(HTTPException)
    async def framework_refused(_request: Request, error: HTTPException) -> Response:
        kind = _BY_STATUS.get(error.status_code, ProblemKind.BAD_PARAMETER)
        return problem_response(ApiProblem(kind, headers=error.headers))

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, _error: RequestValidationError) -> Response:
        return problem_response(ApiProblem(ProblemKind.BAD_PARAMETER))

    @app.exception_handler(HubError)
    async def unavailable(request: Request, error: HubError) -> Response:
        services.log.error("api.unavailable", path=request.url.path, error=str(error))
        return problem_response(ApiProblem(ProblemKind.UNAVAILABLE, headers={"Retry-After": "5"}))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        services.log.error("api.failed", path=request.url.path, error=type(error).__name__, exc_info=error)
        return problem_response(ApiProblem(ProblemKind.INTERNAL))

"""Answers in the vendor's own form: problem documents (11), JSON with its headers, empty 204s (0)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import orjson
from starlette.responses import Response

from hub.sdk.sandbox import Json

__all__ = ["GLOSSARY", "ProblemError", "answer", "problem", "title_of"]

DOCS = "https://mailchimp.com/developer/marketing/docs/errors/"
SCHEMA = "https://us19.api.mailchimp.com/schema/3.0/Lists/Members/Instance.json"

GLOSSARY: Mapping[str, tuple[int, str]] = {
    "BadRequest": (400, "Your request could not be processed."),
    "InvalidAction": (400, "The action requested was not valid for this resource."),
    "InvalidResource": (400, "The resource submitted could not be validated."),
    "JSONParseError": (400, "We encountered an unspecified JSON parsing error."),
    "MemberExists": (400, "is already a list member. Use PUT to insert or update list members."),
    "MemberInComplianceState": (
        400,
        "is in a compliance state due to unsubscribe, bounce, or compliance review and cannot be subscribed.",
    ),
    "ForgottenEmailNotSubscribed": (
        400,
        "was permanently deleted and cannot be re-imported. The contact must re-subscribe to get back on the list.",
    ),
    "APIKeyMissing": (401, "Your request did not include an API key."),
    "APIKeyInvalid": (
        401,
        "Your API key may be invalid, or you've attempted to access the wrong datacenter.",
    ),
    "Forbidden": (403, "You are not permitted to access this resource."),
    "UserDisabled": (403, "This account has been disabled."),
    "WrongDatacenter": (403, "The API key provided is linked to a different data center."),
    "ResourceNotFound": (404, "The requested resource could not be found."),
    "MethodNotAllowed": (405, "The requested method and resource are not compatible."),
    "ResourceNestingTooDeep": (414, "The sub-resource requested is nested too deeply."),
    "InvalidMethodOverride": (
        422,
        "You can only use the X-HTTP-Method-Override header with the POST method.",
    ),
    "RequestedFieldsInvalid": (422, "The fields requested from this resource are invalid."),
    "UpgradeRequired": (426, "Your request was made via HTTP."),
    "TooManyRequests": (429, "You have exceeded the limit of 10 simultaneous connections."),
    "InternalServerError": (500, "An unexpected internal error has occurred."),
    "ComplianceRelated": (503, "This method has been disabled."),
}
"""Glossary name -> HTTP status and the text that comes with it (3.4, 11)."""
TITLES = {"UpgradeRequired": "426 Unknown", "JSONParseError": "JSON Parse Error"}


def title_of(name: str) -> str:
    """Return a glossary name as the body's title writes it: with blanks between the words."""
    return TITLES.get(name) or re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)


class ProblemError(Exception):
    """The call is refused with a problem document. ``errors``: (field, message) pairs; ``typed``: False leaves `type` out."""

    def __init__(
        self, name: str, detail: str = "", errors: Sequence[tuple[str, str]] = (), *, typed: bool = True
    ) -> None:
        """Take the glossary name and, where the usual text does not say enough, the detail."""
        self.status, usual = GLOSSARY[name]
        super().__init__(detail or usual)
        self.title = title_of(name)
        self.errors, self.typed = tuple(errors), typed


def answer(status: int, body: Json, request_id: str) -> Response:
    """Answer a success; an empty 204 has neither body nor content type."""
    headers = {"X-Request-Id": request_id}
    if status == 204:
        return Response(b"", 204, headers)
    headers["Link"] = f'<{SCHEMA}>; rel="describedBy"'
    return Response(orjson.dumps(body), status, headers, media_type="application/json; charset=utf-8")


def problem(error: ProblemError, request_id: str, allow: str = "") -> Response:
    """Answer a refusal: RFC 7807, its `instance` the request's id; ``allow``: the methods of a 405."""
    body: dict[str, Json] = {"type": DOCS} if error.typed else {}
    body |= {"title": error.title, "status": error.status, "detail": str(error), "instance": request_id}
    if error.errors:
        body["errors"] = [{"field": field, "message": message} for field, message in error.errors]
    headers = {"X-Request-Id": request_id} | ({"Allow": allow} if allow else {})
    return Response(
        orjson.dumps(body), error.status, headers, media_type="application/problem+json; charset=utf-8"
    )

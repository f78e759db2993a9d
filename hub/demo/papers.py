"""Where the demo's CRM keeps its files: one PDF a contract, made here, served over a socket that no phone reaches."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.sdk.sandbox.serve import listening

__all__ = ["PAPERS_PORT", "Papers", "contract_pdf"]

PAPERS_PORT: Final = 9406
"""Where hub.yaml of the demo says that files lie."""
_FONT: Final = (
    "/Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /UniGB-UCS2-H /DescendantFonts [5 0 R]"
)
"""A Chinese font that readers bring along: nothing is embedded (ISO 32000-1, 9.7.5.2)."""
_GLYPHS: Final = (
    "/Type /Font /Subtype /CIDFontType0 /BaseFont /STSong-Light /DW 1000 "
    "/CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) /Supplement 2 >> /FontDescriptor 6 0 R"
)
_LOOKS: Final = (
    "/Type /FontDescriptor /FontName /STSong-Light /Flags 6 /FontBBox [-25 -254 1000 880] /ItalicAngle 0 "
    "/Ascent 880 /Descent -120 /CapHeight 880 /StemV 93"
)


def contract_pdf(*lines: str) -> bytes:
    """Return a PDF of one A4 page with these lines, the first one as its title."""
    shown = [
        f"/F1 {22 if number == 0 else 13} Tf 1 0 0 1 72 {750 - 34 * number} Tm <{line.encode('utf-16-be').hex()}> Tj"
        for number, line in enumerate(lines)
    ]
    text = "\n".join(["BT", *shown, "ET"])
    objects = (
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 4 0 R >> >> /Contents 7 0 R >>",
        f"<< {_FONT} >>",
        f"<< {_GLYPHS} >>",
        f"<< {_LOOKS} >>",
        f"<< /Length {len(text)} >>\nstream\n{text}\nendstream",
    )
    made, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, start=1):
        places.append(len(made))
        made += f"{number} 0 obj\n{one}\nendobj\n".encode("ascii")
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
        f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(made)}\n%%EOF\n"
    )
    return made + end.encode("ascii")


class Papers:
    """The files of a CRM by name. ``asked``: how often each was fetched; ``down``: it answers 503 to everything."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        """Take the files, or any other bytes."""
        self.files = dict(files)
        self.asked: list[str] = []
        self.tokens: list[str] = []
        """What came as Authorization."""
        self.down = False
        self.app: Any = Starlette(routes=[Route("/files/{name}", self._answer)])

    async def _answer(self, request: Request) -> Response:
        name = str(request.path_params["name"])
        self.asked.append(name)
        self.tokens.append(request.headers.get("authorization", ""))
        if self.down or name not in self.files:
            return Response(status_code=503 if self.down else 404)
        return Response(self.files[name], media_type="application/octet-stream")

    @contextlib.asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[str]:
        """Serve them; gives the address they begin with."""
        async with listening(self.app, port) as base_url:
            yield f"{base_url}/files/"

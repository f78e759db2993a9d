"""``make docs``: write the pages that are made from the code."""

from __future__ import annotations

from tests.docs.reference import ROOT, pages

for name, text in pages().items():
    (ROOT / name).write_text(text, "utf-8")
    print(name)

"""Both READMEs list every setting of the process with its default, as the class declares them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hub.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "README.zh-CN.md")
ROW = re.compile(rf"^\| `({PREFIX}[A-Z_]+)` \| (?:`(.+?)`|–) \| (\S.*) \|$", re.MULTILINE)
HAN = re.compile("[\u4e00-\u9fff]")


@pytest.mark.parametrize("page", PAGES)
def test_the_table_of_settings_is_the_class(page: str) -> None:
    shown = [(name, default) for name, default, _ in ROW.findall((ROOT / page).read_text("utf-8"))]
    assert shown == [
        (f"{PREFIX}{name}".upper(), "" if field.default is None else str(field.default))
        for name, field in Settings.model_fields.items()
    ]


def test_each_page_explains_them_in_its_own_language() -> None:
    english, chinese = (ROW.findall((ROOT / page).read_text("utf-8")) for page in PAGES)
    assert not [name for name, _, meaning in english if HAN.search(meaning)]
    assert [name for name, _, meaning in chinese if not HAN.search(meaning)] == []


@pytest.mark.parametrize("page", PAGES)
def test_no_page_names_a_setting_that_is_not_there(page: str) -> None:
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    named = set(re.findall(rf"\b{PREFIX}[A-Z_]+[A-Z]\b", (ROOT / page).read_text("utf-8")))
    assert not {name for name in named - known if not name.startswith(f"{PREFIX}TEST_")}

"""The range of a setting is declared once, and holds in `hub validate` and when a connection starts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hub import registry
from hub.errors import SettingsError
from hub.project import references
from hub.sdk import SettingSpec, check_settings
from tests.project_folder import SPEC

SIZE = SettingSpec("size", "integer", "页", "page", default=100, low=1, high=1000)


@pytest.mark.parametrize(("given", "said"), [(0, "between 1 and 1000"), ("1001", "between 1 and 1000")])
def test_a_value_beyond_its_range_is_refused_at_the_start(given: object, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as refused:
        check_settings([SIZE], {"size": given})
    assert refused.value.field == "size"
    assert check_settings([SIZE], {"size": "1000"}) == {"size": 1000}


def test_one_limit_alone_says_which() -> None:
    assert replace(SIZE, high=None).beyond(0) == "must be 1 or more"
    assert replace(SIZE, low=None).beyond(1001) == "must be 1000 or less"
    assert replace(SIZE, low=None, high=None).beyond(-5) is None


@pytest.mark.parametrize(
    ("connector", "name", "value"),
    [("kingdee", "settle_after", "-1"), ("kingdee", "settle_after", "0"), ("kingdee", "sessions", "0"),
     ("kingdee", "time_zone", "15"), ("kingdee", "overlap", "-1"), ("kingdee", "page_size", "10001"),
     ("wecom", "callback_window", "-5"), ("wecom", "page_size", "101"), ("wecom", "slots", "0"), ("wecom", "agent_id", "-1")],
)  # fmt: skip
def test_validate_refuses_what_the_connector_would(connector: str, name: str, value: str) -> None:
    setting = next(one for one in registry.specs()[connector].settings if one.name == name)
    with pytest.raises(ValueError, match="must lie between"):
        references.convert(setting, value)


def test_every_number_of_a_connector_has_a_range_and_its_default_lies_in_it() -> None:
    for spec in registry.specs().values():
        for setting in spec.settings:
            if (
                setting.type in ("integer", "number") and setting.name != "lcid"
            ):  # Windows' number of a language
                assert None not in (setting.low, setting.high), setting
                assert setting.beyond(setting.default) is None, setting
    assert SPEC.settings[2].beyond(10**9) is None

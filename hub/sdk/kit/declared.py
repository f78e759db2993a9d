"""Kit tests of what a connector declares: its spec, its settings, its connection test, its silence about secrets."""

# ruff: noqa: D102 - a test's name is its sentence

from __future__ import annotations

import pytest

import hub.errors
from hub.errors import Cause, RemoteError, SettingsError
from hub.sdk.connector import Connector, Failed
from hub.sdk.kit.stand import Bench, Fault, dead_url, scripted
from hub.sdk.kit.tests import KitTests
from hub.sdk.secret import Secret
from hub.sdk.spec import Delivery

__all__ = ["DeclaredTests"]

FIELD_TYPES = frozenset(["text", "integer", "decimal", "flag", "date", "instant", "texts", "json"])
SETTING_TYPES = frozenset(["text", "integer", "number", "flag", "url", "secret"])


class DeclaredTests(KitTests):
    """A connector says what it is, refuses bad settings and shows no secret."""

    def test_the_spec_has_titles_in_both_languages(self) -> None:
        spec = self.connector.spec
        assert spec.name
        assert spec.title_zh
        assert spec.title_en
        assert all(one.title_zh and one.title_en for one in spec.streams.values())
        assert all(one.title_zh and one.title_en for one in spec.objects.values())
        assert all(setting.zh and setting.en and setting.type in SETTING_TYPES for setting in spec.settings)

    def test_a_stream_declares_types_and_its_keys_among_its_fields(self, stream: str) -> None:
        declared = self.connector.spec.streams[stream]
        assert declared.name == stream
        assert declared.primary_key
        assert set(declared.primary_key) <= declared.fields.keys()
        assert set(declared.fields.values()) <= FIELD_TYPES
        assert declared.change_time is None or declared.change_time in declared.fields
        assert declared.object is None or declared.object in self.connector.spec.objects
        assert set(declared.by_callback) <= declared.fields.keys()
        assert declared.receive or not declared.by_callback
        beside = declared.read_with
        assert beside is None or self.connector.spec.streams[beside].read_with is None

    def test_every_plan_of_an_object_is_made_of_declared_steps(self, object_name: str) -> None:
        declared = self.connector.spec.objects[object_name]
        used = {declared.write_step, *(step for plan in declared.finish.values() for step in plan)}
        used |= {step for plan in declared.reopen.values() for step in plan}
        assert declared.name == object_name
        assert used == declared.steps.keys()
        assert all(name == step.name for name, step in declared.steps.items())
        assert declared.stop_at in declared.finish
        assert declared.stream is None or declared.stream in self.connector.spec.streams
        assert declared.creates or declared.stream in self.connector.spec.streams
        assert set(declared.gone_codes) <= self.connector.spec.codes.keys()
        assert set(declared.required) <= declared.fields.keys()
        assert set(declared.fields.values()) <= FIELD_TYPES

    def test_every_step_says_how_a_lost_answer_is_settled(self, object_name: str) -> None:
        declared = self.connector.spec.objects[object_name]
        assert declared.settle_after > 0
        for step in declared.steps.values():
            assert step.findable or step.delivery is not Delivery.FINDABLE
            assert (step.key_window > 0) == (step.delivery is Delivery.KEYED)

    def test_it_sends_notices_if_and_only_if_it_says_so(self) -> None:
        assert self.connector.spec.notifies == (self.connector.notify is not Connector.notify)

    def test_every_code_names_an_error_of_the_tree(self) -> None:
        for name in self.connector.spec.codes.values():
            assert issubclass(getattr(hub.errors, name), RemoteError)

    async def test_a_missing_setting_is_named(self, required_setting: str) -> None:
        async with self.open() as bench:
            settings = bench.stand.settings()
            del settings[required_setting]
            with pytest.raises(SettingsError) as caught:
                bench.connect(settings, http=scripted())
            assert caught.value.field == required_setting

    async def test_a_misspelt_setting_is_refused_with_the_nearest_name(self, setting: str) -> None:
        async with self.open() as bench:
            settings = bench.stand.settings() | {f"{setting}x": "1"}
            with pytest.raises(SettingsError, match=setting):
                bench.connect(settings, http=scripted())

    async def test_a_setting_of_the_wrong_type_is_named(self, setting: str) -> None:
        async with self.open() as bench:
            settings = bench.stand.settings() | {setting: ["wrong"]}
            with pytest.raises(SettingsError) as caught:
                bench.connect(settings, http=scripted())
            assert caught.value.field == setting

    async def test_a_good_connection_passes_every_step(self) -> None:
        async with self.open() as bench:
            connector = bench.connect()
            report = await connector.check()
            assert report.ok, report
            assert len(report.steps) > 1
            await connector.close()

    async def test_a_wrong_key_fails_the_check_and_says_what_to_click(self) -> None:
        async with self.open() as bench:
            settings = bench.stand.wrong_key(bench.stand.settings())
            report = await bench.connect(settings).check()
            assert not report.ok
            assert report.steps[-1].code == Cause.CREDENTIAL
            assert report.steps[-1].zh
            assert report.steps[-1].en

    async def test_a_dead_host_fails_the_first_step(self) -> None:
        async with self.open() as bench:
            report = await bench.connect(self._dead(bench)).check()
            assert len(report.steps) == 1
            assert report.steps[0].code in (Cause.UNREACHABLE, Cause.UNAVAILABLE)

    async def test_no_secret_is_seen_in_texts_logs_or_errors(self, object_name: str) -> None:
        async with self.ready(object_name) as bench:
            settings = bench.stand.settings()
            wrong = bench.stand.wrong_key(settings)
            seen: list[object] = []
            for given in (settings, wrong, self._dead(bench)):
                connector = bench.connect(given)
                bench.stand.inject(Fault.HTML, bench.stand.plans[object_name][0], object_name)
                result = await bench.one(connector, await bench.begin(object_name))
                details = [result.error, result.error.detail] if isinstance(result, Failed) else []
                seen += [connector, connector.settings, await connector.check(), result, *details]
            text = " ".join([*map(repr, seen), *map(str, seen), repr(bench.log.entries)])
            secrets = [
                value for given in (settings, wrong) for value in given.values() if isinstance(value, Secret)
            ]
            assert secrets
            assert bench.log.entries
            assert not [secret for secret in secrets if secret.reveal() in text]

    def _dead(self, bench: Bench) -> dict[str, object]:
        settings = bench.stand.settings()
        urls = [spec.name for spec in self.connector.spec.settings if spec.type == "url"]
        return settings | {name: dead_url(settings[name]) for name in urls}

"""Kit tests of writing: one effect per request, whatever happens to the answer."""

# ruff: noqa: D102 - a test's name is its sentence

from __future__ import annotations

from dataclasses import replace

import pytest

from hub.errors import Cause, NotSent, OutcomeUnknown, Refused, TryAgain
from hub.sdk.connector import (
    Absent,
    Applied,
    Failed,
    FindResult,
    Found,
    Gone,
    Next,
    Several,
    VendorRef,
    Write,
)
from hub.sdk.kit.stand import Bench, Fault
from hub.sdk.kit.tests import KitTests

__all__ = ["ChangingTests", "CreatingTests", "EditingTests", "FixedTests", "TakenTests", "WritingTests"]

LOST = [Fault.DROPPED, Fault.CUT, Fault.GARBLED]


class _Planned(KitTests):
    """Makes the steps of a plan one after another."""

    async def run_plan(self, bench: Bench, first: Write, end: int, *, start: int = 0) -> VendorRef:
        """Make the steps from ``start`` up to ``end`` with a connector of their own; return the last reference."""
        plan, connector, ref = bench.stand.plans[first.object], bench.connect(), first.ref
        for index in range(start, end):
            result = await bench.one(connector, replace(first, step=plan[index], ref=ref, create=ref is None))
            expected = Applied if index == len(plan) - 1 else Next
            assert isinstance(result, expected), result
            ref = result.ref
        assert ref is not None
        return ref


class WritingTests(_Planned):
    """An object is written step by step; a lost answer is settled by a look-up."""

    async def test_a_plan_leads_to_the_last_step_with_one_effect_each(self, object_name: str) -> None:
        async with self.ready(object_name) as bench:
            ref = await self.run_plan(
                bench, await bench.begin(object_name), len(bench.stand.plans[object_name])
            )
            assert bench.stand.effects(object_name) == [
                (step, ref.vendor_id) for step in bench.stand.plans[object_name]
            ]

    async def test_a_saga_killed_between_any_two_steps_resumes(self, object_name: str) -> None:
        plan = self.stand.plans[object_name]
        for done in range(1, len(plan) + 1):
            async with self.ready(object_name) as bench:
                first = await bench.begin(object_name)
                ref = await self.run_plan(bench, first, done)
                last = replace(first, step=plan[done - 1], ref=ref if done > 1 else first.ref)
                (found,) = await bench.connect().find([last])  # a new process knows nothing but the write
                assert isinstance(found, Found)
                assert found.as_sent
                assert found.ref == ref
                await self.run_plan(bench, replace(first, ref=found.ref), len(plan), start=done)
                assert [step for step, _ in bench.stand.effects(object_name)] == list(plan)

    @pytest.mark.parametrize("fault", LOST)
    async def test_a_first_step_whose_answer_is_lost_is_found_and_not_made_twice(
        self, object_name: str, fault: Fault
    ) -> None:
        async with self.ready(object_name) as bench:
            connector, write = bench.connect(), await bench.begin(object_name)
            bench.stand.inject(fault, write.step, object_name)
            result = await bench.one(connector, write)
            assert isinstance(result, Failed)
            assert isinstance(result.error, OutcomeUnknown)
            (found,) = await connector.find([write])
            assert isinstance(found, Found)
            assert found.as_sent
            assert bench.stand.effects(object_name) == [(write.step, found.ref.vendor_id)]

    async def test_a_later_step_whose_answer_is_lost_is_found(self, object_name: str) -> None:
        plan = self.stand.plans[object_name]
        for index in range(1, len(plan)):
            async with self.ready(object_name) as bench:
                first, connector = await bench.begin(object_name), bench.connect()
                ref = await self.run_plan(bench, first, index)
                write = replace(first, step=plan[index], ref=ref, create=False)
                (before,) = await connector.find([write])
                assert isinstance(before, Found)
                assert not before.as_sent
                bench.stand.inject(Fault.DROPPED, plan[index], object_name)
                result = await bench.one(connector, write)
                assert isinstance(result, Failed)
                assert isinstance(result.error, OutcomeUnknown)
                (found,) = await connector.find([write])
                assert isinstance(found, Found)
                assert found.as_sent
                assert [step for step, _ in bench.stand.effects(object_name)] == list(plan[: index + 1])

    async def test_a_first_step_applied_after_the_first_look_up_is_found_by_the_second(
        self, object_name: str
    ) -> None:
        async with self.ready(object_name) as bench:
            connector, write = bench.connect(), await bench.begin(object_name)
            bench.stand.inject(Fault.LATE, write.step, object_name)
            result = await bench.one(connector, write)
            assert isinstance(result, Failed)
            assert isinstance(result.error, OutcomeUnknown)
            (before,) = await connector.find([write])
            assert _not_made(before, write)
            bench.stand.sandbox.advance(bench.stand.late)
            (found,) = await connector.find([write])
            assert isinstance(found, Found)
            assert found.as_sent
            assert len(bench.stand.effects(object_name)) == 1

    async def test_a_first_step_that_broke_before_it_was_applied_is_not_there(self, object_name: str) -> None:
        async with self.ready(object_name) as bench:
            connector, write = bench.connect(), await bench.begin(object_name)
            bench.stand.inject(Fault.BROKEN, write.step, object_name)
            result = await bench.one(connector, write)
            assert isinstance(result, Failed)
            assert isinstance(result.error, OutcomeUnknown | TryAgain)
            (before,) = await connector.find([write])
            assert _not_made(before, write)
            assert not bench.stand.effects(object_name)

    async def test_one_bad_item_of_a_batch_stops_no_other(self, object_name: str) -> None:
        async with self.ready(object_name) as bench:
            writes = [await bench.begin(object_name, number) for number in (1, 2, 3)]
            writes[1] = replace(writes[1], payload=bench.stand.bad(object_name))
            first, refused, third = await bench.connect().write(writes)
            assert isinstance(first, Applied | Next)
            assert isinstance(third, Applied | Next)
            assert isinstance(refused, Failed)
            assert isinstance(refused.error, Refused)
            assert refused.error.field
            assert {one for _, one in bench.stand.effects(object_name)} == {
                first.ref.vendor_id,
                third.ref.vendor_id,
            }

    async def test_a_batch_of_lost_answers_is_looked_up_in_order(self, object_name: str) -> None:
        async with self.ready(object_name) as bench:
            connector = bench.connect()
            writes = [await bench.begin(object_name, number) for number in (1, 2, 3)]
            first, third = await bench.one(connector, writes[0]), await bench.one(connector, writes[2])
            assert isinstance(first, Applied | Next)
            assert isinstance(third, Applied | Next)
            found_first, second, found_third = await connector.find(writes)
            assert _not_made(second, writes[1])
            assert isinstance(found_first, Found)
            assert isinstance(found_third, Found)
            assert (found_first.ref, found_third.ref) == (first.ref, third.ref)

    async def test_a_rate_limit_on_a_write_asks_to_wait_and_changes_nothing(self, object_name: str) -> None:
        async with self.ready(object_name) as bench:
            write = await bench.begin(object_name)
            bench.stand.inject(Fault.RATE, write.step, object_name)
            result = await bench.one(bench.connect(), write)
            assert isinstance(result, Failed)
            assert isinstance(result.error, TryAgain)
            assert (result.error.after or 0) > 0
            assert not bench.stand.effects(object_name)

    async def test_a_session_that_expires_before_a_write_is_renewed_with_one_effect(
        self, object_name: str
    ) -> None:
        async with self.ready(object_name) as bench:
            connector = bench.connect()
            await bench.one(connector, await bench.begin(object_name, 1))
            write = await bench.begin(object_name, 2)
            bench.stand.inject(Fault.EXPIRED, write.step, object_name)
            result = await bench.one(connector, write)
            assert isinstance(result, Applied | Next)
            assert len(bench.stand.effects(object_name)) == 2

    async def test_nothing_is_sent_after_the_deadline(self, object_name: str) -> None:
        async with self.ready(object_name) as bench:
            late = replace(await bench.begin(object_name), deadline=bench.clock.monotonic() - 1)
            result = await bench.one(bench.connect(), late)
            assert isinstance(result, Failed)
            assert isinstance(result.error, NotSent)
            assert not bench.stand.effects(object_name)


class CreatingTests(KitTests):
    """An object that the hub makes."""

    async def test_a_create_made_twice_is_never_hidden(self, created: str) -> None:
        async with self.ready(created) as bench:
            connector, write = bench.connect(), bench.create(created)
            first, second = await bench.one(connector, write), await bench.one(connector, write)
            (found,) = await connector.find([write])
            assert isinstance(first, Applied | Next)
            if isinstance(second, Failed):  # the vendor guards the number: look up, do not park
                assert second.error.cause is Cause.ALREADY_DONE
                assert isinstance(found, Found)
                assert found.ref == first.ref
                return
            assert isinstance(second, Applied | Next)
            if second.ref == first.ref:  # the vendor knows the key: one effect, answered twice
                assert isinstance(found, Found)
                assert found.ref == first.ref
                assert len(bench.stand.effects(created)) == 1
            else:
                assert isinstance(found, Several)
                assert len(found.refs) == len(bench.stand.effects(created)) == 2


class EditingTests(_Planned):
    """An object that can be written again."""

    async def test_an_update_changes_its_object_and_is_told_from_one_that_did_not(self, edited: str) -> None:
        async with self.ready(edited) as bench:
            first, connector = await bench.begin(edited), bench.connect()
            ref = await self.run_plan(bench, first, 1)
            step = self.connector.spec.objects[edited].write_step
            write = bench.write(edited, step, bench.stand.change(edited), ref=ref)
            (before,) = await connector.find([write])
            bench.stand.inject(Fault.DROPPED, step, edited)
            result = await bench.one(connector, write)
            (after,) = await connector.find([write])
            assert isinstance(result, Failed)
            assert isinstance(before, Found)
            assert isinstance(after, Found)
            assert (before.as_sent, after.as_sent) == (False, True)
            assert before.ref == after.ref
            effects = bench.stand.effects(edited)
            assert effects[1:] == [(step, ref.vendor_id)]


class FixedTests(_Planned):
    """An object that the vendor lets nobody write again (``edits`` False)."""

    async def test_a_save_of_what_is_there_is_refused_and_changes_nothing(self, fixed: str) -> None:
        async with self.ready(fixed) as bench:
            ref = await self.run_plan(bench, await bench.begin(fixed), 1)
            step = self.connector.spec.objects[fixed].write_step
            result = await bench.one(
                bench.connect(), bench.write(fixed, step, bench.stand.change(fixed), ref=ref)
            )
            assert isinstance(result, Failed)
            assert isinstance(result.error, Refused)
            assert bench.stand.effects(fixed) == [(step, ref.vendor_id)]


class TakenTests(_Planned):
    """An object that the vendor lets nobody write again, but lets us take away (``edits`` False, ``reopen``)."""

    async def test_what_re_opens_it_ends_by_taking_it_away(self, taken: str) -> None:
        async with self.ready(taken) as bench:
            first, connector = await bench.begin(taken), bench.connect()
            ref = await self.run_plan(bench, first, len(bench.stand.plans[taken]))
            steps = self.connector.spec.objects[taken].reopen[ref.stage or ""]
            for step in steps[:-1]:
                result = await bench.one(
                    connector, replace(first, step=step, plan=(*steps, first.step), ref=ref)
                )
                assert isinstance(result, Next), result
                ref = result.ref
            last = replace(first, step=steps[-1], plan=(*steps, first.step), ref=ref)
            assert isinstance(await bench.one(connector, last), Gone)
            (found,) = await connector.find([last])
            assert isinstance(found, Gone)


class ChangingTests(KitTests):
    """An object that the vendor's people alone make (``creates`` False): the hub changes what is there."""

    async def test_a_create_is_refused_and_nothing_is_sent(self, changed: str) -> None:
        async with self.ready(changed) as bench:
            connector, write = bench.connect(), bench.create(changed)
            result = await bench.one(connector, write)
            assert isinstance(result, Failed)
            assert isinstance(result.error, Refused)
            assert await connector.find([write]) == [Absent()]
            assert not bench.stand.effects(changed)

    async def test_every_step_made_twice_leaves_the_object_as_once(self, changed: str) -> None:
        async with self.ready(changed) as bench:
            connector, first = bench.connect(), await bench.begin(changed)
            for step in bench.stand.plans[changed]:
                write = replace(first, step=step)
                assert isinstance(await bench.one(connector, write), Applied | Next)
                (once,) = await connector.find([write])
                assert isinstance(await bench.one(connector, write), Applied | Next)
                (twice,) = await connector.find([write])
                assert isinstance(once, Found)
                assert once.as_sent
                assert twice == once

    async def test_a_step_repeated_after_a_lost_answer_leaves_the_object_as_once(self, changed: str) -> None:
        async with self.ready(changed) as bench:
            connector, first = bench.connect(), await bench.begin(changed)
            for step in bench.stand.plans[changed]:
                write = replace(first, step=step)
                bench.stand.inject(Fault.DROPPED, step, changed)
                assert isinstance(await bench.one(connector, write), Failed)
                (lost,) = await connector.find([write])
                assert isinstance(await bench.one(connector, write), Applied | Next)
                assert await connector.find([write]) == [lost]


def _not_made(found: FindResult, write: Write) -> bool:
    """Say whether a look-up tells that the step of a write did not take effect."""
    return found == Absent() if write.create else isinstance(found, Found) and not found.as_sent

"""An object that the vendor's people alone make: where it is not there nothing is sent, and so nothing is in doubt."""

from __future__ import annotations

from dataclasses import replace

from tests.pipe_stand import Stand


def only_changed(stand: Stand, name: str) -> None:
    """Say that the hub never makes this object."""
    spec = stand.world.specs["mem"]
    objects = {**spec.objects, name: replace(spec.objects[name], creates=False)}
    stand.world = replace(stand.world, specs={**stand.world.specs, "mem": replace(spec, objects=objects)})


def test_a_change_of_what_is_not_there_is_a_dead_letter_without_an_open_attempt() -> None:
    stand = Stand("customer")
    only_changed(stand, "customer")
    stand.put("C-1", name="示例科技有限公司")
    assert stand.claim() == []
    row = stand.row("customer.out")
    assert (row["state"], row["cause"]["code"], row["generation"]) == ("parked", "not_found", None)
    assert stand.effects("customer") == []


def test_once_it_is_there_changes_go_out_again() -> None:
    stand = Stand("customer")
    stand.put("C-1", name="示例科技有限公司")
    stand.run()
    only_changed(stand, "customer")
    stand.put("C-1", name="示例科技股份有限公司")
    stand.run()
    assert stand.rows() == []
    assert stand.effects("customer")[:1] == ["save"]
    assert len(stand.effects("customer")) > 3

"""A bad mapping is taken back, data included: nobody's later word is lost, and money is a person's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hub.cli import mapping_repair
from hub.pipe import repair
from tests.repair.play import play
from tests.repair.scene import (
    BAD_REMARK,
    BAD_SHORT,
    BAD_TAX,
    GOOD_REMARK,
    GOOD_SHORT,
    GOOD_TAX,
    IN,
    ONLY_BAD,
    OUT,
    Scene,
    make_scene,
)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    made = make_scene(tmp_path, 1)
    made.meet(6)
    assert made.differences() == []
    return made


def bad_in(scene: Scene) -> None:
    """Publish an inbound mapping that fills the remark with the address, and a field that the good one does not have."""
    scene.publish(IN, (GOOD_REMARK, BAD_REMARK + "\n" + ONLY_BAD.rstrip("\n")))
    scene.read(scene.there)


def rollback(scene: Scene, name: str = IN) -> Any:
    told = scene.site.json("mapping", "rollback", name, "--note", "bad", "--repair", "--yes")
    scene.work()
    return told["repair"]


def of_remark(who: str) -> tuple[str, str]:
    source = "    source: k3.customer\n"
    return source, f"{source}    authority: {{remark: {who}}}\n"


def lines(told: Any) -> set[tuple[str, str, str, int]]:
    return {(one["direction"], one["field"], one["fate"], one["records"]) for one in told["fields"]}


def test_what_came_in_by_a_bad_mapping_is_read_anew_and_what_only_it_wrote_gets_its_old_value(
    scene: Scene,
) -> None:
    bad_in(scene)
    assert scene.body("100000")["remark"] == scene.there["100000"]["street"]
    assert scene.body("100000")["level"] == scene.there["100000"]["postal_code"]
    assert lines(rollback(scene)) == {("in", "remark", "reread", 6), ("in", "level", "restore", 6)}
    assert scene.differences() == []


def test_what_the_vendor_s_people_changed_meanwhile_comes_in_by_the_good_mapping(scene: Scene) -> None:
    bad_in(scene)
    scene.changes_there(["100001", "100002"], "street", "新地址")
    scene.changes_there(["100002"], "remark", "改过")
    rollback(scene)
    assert scene.differences() == []


def test_what_somebody_changed_since_is_left_to_a_person_and_named(scene: Scene) -> None:
    bad_in(scene)
    scene.edits(["100003"], "level", "重点")
    told = rollback(scene)
    assert ("in", "level", "person", 1) in lines(told)
    assert [(one["field"], one["fate"]) for one in told["left"]] == [("level", "person")]
    assert scene.body("100003")["level"] == "重点 100003"
    assert scene.differences() == []


def test_an_edit_that_the_vendor_does_not_hold_becomes_a_dead_letter_and_the_rest_of_the_record_is_repaired(
    tmp_path: Path,
) -> None:
    scene = make_scene(tmp_path, 1, of_remark("source"))
    scene.meet(6)
    bad_in(scene)
    scene.site.cli("pause", "k3.customer.out")
    scene.edits(["100004"], "remark", "销售写的")
    rollback(scene)
    (letter,) = scene.site.letters()
    assert (letter["cause"]["code"], letter["cause"]["field"]) == ("conflict", "remark")
    held = scene.body("100004")
    assert (held["remark"], held.get("level")) == ("销售写的 100004", None)
    scene.site.cli("dlq", "replay", letter["id"], "--yes")
    scene.work()
    assert scene.body("100004")["remark"] == "老客户4", "whoever replays it takes what the source says"


def test_where_the_crm_has_the_authority_its_later_value_stays_and_nobody_is_asked(tmp_path: Path) -> None:
    scene = make_scene(
        tmp_path, 1, ("    source: k3.customer\n", "    source: k3.customer\n    authority: {remark: crm}\n")
    )
    scene.meet(2)
    bad_in(scene)
    scene.site.cli("pause", "k3.customer.out")
    scene.edits(["100001"], "remark", "销售写的")
    rollback(scene)
    assert scene.site.letters() == []
    scene.site.cli("resume", "k3.customer.out")
    scene.work()
    assert scene.differences() == []


def test_what_went_out_by_a_bad_mapping_is_sent_again_and_what_came_back_of_it_is_undone(
    scene: Scene,
) -> None:
    scene.publish(OUT, (GOOD_TAX, BAD_TAX), (GOOD_SHORT, BAD_SHORT))
    scene.make(4)
    numbers = [id_ for id_ in scene.books.bodies if id_ not in scene.there]
    scene.read(numbers)  # 税号 and 简称 come back as the bad mapping wrote them
    assert scene.differences() != []
    told = rollback(scene, OUT)
    assert ("out", "", "send", 4) in lines(told)
    assert ("in", "tax_no", "restore", 4) in lines(told)
    assert scene.differences() == []
    scene.read([*scene.there, *numbers])
    assert scene.differences() == []


def test_a_field_that_was_right_before_the_bad_mapping_is_sent_again_though_the_crm_never_changed_it(
    scene: Scene,
) -> None:
    scene.make(1)
    scene.publish(OUT, (GOOD_SHORT, BAD_SHORT))
    scene.ours["C-0"]["name"] = "改名后的有限公司"
    scene.site.customer("C-0", **scene.ours["C-0"])
    scene.work()
    assert scene.differences() == ["Kingdee C-0.FShortName: '改名后的有限公司', must be '本地0'"]
    rollback(scene, OUT)
    assert scene.differences() == []


def test_a_field_that_the_bad_mapping_wrote_twice_gets_the_value_from_before_both(scene: Scene) -> None:
    bad_in(scene)
    scene.changes_there(["100000", "100001"], "postal_code", "51")
    assert scene.body("100000")["level"] == "51 100000"
    rollback(scene)
    assert scene.differences() == []


def test_what_is_restored_is_no_news_for_the_object_it_came_from(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, 1)
    zip_code = "  postal_code: FZIP or None                            # 邮编\n"
    scene.publish(IN, (zip_code, ""))
    scene.meet(2)
    scene.publish(IN, (GOOD_REMARK, "  postal_code: cut(FADDRESS, 20)\n" + GOOD_REMARK))
    scene.read(scene.there)
    assert scene.body("100000")["postal_code"] == "深南大道0号"
    rollback(scene)
    assert scene.body("100000").get("postal_code") is None
    assert scene.books.bodies["100000"]["FZIP"] == "518000", "what Kingdee's people typed is not cleared"


def test_an_edit_between_preview_and_repair_is_not_lost(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad_in(scene)

    def edited(*args: Any, was: Any = repair.repair, **known: Any) -> None:
        if scene.extra:
            return
        scene.edits(["100002"], "level", "刚改的")
        was(*args, **known)

    monkeypatch.setattr(mapping_repair, "repair", edited)
    rollback(scene)
    assert scene.differences() == []


def test_what_the_vendor_s_people_wrote_over_a_bad_delivery_is_theirs(scene: Scene) -> None:
    scene.publish(OUT, (GOOD_TAX, BAD_TAX))
    scene.make(1)
    (number,) = (id_ for id_ in scene.books.bodies if id_ not in scene.there)
    scene.books.bodies[number]["FTAXREGISTERCODE"] = "440300999"
    scene.read([number])
    scene.ours["C-0"]["tax_no"] = "440300999"
    rollback(scene, OUT)
    assert scene.differences() == []


def test_a_receipt_that_was_sent_is_listed_for_reversal_and_never_sent_again(scene: Scene) -> None:
    scene.make(1)
    scene.publish("kingdee/payment.out", ("FREMARK: ", "FREMARK: no or "))
    scene.site.pay(scene.records["C-0"], "P-1")
    scene.work()
    booked = len(scene.books.booked)
    told = rollback(scene, "kingdee/payment.out")
    assert lines(told) == {("out", "", "posted", 1)}
    (left,) = told["left"]
    assert left["fate"] == "posted"
    assert left["vendor_id"]
    assert len(scene.books.booked) == booked


def test_a_receipt_whose_answer_was_lost_is_listed_and_never_written_again(scene: Scene) -> None:
    scene.make(1)
    scene.publish("kingdee/payment.out", ("FREMARK: ", "FREMARK: no or "))
    scene.site.pay(scene.records["C-0"], "P-1")
    scene.books.lost = True
    scene.work()
    scene.books.lost = False
    told = rollback(scene, "kingdee/payment.out")
    assert lines(told) == {("out", "", "posted", 1)}
    booked = [write for write in scene.books.booked if write.object == "receipt"]
    assert len(booked) == 1, "it was applied, and is not written over"


def test_a_receipt_that_is_sent_between_preview_and_repair_is_told_and_not_written_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.make(1)
    scene.publish("kingdee/payment.out", ("FREMARK: ", "FREMARK: no or "))
    scene.site.pay(scene.records["C-0"], "P-1")
    scene.books.down = True
    scene.work()  # claimed and not sent: nothing is known over there

    def sent(*args: Any, was: Any = repair.repair, **known: Any) -> None:
        if scene.books.down:
            scene.books.down = False
            scene.site.ask("UPDATE owed SET due = 0")
            scene.work()
        was(*args, **known)

    monkeypatch.setattr(mapping_repair, "repair", sent)
    told = rollback(scene, "kingdee/payment.out")
    booked = [write for write in scene.books.booked if write.object == "receipt"]
    assert len(booked) == 1
    assert [one["fate"] for one in told["left"]] == ["posted"]


def test_a_second_repair_finds_nothing_and_one_may_follow_a_rollback_without(scene: Scene) -> None:
    bad_in(scene)
    scene.site.cli("mapping", "rollback", IN, "--note", "bad")
    scene.work()
    assert scene.differences() != [], "a rollback alone mends no data"
    told = scene.site.json("mapping", "rollback", IN, "--note", "bad", "--repair")["repair"]
    assert (told["done"], told["objects"]) == (False, 6), "a program that does not say --yes gets the preview"
    assert scene.differences() != []
    rollback(scene)
    assert scene.differences() == []
    again = rollback(scene)
    assert (again["objects"], again["deliveries"], again["fields"]) == (0, 0, [])


def test_a_repair_that_was_ended_half_way_goes_on_where_it_was(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad_in(scene)
    monkeypatch.setattr(repair, "AT_ONCE", 2)
    calls: list[int] = []

    def dies(tx: Any, *args: Any, was: Any = repair._repair) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("killed")
        was(tx, *args)

    monkeypatch.setattr(repair, "_repair", dies)
    with pytest.raises(AssertionError, match="killed"):
        rollback(scene)
    assert rollback(scene)["objects"] == 4
    assert scene.differences() == []


def test_a_person_is_asked_and_may_say_no(scene: Scene) -> None:
    bad_in(scene)
    said = scene.site.cli("mapping", "rollback", IN, "--note", "bad", "--repair", given="n\n")
    assert "repair these 6?" in said
    assert "gets its old value back" in said
    assert scene.body("100000")["remark"] == scene.there["100000"]["street"]
    said = scene.site.cli("mapping", "rollback", IN, "--note", "坏", "--repair", given="y\n", lang="zh")
    assert "已修复或已待办：6" in said
    scene.work()
    assert scene.differences() == []
    assert "--yes" in scene.site.cli("mapping", "rollback", IN, "--note", "n", "--yes", code=2)


def test_hundreds_of_records_pushed_through_a_bad_mapping_equal_the_model_again(tmp_path: Path) -> None:
    assert play(tmp_path, records=120, edited=20, seed=7)["differences"] == []


def test_no_value_is_shown_and_the_act_names_who_repaired_and_why(scene: Scene) -> None:
    bad_in(scene)
    said = scene.site.cli("mapping", "rollback", IN, "--note", "wrong address", "--repair", "--yes")
    assert "深南大道" not in said
    found = scene.site.ask("SELECT actor, body FROM acts WHERE verb = 'repair'")
    assert {actor[:5] for actor, _ in found} == {"user:"}
    assert all('"message":"wrong address"' in body for _, body in found)
    record = scene.site.ask("SELECT record FROM xrefs WHERE vendor_id = '100000'")[0][0]
    assert "owed by the repair of a mapping" in scene.site.cli("trace", bytes(record).hex())

"""Many records pushed through bad mappings, some edited meanwhile, all of it taken back; the model says what must be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    make_scene,
)

__all__ = ["play"]


def play(folder: Path, *, records: int, edited: int, seed: int) -> dict[str, Any]:
    """Play it; return counts and where CRM or Kingdee are not as the model says (nowhere).

    Two thirds of the records are Kingdee's and come in by a bad mapping, the others are the CRM's and go out by one. Of
    the first, ``edited`` are edited meanwhile: by the CRM's people (a field that only the bad mapping fills, and one that
    both have) and by Kingdee's.
    """
    scene = make_scene(folder, seed)
    scene.is_patient = True
    there = records * 2 // 3
    scene.meet(there)
    assert scene.differences() == []
    scene.publish(IN, (GOOD_REMARK, BAD_REMARK + "\n" + ONLY_BAD.rstrip("\n")))
    scene.publish(OUT, (GOOD_TAX, BAD_TAX), (GOOD_SHORT, BAD_SHORT))
    scene.read(scene.there)
    scene.make(records - there)
    made = [id_ for id_ in scene.books.bodies if id_ not in scene.there]
    scene.read(made)
    chosen = scene.draw.sample(sorted(scene.there), edited)
    scene.edits(chosen[0::3], "level", "重点")
    scene.edits(chosen[1::3], "street", "改后的地址")
    scene.changes_there(chosen[2::3], "remark", "金蝶里改的")
    scene.work()
    wrong = len(scene.differences())
    told = {}
    for name in (OUT, IN):
        scene.site.cli("mapping", "rollback", name, "--note", "bad")
    scene.work()
    for name in (IN, OUT):  # what came in first: it may have gone out since
        told[name] = scene.site.json("mapping", "rollback", name, "--note", "bad", "--repair", "--yes")[
            "repair"
        ]
        scene.work()
    scene.read([*scene.there, *made])
    return {
        "seed": seed,
        "records": records,
        "edited": edited,
        "wrong_before": wrong,
        "repaired": sum(one["owed"] for one in told.values()),
        "left_to_a_person": sum(len(one["left"]) for one in told.values()),
        "differences": scene.differences(),
    }

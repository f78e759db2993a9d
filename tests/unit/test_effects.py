"""What follows from a decision, as hub.yaml states it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub import registry
from hub.model.kinds import KINDS, normalise
from hub.project import Project, ProjectInvalid, load_project
from hub.project.effects import ABOUT, EFFECTS

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "approvals"
STATED = """
  effects:
    contract:
      approved: {set: {status: fulfilled}, when: {status: [none, in_approval]}, open_plan: true}
    discount:
      rejected: {comment: remark}
"""


def load(folder: Path, stated: str) -> Project:
    (folder / "mappings").symlink_to(EXAMPLE / "mappings")
    written = (EXAMPLE / "hub.yaml").read_text("utf-8")
    (folder / "hub.yaml").write_text(written.replace("\napprovals:\n", f"\napprovals:{stated}\n"), "utf-8")
    return load_project(folder, registry.specs())


def test_what_is_shipped_names_fields_and_values_that_exist():
    for (subject, state), effect in EFFECTS.items():
        kind = KINDS[ABOUT[subject]]
        assert state in KINDS["approval"].fields["status"].choices
        assert {
            *effect.set,
            *effect.when,
            *filter(None, (effect.amount, effect.comment)),
        } <= kind.fields.keys()
        for name, value in effect.set.items():
            assert normalise(kind, name, value) == value
        for name, values in effect.when.items():
            assert all(normalise(kind, name, value) == value for value in values)
            assert effect.set[name] not in values  # once it is there the same decision does nothing


def test_a_subject_that_states_its_effects_has_only_these_and_the_others_stay(tmp_path: Path):
    effects = load(tmp_path, STATED).effects
    assert {state for subject, state in effects if subject == "contract"} == {"approved"}
    approved = effects["contract", "approved"]
    assert (approved.set, approved.when) == ({"status": "fulfilled"}, {"status": (None, "in_approval")})
    assert approved.open_plan
    assert effects["discount", "rejected"].comment == "remark"
    assert effects["refund", "approved"] == EFFECTS["refund", "approved"]


def test_a_project_that_states_none_has_what_is_shipped(tmp_path: Path):
    assert load(tmp_path, "").effects == EFFECTS


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ("{contrakt: {approved: {move: true}}}", "there is no subject 'contrakt'"),
        ("{contract: {agreed: {open_plan: true}}}", "an approval is never 'agreed'"),
        ("{contract: {approved: {set: {stutus: active}}}}", "'stutus' is not a field of contract"),
        ("{contract: {approved: {set: {status: signed}}}}", "must be one of draft"),
        ("{contract: {approved: {when: {status: [signed]}}}}", "must be one of draft"),
        ("{contract: {approved: {move: true}}}", "only a customer is transferred"),
        ("{refund: {approved: {open_plan: true}}}", "only a contract has a payment plan"),
        ("{contract: {approved: {comment: remrak}}}", "there is no field of contract 'remrak'"),
        ("{custom: {approved: {set: {status: active}}}}", "'status' is not a field of anything"),
        ("{contract: {approved: {sett: {status: active}}}}", "unknown key 'sett'"),
    ],
)
def test_a_mistake_in_an_effect_is_named(tmp_path: Path, stated: str, said: str):
    with pytest.raises(ProjectInvalid) as caught:
        load(tmp_path, f"\n  effects: {stated}\n")
    assert said in str(caught.value)

"""The Kingdee connector: customers and receipts, one request per step, every outcome said as it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from connectors.kingdee.checking import run_check
from connectors.kingdee.client import KingdeeClient
from connectors.kingdee.lookup import LEADS_TO, Lookup
from connectors.kingdee.objects import FORMS, SPEC, Form
from connectors.kingdee.outcomes import SessionLost
from connectors.kingdee.probing import run_probes
from connectors.kingdee.reading import ChangeReader
from connectors.kingdee.shape import Shape, leaves, rows_of
from hub.sdk import (
    Absent,
    Applied,
    Cause,
    CheckReport,
    ConnectionDown,
    Connector,
    ConnectorSpec,
    Failed,
    FindResult,
    Found,
    Gone,
    IntegrityError,
    Json,
    Next,
    OutcomeUnknown,
    Page,
    Probe,
    Refused,
    RemoteError,
    SourceRecord,
    Toolbox,
    VendorKey,
    VendorRef,
    Write,
    WriteResult,
    check_settings,
)

__all__ = ["KingdeeConnector"]

OPERATIONS: Mapping[str, str] = {
    "submit": "Submit",
    "audit": "Audit",
    "unaudit": "UnAudit",
    "cancel": "CancelAssign",
}
READS_STATUS: Mapping[bool, tuple[Cause, ...]] = {
    True: (Cause.STATE, Cause.INVALID),
    False: (Cause.STATE, Cause.INVALID, Cause.DUPLICATE),  # a move saves nothing: 已存在 is a successor
}
"""Is it a Save -> the refusals behind which the status may stand, for most of its texts are UNCONFIRMED (3.1)."""
SAVE_OPTIONS = ("InterationFlags", "IgnoreInterationFlag", "IsAutoAdjustField")


class KingdeeConnector(Connector):
    """One Kingdee 星空 site. Stateless but for its sessions; safe for concurrent calls in one event loop."""

    spec: ClassVar[ConnectorSpec] = SPEC

    def __init__(self, settings: dict[str, Any], tools: Toolbox) -> None:
        """Check the settings. Raises SettingsError with the field."""
        super().__init__(check_settings(SPEC.settings, settings), tools)
        self._client = KingdeeClient(self.settings, tools)
        self.slots = self._client.slots
        self._shapes = {name: Shape(form, self.settings["time_zone"]) for name, form in FORMS.items()}
        keys = {"customer": "FNumber", "receipt": self.settings["receipt_key_field"]}
        self._lookups = {
            name: Lookup(self._client, shape, keys[name], self.settings["org_num"])
            for name, shape in self._shapes.items()
        }

    def settle_after(self, object: str) -> float:  # noqa: ARG002 - the contract's word; one value for both
        """Return the seconds a write may take effect after its answer was lost: this connection's setting."""
        seconds: float = self.settings["settle_after"]
        return seconds

    async def check(self) -> CheckReport:
        """Test the connection step by step."""
        return await run_check(self._client, self.settings)

    async def probe(self) -> Sequence[Probe]:
        """Look at every UNCONFIRMED point of the fact sheet that a read can show; raise nothing."""
        return await run_probes(self._client, self.tools.clock)

    def read(self, stream: str, after: Json, *, org: str = "") -> AsyncIterator[Page]:
        """Yield pages of changes, in the order of their time; rows of one organisation if there is one."""
        bound = org or self.settings["org_num"]
        reader = ChangeReader(
            self._client,
            self._shapes[stream],
            self.tools,
            org="" if bound == "0" else bound,
            settings=self.settings,
        )
        return reader.pages(after, org)

    async def fetch(self, stream: str, keys: Sequence[VendorKey]) -> Sequence[SourceRecord | Gone | Failed]:
        """Read single records again, many in one query."""
        return await self._lookups[stream].fetch(keys, self.tools.clock.now())

    async def find(self, writes: Sequence[Write]) -> Sequence[FindResult]:
        """Look writes of unknown outcome up, one query for all that are alike."""
        results: dict[int, FindResult] = {}
        for name in dict.fromkeys(write.object for write in writes):
            alike = [write for write in writes if write.object == name]
            found = await self._lookups[name].find(alike)
            results.update((id(write), result) for write, result in zip(alike, found, strict=True))
        return [results[id(write)] for write in writes]

    async def write(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Make one request per write, as many at a time as there are sessions.

        Raises:
            IntegrityError: an answer was about another object; every write was made.
        """
        results = await asyncio.gather(*(self._write(write) for write in writes), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [result for result in results if not isinstance(result, BaseException)]

    async def close(self) -> None:
        """End the sessions."""
        await self._client.close()

    async def _write(self, write: Write) -> WriteResult:
        try:
            ref = await self._send(write)
        except RemoteError as error:
            return await self._second_look(write, error)
        return Next(ref) if write.step != write.plan[-1] else Applied(ref)

    async def _send(self, write: Write) -> VendorRef:
        """Make the request; if its session was lost look first, then send again, once per session at most."""
        for _ in range(self.settings["sessions"] + 1):
            try:
                return await (self._save(write) if write.step == "save" else self._operate(write))
            except SessionLost:
                (found,) = await self.find([write])
            if isinstance(found, Found) and found.as_sent:
                return found.ref
            if not isinstance(found, Absent | Found) or (isinstance(found, Found) and write.ref is None):
                raise OutcomeUnknown(
                    "the session was lost and the look-up does not settle it", vendor="kingdee"
                )
        raise ConnectionDown("Kingdee ended every session at once", cause=Cause.CREDENTIAL, vendor="kingdee")

    async def _save(self, write: Write) -> VendorRef:
        form, lookup = FORMS[write.object], self._lookups[write.object]
        model = self._shapes[write.object].model(write.payload, create=write.ref is None)
        key = lookup.key_of(write)
        data = {
            "NeedUpDateFields": [], "NeedReturnFields": _returned(form, lookup.key_field), "IsDeleteEntry": "true",
            "IsVerifyBaseDataField": "true", "ValidateFlag": "true", "NumberSearch": "true", "InterationFlags": "",
            **{name: write.options[name] for name in SAVE_OPTIONS if name in write.options},
        }  # fmt: skip
        if write.ref is None:
            data["Model"] = {form.pk: 0, **_keyed(model, form.entry, lookup.key_field, key)}
        else:
            if write.payload.get(form.entry):
                await self._name_rows(write, model[form.entry])
            # Rows that are not in the request would be deleted by default (8.3.3).
            data |= {"IsDeleteEntry": "false", "NeedUpDateFields": _updated(write, form.entry)}
            data["Model"] = {form.pk: int(write.ref.vendor_id), **model}
        result = await self._client.write(
            "Save", {"formid": form.form, "data": data}, deadline=write.deadline
        )
        return self._saved(write, result, key)

    async def _name_rows(self, write: Write, rows: list[dict[str, Any]]) -> None:
        """Give the rows of an update the ids they have. Raises Refused if there are not as many as there."""
        assert write.ref is not None
        entry = FORMS[write.object].entry
        ids = await self._lookups[write.object].entry_ids(write.ref.vendor_id)
        if len(ids) != len(rows):
            message = (
                f"{entry}: {len(rows)} rows are to be written, the document has {len(ids)}; a person decides"
            )
            raise Refused(message, cause=Cause.CONFLICT, vendor="kingdee", field=entry)
        rows[:] = [{"FEntryID": one, **row} for one, row in zip(ids, rows, strict=True)]

    def _saved(self, write: Write, result: Mapping[str, Any], key: str) -> VendorRef:
        """Return the reference an answered Save gives. Raises IntegrityError if it is about another object."""
        form, lookup = FORMS[write.object], self._lookups[write.object]
        entities = _entities(result)
        vendor_id = str(result.get("Id") or (entities[0].get("Id") if entities else "") or "")
        number = str(result.get("Number") or (entities[0].get("Number") if entities else "") or "")
        if not vendor_id.isdigit():
            raise OutcomeUnknown(
                "Kingdee saved without saying an id", cause=Cause.BAD_ANSWER, vendor="kingdee"
            )
        returned = result.get("NeedReturnData")
        first = returned[0] if isinstance(returned, list) and returned else returned
        said = first.get(lookup.key_field) if isinstance(first, dict) else None
        said = said or (number if lookup.key_field == form.number else "")
        if write.ref is None and said and str(said).casefold() != key.casefold():
            raise IntegrityError(Cause.FOREIGN, f"{form.form} {key} was sent, Kingdee answered {said}")
        if write.ref is not None and vendor_id != write.ref.vendor_id:
            raise IntegrityError(
                Cause.FOREIGN, f"{form.form} {write.ref.vendor_id} was sent, answered: {vendor_id}"
            )
        before = write.ref.stage if write.ref else None
        known = write.ref.stable_key if write.ref else None
        return VendorRef(vendor_id, number or known, "A" if before in (None, "Z") else before)

    async def _operate(self, write: Write) -> VendorRef:
        form = FORMS[write.object]
        assert write.ref is not None
        ref = write.ref
        data = {
            "CreateOrgId": 0,
            "Numbers": [],
            "Ids": ref.vendor_id,
            "NetworkCtrl": "",
            "IgnoreInterationFlag": "",
        }
        body = {"formid": form.form, "data": data}
        result = await self._client.write(OPERATIONS[write.step], body, deadline=write.deadline)
        done = {str(entity.get("Id")) for entity in _entities(result)}
        if done and ref.vendor_id not in done:
            raise IntegrityError(
                Cause.FOREIGN, f"{form.form} {ref.vendor_id}: {write.step} answered for {sorted(done)}"
            )
        if done:
            return replace(ref, stage=LEADS_TO[write.step][0])
        # An older server names nothing; a document that was never audited is missed by every report (8.3.5).
        seen = await self._lookups[write.object].stage(ref.vendor_id)
        if seen is None or seen.stage not in LEADS_TO[write.step]:
            raise OutcomeUnknown(f"{write.step} was answered, the status does not show it", vendor="kingdee")
        return seen

    async def _second_look(self, write: Write, error: RemoteError) -> WriteResult:
        """Read what a refusal is about before it is passed on (4.6; 8.1: 0, 10, 11, 12).

        Already as the step would leave it: applied. Another status than we knew: moved. Nothing there: gone.
        """
        if isinstance(error, Refused) and error.cause is Cause.DUPLICATE and write.ref is None:
            key_field = self._lookups[write.object].key_field
            if error.field is None or error.field.casefold() == key_field.casefold():
                return Failed(_as(error, Cause.ALREADY_DONE))
        own_id = FORMS[write.object].pk
        reads_status = READS_STATUS[write.step == "save"]
        asks = isinstance(error, Refused) and (
            error.cause in reads_status or (error.cause is Cause.NOT_FOUND and error.field in (None, own_id))
        )
        if not asks or write.ref is None:
            return Failed(error)
        try:
            seen = await self._lookups[write.object].stage(write.ref.vendor_id)
            if seen is None and await self._lookups[write.object].is_gone(write.ref.vendor_id):
                return Gone(VendorKey(write.org, write.ref.vendor_id))
        except RemoteError:
            return Failed(error)
        if seen is None or error.cause not in reads_status:
            return Failed(error)
        if seen.stage in LEADS_TO.get(write.step, ()):
            return Next(seen) if write.step != write.plan[-1] else Applied(seen)
        moved = seen.stage != write.ref.stage
        if error.cause is Cause.INVALID and (not moved or write.ref.stage is None):
            return Failed(error)  # the data, not the status
        return Failed(_as(error, Cause.MOVED if moved else Cause.STATE, detail={"stage": seen.stage}))


def _as(error: RemoteError, cause: Cause, *, detail: object = None) -> Refused:
    return Refused(
        str(error), cause=cause, vendor=error.vendor, code=error.code, field=error.field, detail=detail
    )


def _updated(write: Write, entry: str) -> list[str]:
    """Return NeedUpDateFields: the keys of the payload, of its rows, and the entity itself (2.3)."""
    rows = rows_of(write.payload, entry) if entry else ()
    names = (name.partition(".")[0] for row in rows for name, _ in leaves(row))
    return list(dict.fromkeys((*write.payload, *names)))


def _keyed(model: Mapping[str, Any], entry: str, key_field: str, key: str) -> dict[str, Any]:
    """Return a Model with our number in its place, else at the end of the head: rows come last (2.3)."""
    rows = {} if key_field in model else {name: sent for name, sent in model.items() if name == entry}
    return {name: sent for name, sent in model.items() if name not in rows} | {key_field: key} | rows


def _returned(form: Form, key_field: str) -> list[str]:
    """Return NeedReturnFields as the samples have them: the number and the key, for our own number the id (3.3)."""
    return [form.number, key_field if key_field != form.number else form.pk]


def _entities(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    status = result.get("ResponseStatus")
    entities = status.get("SuccessEntitys") if isinstance(status, dict) else None
    return [entity for entity in entities or () if isinstance(entity, dict)]

"""All a connector author imports: contract, spec, HTTP client, secrets, errors, clock and values.

The contract kit (:mod:`hub.sdk.kit`) and the frame of sandboxes (:mod:`hub.sdk.sandbox`) are imported by name: they
belong to tests and to local stand-ins.
"""

from __future__ import annotations

from hub.clock import SECOND, Clock, SystemClock
from hub.errors import (
    Cause,
    ConnectionDown,
    HubError,
    InboundRefused,
    IntegrityError,
    NotSent,
    OutcomeUnknown,
    Refused,
    RemoteError,
    SettingsError,
    TryAgain,
)
from hub.model.money import InvalidMoney, amount_text, parse_amount
from hub.model.record import Json
from hub.model.text import company_key
from hub.sdk.connector import (
    Absent,
    Applied,
    CannotTell,
    CheckReport,
    CheckStep,
    Connector,
    Emit,
    Failed,
    FindResult,
    Found,
    Gone,
    Next,
    Page,
    Probe,
    Several,
    SourceRecord,
    Toolbox,
    VendorKey,
    VendorRef,
    Write,
    WriteResult,
)
from hub.sdk.http import Answer, HttpClient, classify_status, retry_after
from hub.sdk.inbound import Health, InboundEvent, InboundRequest, Received
from hub.sdk.notice import Notice, Told
from hub.sdk.secret import Secret
from hub.sdk.settings import check_settings
from hub.sdk.slots import Slots
from hub.sdk.socket import Socket
from hub.sdk.spec import Approving, Budget, ConnectorSpec, Delivery, ObjectSpec, SettingSpec, Step, StreamSpec

__all__ = [
    "SECOND",
    "Absent",
    "Answer",
    "Applied",
    "Approving",
    "Budget",
    "CannotTell",
    "Cause",
    "CheckReport",
    "CheckStep",
    "Clock",
    "ConnectionDown",
    "Connector",
    "ConnectorSpec",
    "Delivery",
    "Emit",
    "Failed",
    "FindResult",
    "Found",
    "Gone",
    "Health",
    "HttpClient",
    "HubError",
    "InboundEvent",
    "InboundRefused",
    "InboundRequest",
    "IntegrityError",
    "InvalidMoney",
    "Json",
    "Next",
    "NotSent",
    "Notice",
    "ObjectSpec",
    "OutcomeUnknown",
    "Page",
    "Probe",
    "Received",
    "Refused",
    "RemoteError",
    "Secret",
    "SettingSpec",
    "SettingsError",
    "Several",
    "Slots",
    "Socket",
    "SourceRecord",
    "Step",
    "StreamSpec",
    "SystemClock",
    "Told",
    "Toolbox",
    "TryAgain",
    "VendorKey",
    "VendorRef",
    "Write",
    "WriteResult",
    "amount_text",
    "check_settings",
    "classify_status",
    "company_key",
    "parse_amount",
    "retry_after",
]

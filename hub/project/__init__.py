"""The project: what ``hub.yaml`` and its mappings say, as checked values."""

from __future__ import annotations

from hub.project.load import kinds_of, load_project, schemas_of
from hub.project.opening import newer, not_used, open_project, renewed
from hub.project.references import resolve, secret_names
from hub.project.revisions import numbers_in_force, publish_revisions, revisions_in_force
from hub.project.section import ProjectInvalid
from hub.project.values import (
    API,
    LANE_BULK,
    LANE_LIVE,
    LANE_MONEY,
    Admission,
    Connection,
    KindRules,
    LegalEntity,
    MatchRule,
    Project,
    ProjectFile,
    Retry,
    Setting,
    Sync,
)

__all__ = [
    "API",
    "LANE_BULK",
    "LANE_LIVE",
    "LANE_MONEY",
    "Admission",
    "Connection",
    "KindRules",
    "LegalEntity",
    "MatchRule",
    "Project",
    "ProjectFile",
    "ProjectInvalid",
    "Retry",
    "Setting",
    "Sync",
    "kinds_of",
    "load_project",
    "newer",
    "not_used",
    "numbers_in_force",
    "open_project",
    "publish_revisions",
    "renewed",
    "resolve",
    "revisions_in_force",
    "schemas_of",
    "secret_names",
]

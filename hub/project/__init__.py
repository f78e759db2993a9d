"""The project: what ``hub.yaml`` and its mappings say, as checked values."""

from __future__ import annotations

from hub.project.load import load_project, schemas_of
from hub.project.references import resolve, secret_names
from hub.project.revisions import publish_revisions
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
    "load_project",
    "publish_revisions",
    "resolve",
    "schemas_of",
    "secret_names",
]

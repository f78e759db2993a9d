"""The project: what ``hub.yaml`` and its mappings say, as checked values."""

from __future__ import annotations

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
    "Retry",
    "Setting",
    "Sync",
]

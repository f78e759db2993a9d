"""The CRM core: identify, merge, decide, query. Decisions are pure; reads take a scope."""

__all__: list[str] = []

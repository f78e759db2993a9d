"""The one pipe: take, claim, call, settle, by the tables of the design; everything else is an edge of it."""

__all__: list[str] = []

"""Who may ask, and for what: viewers, API tokens, local users, the gate before the API and the console."""

__all__: list[str] = []

"""The integration hub: a CRM core and business systems kept in step."""

__all__: list[str] = []

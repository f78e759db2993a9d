"""The integration hub: a CRM core and business systems kept in step."""

"""What a job would do, worked out from its spec alone; and how that is shown."""

from job.plan.plan import UNKNOWN_RUN_ID, Plan, make_plan, plan_document
from job.plan.tables import Table, plan_tables, tables_as_text, values_in_words

__all__ = [
    "UNKNOWN_RUN_ID",
    "Plan",
    "Table",
    "make_plan",
    "plan_document",
    "plan_tables",
    "tables_as_text",
    "values_in_words",
]

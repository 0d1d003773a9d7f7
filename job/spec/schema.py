"""The JSON Schema of the job spec, for editors and for checks outside this package."""

from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from job.spec.document import NOT_FIELDS
from job.spec.model import JobSpec
from job.spec.quantities import format_duration

DIALECT = GenerateJsonSchema.schema_dialect
# A name, not an address: the schema comes with the package (`tuning-job schema`).
SCHEMA_ID = "urn:tuning-job:job-spec:1"


class _Generator(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002 - pydantic's signature
        """Titles would repeat every field's name in another spelling."""
        return False

    def encode_default(self, dft: Any) -> Any:  # noqa: ANN401 - pydantic's signature
        """A duration as one writes it, where JSON's convention is ISO 8601."""
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def spec_schema() -> dict[str, Any]:
    """The schema of a spec document, with the shorthands of the space's entries and the `$schema` key of JSON."""
    schema = JobSpec.model_json_schema(schema_generator=_Generator)
    extras = {key: {"type": "string", "description": meaning} for key, meaning in NOT_FIELDS.items()}
    properties = {**extras, **schema["properties"]}
    return {"$schema": DIALECT, "$id": SCHEMA_ID, **schema, "title": "Job spec", "properties": properties}

"""What all documents between the operator and the process that holds the rows have in common."""

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """Immutable, strict about unknown fields, plain JSON on the wire."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    """Built when used: a step uses two of all documents."""

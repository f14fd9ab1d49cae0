"""The settings of how long things are kept."""

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings


class RetentionSettings(BaseSettings):
    retention_days: int = Field(
        0, ge=0, description="Conversations without a message for so many days are deleted; 0 keeps them."
    )
    job_history_days: int = Field(30, ge=0, description="Jobs that are done are listed for so long; 0 is for good.")
    webhook_history_days: int = Field(
        30, ge=0, description="Deliveries of webhooks, done or given up, are kept for so long; 0 is for good."
    )
    usage_days: int = Field(
        0, ge=0, description="What language models were used for is kept for so long, 62 days at least; 0 is for good."
    )
    revoked_key_days: int = Field(
        90, ge=0, description="API keys that were revoked or have expired are kept for so long; 0 is for good."
    )
    receipt_days: int = Field(365, ge=1, description="Receipts of erasures are kept for so long.")
    audit_days: int = Field(365, ge=365, description="The audit log is kept for so long; never less than a year.")

    @field_validator("usage_days")
    @classmethod
    def _whole_months(cls, days: int) -> int:
        """Limits of a month are counted from it."""
        if 0 < days < 62:
            raise ValueError("must be 0, or 62 at least")
        return days

"""A store by its address: file:///directory, or s3://bucket/prefix with a cache on the local disk."""

import os
from pathlib import Path

from controller.stores.local import LocalStore

CACHE_VARIABLE = "METACATALOG_STORE_CACHE"
"""Environment: where copies of an s3:// store are kept. The same name as the operator's own setting."""
CREDENTIAL_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
)
"""What a step needs of the operator's environment to reach an s3:// store (AWS SDKs' names)."""


def open_store(url: str, cache: Path, *, durable: bool = True) -> LocalStore:
    """Open a store. `durable` as in `LocalStore`."""
    if not url.startswith("s3://"):
        return LocalStore.from_url(url, durable=durable)
    from controller.stores.bucket import BucketStore  # its library is loaded only where it is used

    return BucketStore.open(url, cache)


def step_environment(url: str, cache: Path) -> dict[str, str]:
    """Return what a step's process needs of this one's environment to reach the store."""
    if not url.startswith("s3://"):
        return {}
    return {CACHE_VARIABLE: str(cache)} | {
        name: os.environ[name] for name in CREDENTIAL_VARIABLES if name in os.environ
    }

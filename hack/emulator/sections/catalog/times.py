"""Date-times as Meta writes them."""

from datetime import UTC, datetime


def written(at: float) -> str:
    """2019-07-15T12:38:36+0000 (Feed API Reference)."""
    return datetime.fromtimestamp(int(at), tz=UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")

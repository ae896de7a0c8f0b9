"""Wall time as a value. Monotonic time and waiting are the event loop's (`loop.time()`, `asyncio.sleep`)."""

import datetime as dt
from typing import Protocol


class Clock(Protocol):
    """Where `now` comes from. The composition root passes SystemClock, the simulation its own."""

    def now(self) -> dt.datetime:
        """Return the current time, always with time zone UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)  # noqa: TID251 - the one place

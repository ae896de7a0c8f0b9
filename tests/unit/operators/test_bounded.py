"""So many steps at the same time and no more."""

import asyncio
from datetime import UTC, datetime

from controller.operators.bounded import BoundedPreparing
from controller.ports.preparing import Request, Result, SentIDsRequest, SentIDsResult, SourceCredentials
from tests.kubernetes_memory import run_virtual


class Slow:
    def __init__(self) -> None:
        self.running = 0
        self.most = 0

    async def run(self, request: Request, credentials: SourceCredentials | None = None) -> Result:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(10)
        self.running -= 1
        return SentIDsResult(ids=request.prefix)


def test_no_more_than_allowed_run_at_once_and_all_come_to_their_end() -> None:
    async def run() -> None:
        slow = Slow()
        bounded = BoundedPreparing(slow, children_max=2)
        requests = [
            SentIDsRequest(
                store="file:///x", prefix=str(n), catalog_id="1", now=datetime(2026, 1, 1, tzinfo=UTC), sent=()
            )
            for n in range(5)
        ]
        results = await asyncio.gather(*(bounded.run(request) for request in requests))
        assert slow.most == 2
        assert [result.ids for result in results if isinstance(result, SentIDsResult)] == ["0", "1", "2", "3", "4"]
        assert asyncio.get_running_loop().time() == 30

    run_virtual(run())

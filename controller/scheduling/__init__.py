"""Who may touch what, when.

Pure: `ledger` (claims, intents, heads), `quota`, `cadence`. Awaiting: `queue` (keyed work queue) and `runner` (one slot
per key for what takes long). `governor` holds what this process knows about quotas and its lease between ledger writes.
"""

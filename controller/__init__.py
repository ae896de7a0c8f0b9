"""An operator that keeps product catalogs at Meta equal to what is declared in Kubernetes.

How a change travels, and where each step lives:

1. `operators`   kopf watches; an event goes into the store and its key into the work queue.
2. `reconcile`   a worker takes the key, reads what is declared and what is at Meta, asks `planning` what to do,
                 does it through `ports`, writes status, and says when it wants to run again.
3. `preparing`   a child process reads the source, compares it with what Meta has acknowledged, and encodes payloads.
                 Only this process holds rows; the operator sees counts and the names of stored objects.
4. `scheduling`  claims, quota and the ledger decide what may be sent now; the queue and the runner are what awaits.
5. `meta`        one HTTP attempt per call; every answer is classified once, by what happens next.

Functions that decide take (desired, observed, policy, now) and return values; functions that fetch decide nothing.
"""

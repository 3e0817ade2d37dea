from __future__ import annotations

import asyncio

# looptime asks the policy for its loop even in synchronous tests, and a policy that was never told of one makes one that
# nobody closes: a ResourceWarning in whichever test runs when it is collected.
asyncio.set_event_loop(None)

"""uvloop rounds timers to milliseconds and may call them early, which virtual time cannot show."""

from __future__ import annotations

import random

import uvloop

from sagemaker_operator.runtime.workqueue import WorkQueue


def test_delayed_keys_arrive_in_order_on_uvloop() -> None:
    async def main() -> list[str]:
        queue: WorkQueue[str] = WorkQueue(namespace_of=lambda key: key, workers=2, rng=random.Random(1))
        for number in (9, 1, 5, 3, 7):
            queue.add_after(str(number), number * 0.0017)
        taken = []
        for _ in range(5):
            taken.append(await queue.get())
            queue.done(taken[-1])
        queue.shutdown()
        return taken

    assert uvloop.run(main()) == ["1", "3", "5", "7", "9"]

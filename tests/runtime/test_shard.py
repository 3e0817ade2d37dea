from __future__ import annotations

import random
import uuid
from collections import Counter

import pytest

from sagemaker_operator.runtime.shard import Shard, fnv1a_64


@pytest.mark.parametrize(
    ("text", "expected"),
    # Landon Curt Noll's published test vectors of the 64-bit FNV-1a.
    [("", 0xCBF29CE484222325), ("a", 0xAF63DC4C8601EC8C), ("foobar", 0x85944171F73967E8)],
)
def test_the_hash_is_fnv1a(text: str, expected: int) -> None:
    assert fnv1a_64(text) == expected


@pytest.mark.parametrize("total", [1, 2, 3, 7, 16])
def test_every_uid_is_in_one_shard_and_the_shards_are_alike(total: int) -> None:
    rng = random.Random(total)
    uids = [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(4000)]
    owners = [[index for index in range(total) if Shard(index, total).owns(uid)] for uid in uids]
    assert all(len(found) == 1 for found in owners)
    counts = Counter(found[0] for found in owners)
    assert max(counts.values()) < 1.25 * len(uids) / total


def test_the_ranges_are_adjacent_and_cover_everything() -> None:
    bounds = [Shard(index, 3).bounds for index in range(3)]
    assert bounds[0][0] == 0
    assert bounds[2][1] == 1 << 64
    assert [low for low, _ in bounds[1:]] == [high for _, high in bounds[:-1]]


def test_doubling_splits_and_moves_nothing_between_the_old_halves() -> None:
    for number in range(200):
        uid = str(number)
        half = next(index for index in range(2) if Shard(index, 2).owns(uid))
        assert any(Shard(index, 4).owns(uid) for index in (2 * half, 2 * half + 1))

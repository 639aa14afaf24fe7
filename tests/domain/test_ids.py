from __future__ import annotations

import re
import uuid

import pytest

from gateway.domain.ids import new_attempt_id, new_prompt_id, new_replica_id


@pytest.mark.parametrize("new", [new_prompt_id, new_attempt_id])
def test_what_a_worker_may_see_is_a_canonical_uuid(new: type[str]) -> None:
    """Newer workers refuse any other spelling; a prompt_id and an attempt of it are of one length."""
    minted = {new() for _ in range(100)}
    assert len(minted) == 100
    assert all(str(uuid.UUID(id)) == id and len(id) == 36 for id in minted)


def test_two_runs_of_a_gateway_are_two_replicas() -> None:
    assert re.fullmatch("[0-9a-f]{12}", new_replica_id())
    assert new_replica_id() != new_replica_id()

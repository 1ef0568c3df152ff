import errno

import pytest

from tuningfork.domain.errors import RpcCode
from tuningfork.execution.trainer_process import unwritten


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_an_adapter_that_found_no_room_may_be_written_another_time(number):
    failed = unwritten(OSError(number, "no room"))
    assert failed.code is RpcCode.RESOURCE_EXHAUSTED
    assert "could not be written at the end of the training" in failed.message


@pytest.mark.parametrize("error", [NotADirectoryError(errno.ENOTDIR, "Not a directory"), OSError("something else")])
def test_an_adapter_that_cannot_be_written_at_all_ends_its_job(error):
    failed = unwritten(error)
    assert failed.code is RpcCode.INTERNAL
    assert failed.message.endswith("tune again")

import pytest
import torch

from tuningfork.modeling.device.threads import is_small, one_thread


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("only", "inside"), [(True, 1), (False, 3)])
def test_a_block_has_one_thread_or_all_and_gives_them_back(three_threads, only, inside):
    with one_thread(only=only):
        assert torch.get_num_threads() == inside
    assert torch.get_num_threads() == 3


def test_a_block_that_fails_gives_its_threads_back(three_threads):
    with pytest.raises(ZeroDivisionError), one_thread(only=True):
        _ = 1 / 0
    assert torch.get_num_threads() == 3


def test_little_work_over_weights_that_caches_hold_is_small():
    assert is_small(4 * 80 * 4e6)
    assert is_small(2 * 1 * 4e6, weight_bytes=8_000_000)
    assert not is_small(4 * 640 * 4e6)
    assert not is_small(2 * 1 * 135e6, weight_bytes=270_000_000)

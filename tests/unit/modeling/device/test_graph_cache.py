import math

import pytest
import torch

from tuningfork.modeling.device.capture import reexecution
from tuningfork.modeling.device.graph_cache import GraphCache, copy_to_buffer, power_of_two


def graphs(capture=reexecution, *, most=2, trials=1):
    return GraphCache(capture, most=most, trials=trials, rounding=0.1, warning="passes go on without graphs")


def nothing():
    """Operations that do nothing."""


def test_the_graphs_that_were_used_last_are_kept():
    cache = graphs()
    for shape in ("a", "b"):
        cache.make(shape, nothing, shape.upper())
    assert cache.get("a").content == "A"
    cache.make("c", nothing, "C")
    assert list(cache) == ["a", "c"]
    assert cache.get("b") is None


def test_stale_graphs_are_dropped():
    cache = graphs()
    cache.make("a", nothing, 1)
    cache.make("b", nothing, 2)
    cache.drop(lambda _shape, content: content == 1)
    assert list(cache) == ["b"]


def test_a_graph_that_cannot_be_made_ends_them_all_with_a_warning(caplog):
    def capture(operations):
        raise RuntimeError("operation not permitted")

    cache = graphs(capture)
    assert cache.attempt(lambda: cache.make("a", nothing, None)) is None
    assert not cache.is_on
    assert caplog.messages == ["passes go on without graphs: one could not be made or run: operation not permitted"]


@pytest.mark.parametrize(
    ("off", "is_on", "trials"), [(0.05, True, 1), (None, True, 2), (0.2, False, 1), (math.nan, False, 1)]
)
def test_a_graph_is_tried_as_often_as_was_asked_and_a_wrong_one_ends_them_all(off, is_on, trials, caplog):
    cache = graphs(trials=2)
    graph = cache.make("a", nothing, None)
    cache.judge(graph, off, "numbers are off by {off}")
    assert (cache.is_on, len(cache), graph.trials) == (is_on, int(is_on), trials)
    assert bool(caplog.messages) != is_on


def test_numbers_are_handed_over_to_the_beginning_of_a_buffer():
    buffer = torch.zeros(4, dtype=torch.long)
    copy_to_buffer(torch.tensor([1, 2]), buffer)
    assert buffer.tolist() == [1, 2, 0, 0]


def test_shapes_are_rounded_up_to_powers_of_two():
    assert [power_of_two(count) for count in (1, 2, 3, 8, 9)] == [1, 2, 4, 8, 16]

"""Compiled functions are tried before they are used, and what is wrong with one is found out and said."""

import ctypes
import dataclasses

import pytest
import torch

from tuningfork.modeling.compiled import products, proof
from tuningfork.modeling.compiled.library import library

LIBRARY = library()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="this installation has no compiled parts")
TRIALS = (proof.ProductTrial(torch.bfloat16, 37, (9, 4)),)
PLACES = {"tf_product": (5, 3), "tf_product_backward": (4, 3)}
"""Which arguments of a function are the address of its result and the number of its rows."""
EACH_FUNCTION = pytest.mark.parametrize("name", PLACES)


class Spoiled:
    """The library's functions; after one of them `spoil` changes the first number of its result."""

    def __init__(self, name, spoil):
        self._name, self._spoil = name, spoil
        LIBRARY.calls.tf_product.argtypes = products._FORWARD
        LIBRARY.calls.tf_product_backward.argtypes = products._BACKWARD

    def __getattr__(self, name):
        call = getattr(LIBRARY.calls, name)

        def spoiled(*args):
            code = call(*args)
            address, rows = (args[place] for place in PLACES[name])
            first = ctypes.c_float.from_address(address)
            first.value = self._spoil(first.value, rows)
            return code

        return spoiled if name == self._name else call


def passes(name, spoil):
    return proof.is_correct(dataclasses.replace(LIBRARY, calls=Spoiled(name, spoil)), TRIALS)


def test_the_library_of_this_installation_is_right_on_this_machine():
    assert proof.is_correct(LIBRARY)
    assert proof.proven() is LIBRARY


@EACH_FUNCTION
def test_functions_that_are_called_through_go_on_being_right(name):
    assert passes(name, lambda number, _: number)


@EACH_FUNCTION
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda number, _: number * 1.01 + 0.01, "off by"),
        (lambda _, __: float("nan"), "off by nan"),
        (lambda number, rows: number * (1 + 2.0**-22) if rows == 2 else number, "depend on the other rows"),
    ],
    ids=["wrong", "not a number", "by company"],
)
def test_a_wrong_result_is_found_and_told(name, spoil, reason, caplog):
    assert not passes(name, spoil)
    [record] = caplog.records
    assert reason in record.getMessage()
    assert "ProductTrial" in record.getMessage()


def test_an_error_of_a_function_counts_as_a_wrong_result(caplog):
    class Failing:
        def __getattr__(self, name):
            return lambda *_: 2

    assert not proof.is_correct(dataclasses.replace(LIBRARY, calls=Failing()), TRIALS)
    assert "MemoryError" in caplog.text

"""A page is found by its tokens, all tokens before it and the adapter, and by nothing that only looks alike."""

from tuningfork.inference.prefix_index import PrefixIndex

ADAPTER, ANOTHER = 3, 4


def chain(known: PrefixIndex, adapter: int, *pages: tuple[int, tuple[int, ...]]) -> None:
    before = None
    for page, tokens in pages:
        key = known.key_of((adapter, ""), before, tokens)
        assert key is not None
        known.add(key, page, adapter)
        before = page


def found(known: PrefixIndex, adapter: int, *runs: tuple[int, ...]) -> list[int]:
    pages: list[int] = []
    for tokens in runs:
        key = known.key_of((adapter, ""), pages[-1] if pages else None, tokens)
        page = None if key is None else known.find(key)
        if page is None:
            break
        pages.append(page)
    return pages


def test_a_beginning_is_found_as_far_as_it_is_known():
    known = PrefixIndex()
    chain(known, ADAPTER, (7, (1, 2)), (9, (3, 4)))
    assert found(known, ADAPTER, (1, 2), (3, 4), (5, 6)) == [7, 9]
    assert found(known, ADAPTER, (1, 2), (3, 5)) == [7]
    assert found(known, ADAPTER, (3, 4)) == []
    assert (7 in known, 8 in known) == (True, False)


def test_the_same_tokens_on_another_adapter_are_not_found():
    known = PrefixIndex()
    chain(known, ADAPTER, (7, (1, 2)), (9, (3, 4)))
    assert found(known, ANOTHER, (1, 2), (3, 4)) == []


def test_the_same_tokens_behind_others_are_not_found():
    known = PrefixIndex()
    chain(known, ADAPTER, (7, (1, 2)), (9, (3, 4)))
    chain(known, ADAPTER, (8, (2, 1)))
    assert found(known, ADAPTER, (2, 1), (3, 4)) == [8]


def test_tokens_whose_hashes_are_equal_are_not_confused():
    assert hash((-1, 5)) == hash((-2, 5))
    known = PrefixIndex()
    chain(known, ADAPTER, (7, (-1, 5)), (9, (-2, 5)))
    assert found(known, ADAPTER, (-2, 5)) == []
    assert found(known, ADAPTER, (-1, 5), (-1, 5)) == [7]


def test_the_number_of_a_page_is_not_taken_for_an_adapters():
    known = PrefixIndex()
    chain(known, ADAPTER, (7, (1, 2)), (9, (3, 4)))
    assert all(found(known, adapter, (3, 4)) == [] for adapter in range(-1, 10))


def test_what_lies_behind_a_forgotten_page_is_not_found_when_the_page_has_another_beginning():
    known = PrefixIndex()
    chain(known, ADAPTER, (7, (1, 2)), (9, (3, 4)))
    known.forget(7)
    known.forget(7)
    assert found(known, ADAPTER, (1, 2), (3, 4)) == []
    assert known.key_of((ADAPTER, ""), 7, (3, 4)) is None
    chain(known, ADAPTER, (7, (5, 6)))
    assert found(known, ADAPTER, (5, 6), (3, 4)) == [7]
    # The one behind can go, too, though nobody could find it any more.
    known.forget(9)
    assert 9 not in known


def test_the_pages_of_an_adapter_are_told_from_those_of_another_until_they_are_forgotten():
    known = PrefixIndex()
    chain(known, ADAPTER, (7, (1, 2)), (9, (3, 4)))
    chain(known, ANOTHER, (8, (1, 2)))
    known.forget(7)
    assert (known.of_adapter(ADAPTER), known.of_adapter(ANOTHER)) == ([9], [8])

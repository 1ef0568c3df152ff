"""A text is new once in ten minutes."""

from tuningfork.logs.once import AGAIN_SECONDS, Once


def test_a_text_is_new_once_until_it_was_not_told_for_a_while():
    now = [0.0]
    once = Once(lambda: now[0])

    assert [once.is_new(each) for each in ("a", "a", "b", "a")] == [True, False, True, False]
    now[0] = AGAIN_SECONDS - 1
    assert not once.is_new("a")
    now[0] = AGAIN_SECONDS
    assert [once.is_new("a"), once.is_new("a")] == [True, False]


def test_texts_that_never_come_again_take_no_memory_without_end():
    once = Once(lambda: 0.0)
    for number in range(3_000):
        assert once.is_new(str(number))

    assert len(once._told) <= 1_000

"""A preview of a dataset is the sum of those of its parts."""

from tuningfork.domain.preview import DatasetPreview, PreviewedExample, PreviewSegment, joined


def part(total, trained, longest, index, *shown):
    return DatasetPreview(
        total_tokens=total,
        trained_tokens=trained,
        longest_tokens=longest,
        longest_example=index,
        context_tokens=512,
        shown=shown,
    )


def test_tokens_are_counted_together_and_apart():
    example = PreviewedExample(
        segments=(
            PreviewSegment(text="User: 1\n", tokens=5, trained=False),
            PreviewSegment(text="2</s>", tokens=2, trained=True),
        )
    )

    assert (example.tokens, example.trained_tokens) == (7, 2)


def test_parts_are_joined_in_order_and_the_longest_example_is_found_again():
    first = PreviewedExample(segments=(PreviewSegment(text="a", tokens=3, trained=True),))

    assert joined([(0, part(10, 4, 6, 1, first)), (2, part(20, 5, 9, 3)), (7, part(1, 1, 1, 0))]) == part(
        31, 10, 9, 5, first
    )
    assert joined([(0, part(10, 4, 6, 1))]) == part(10, 4, 6, 1)
    assert joined([(0, part(6, 1, 6, 0)), (1, part(6, 1, 6, 0))]).longest_example == 0

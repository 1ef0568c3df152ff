import torch
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.modeling.chat_template import RenderedRow
from tuningfork.training.batches import OwnedSegment, Segment, pack
from tuningfork.training.sections import Share, pad_to_sections, rounded, sections_of


def segment(tokens, targets, first=0):
    """Distinct ids, so that each token can be told from all others."""
    ids = range(first + 1, first + 1 + tokens)
    return Segment.of(RenderedRow.of(tuple(ids[: tokens - targets]), tuple(ids[tokens - targets :])))


def shares_of(packed, kinds):
    tokens, targets = (torch.bincount(owners).tolist() for owners in (packed.owners_T, packed.owners_N))
    return [
        Share(owner=owner, kind=kind, tokens=tokens[owner], targets=targets[owner]) for owner, kind in enumerate(kinds)
    ]


@given(
    jobs=st.lists(
        st.lists(
            st.integers(2, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n - 1))), min_size=1, max_size=3
        ),
        min_size=1,
        max_size=5,
    ),
    kinds=st.lists(st.sampled_from("ab"), min_size=5, max_size=5),
)
def test_every_token_and_target_keeps_what_belongs_to_it(jobs, kinds):
    placed, first = [], 0
    for owner, sizes in enumerate(jobs):
        for tokens, targets in sizes:
            placed.append(OwnedSegment(segment=segment(tokens, targets, first), owner=owner))
            first += tokens
    packed = pack(placed)
    sections = sections_of(shares_of(packed, kinds[: len(jobs)]))
    layout = pad_to_sections(packed, sections)

    assert sorted(owner for section in sections for owner in section.owners) == list(range(len(jobs)))
    assert all(len({kinds[owner] for owner in section.owners}) == 1 for section in sections)
    assert sum(layout.lengths) == len(layout.ids_T) == sum(len(each.owners) * each.tokens for each in sections)
    assert len(layout.targets_N) == sum(len(each.owners) * each.targets for each in sections)
    assert torch.equal(layout.targets_N[layout.places_N], packed.targets_N)
    predicting_N = layout.predicting_N[layout.places_N]
    assert torch.equal(layout.ids_T[predicting_N], packed.ids_T[packed.predicting_N])
    assert torch.equal(layout.positions_T[predicting_N], packed.positions_T[packed.predicting_N])
    # Each block holds its own targets alone.
    begin = 0
    for section in sections:
        for owner in section.owners:
            own = predicting_N[packed.owners_N == owner]
            assert ((begin <= own) & (own < begin + section.tokens)).all()
            begin += section.tokens


def test_a_range_keeps_its_prefix_wherever_its_owners_block_is():
    head = tuple(range(1000, 1040))
    small = [OwnedSegment(segment=segment(5, 2), owner=0)]
    shared = [
        OwnedSegment(segment=Segment.of(RenderedRow.of((*head, extra), (7, 8))), owner=1) for extra in (100, 101, 102)
    ]
    packed = pack([*small, *shared], share=True)
    layout = pad_to_sections(packed, sections_of(shares_of(packed, "ab")))
    begins = [0]
    for length in layout.lengths:
        begins.append(begins[-1] + length)
    with_prefix = [(index, other) for index, other in enumerate(layout.prefixes) if other is not None]
    assert len(with_prefix) == 3
    for index, other in with_prefix:
        assert layout.ids_T[begins[other] : begins[other + 1]].tolist() == list(head)
        assert layout.ids_T[begins[index]] in (100, 101, 102)


def test_like_jobs_share_a_section_and_unlike_ones_do_not():
    def share(owner, tokens, kind="a"):
        return Share(owner=owner, kind=kind, tokens=tokens, targets=10)

    sections = sections_of([share(0, 40), share(1, 100), share(2, 90), share(3, 95, "b")])
    assert [section.owners for section in sections] == [(1, 2), (3,), (0,)]
    assert [section.tokens for section in sections] == [112, 96, 48]


def test_blocks_have_few_sizes_and_waste_little():
    for tokens in range(1, 2000):
        assert tokens <= rounded(tokens) < tokens + 16
        assert rounded(rounded(tokens)) == rounded(tokens)
    assert len({rounded(tokens) for tokens in range(1, 129)}) == 8

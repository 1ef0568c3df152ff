import torch
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.modeling.chat_template import RenderedExample
from tuningfork.training.batches import Placed, Segment, pack
from tuningfork.training.sections import Share, lay_out, rounded, sections_of


def segment(tokens, targets, first=0):
    """Distinct ids, so that each token can be told from all others."""
    ids = range(first + 1, first + 1 + tokens)
    return Segment.of(RenderedExample(tuple(ids[: tokens - targets]), tuple(ids[tokens - targets :])))


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
            placed.append(Placed(segment=segment(tokens, targets, first), owner=owner))
            first += tokens
    packed = pack(placed)
    sections = sections_of(shares_of(packed, kinds[: len(jobs)]))
    laid = lay_out(packed, sections)

    assert sorted(owner for section in sections for owner in section.owners) == list(range(len(jobs)))
    assert all(len({kinds[owner] for owner in section.owners}) == 1 for section in sections)
    assert sum(laid.lengths) == len(laid.ids_T) == sum(len(each.owners) * each.tokens for each in sections)
    assert len(laid.targets_N) == sum(len(each.owners) * each.targets for each in sections)
    assert torch.equal(laid.targets_N[laid.places_N], packed.targets_N)
    predicting_N = laid.predicting_N[laid.places_N]
    assert torch.equal(laid.ids_T[predicting_N], packed.ids_T[packed.predicting_N])
    assert torch.equal(laid.positions_T[predicting_N], packed.positions_T[packed.predicting_N])
    # Each block holds its own targets alone.
    begin = 0
    for section in sections:
        for owner in section.owners:
            own = predicting_N[packed.owners_N == owner]
            assert ((begin <= own) & (own < begin + section.tokens)).all()
            begin += section.tokens


def test_a_piece_that_goes_on_from_another_still_does_wherever_its_owner_is_laid():
    head = tuple(range(1000, 1040))
    small = [Placed(segment=segment(5, 2), owner=0)]
    shared = [Placed(segment=Segment.of(RenderedExample((*head, extra), (7, 8))), owner=1) for extra in (100, 101, 102)]
    packed = pack([*small, *shared], share=True)
    laid = lay_out(packed, sections_of(shares_of(packed, "ab")))
    begins = [0]
    for length in laid.lengths:
        begins.append(begins[-1] + length)
    going_on = [(piece, other) for piece, other in enumerate(laid.continued) if other is not None]
    assert len(going_on) == 3
    for piece, other in going_on:
        assert laid.ids_T[begins[other] : begins[other + 1]].tolist() == list(head)
        assert laid.ids_T[begins[piece]] in (100, 101, 102)


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

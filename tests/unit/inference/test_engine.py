"""What a caller of the engine meets: pieces of text, reasons to finish, counts, refusals, cancellation."""

from dataclasses import replace

import pytest
import torch

from engine_runs import Run, answers_of, greedy, request
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import InternalError, InvalidArgument
from tuningfork.domain.generation import FinishReason, Sampling
from tuningfork.inference.engine import InferenceEngine
from tuningfork.inference.kv_cache import PAGE_TOKENS
from tuningfork.modeling.adapters.slots import BASE_ALONE
from tuningfork.modeling.loading import LoadedBase, load_base

DRAWN = Sampling(temperature=1, top_p=1, top_k=None, max_output_tokens=12, seed=5)
PROMPT = tuple(b"what comes after two?")
ONE_TOKEN = 2 * 2 * 2 * 8 * 4
"""Bytes that the small models keep of a token: keys and values, layers, heads, head size, fp32."""


@pytest.fixture(scope="module", name="base")
def _base(tiny_directories) -> LoadedBase:
    from tiny_models import Architecture, tiny_base_model  # noqa: PLC0415

    return load_base(tiny_base_model(Architecture.LLAMA, tiny_directories["llama"]), dtype=torch.float32)


@pytest.fixture(name="ending")
def _ending(base):
    """Make the model end its turn after so many tokens, by calling the token that it says there an end."""
    before = base.chat.end_of_turn_ids

    def end_after(count: int) -> tuple[int, ...]:
        [answer] = answers_of(base, request("a", PROMPT, sampling=replace(DRAWN, max_output_tokens=count + 1))).values()
        *said, last = answer.tokens
        assert last not in said
        base.chat.end_of_turn_ids = frozenset({last})
        return tuple(said)

    yield end_after
    base.chat.end_of_turn_ids = before


def one(base: LoadedBase, sampling: Sampling, **options):
    [answer] = answers_of(base, request("a", PROMPT, sampling=sampling), **options).values()
    return answer


def decoded(base: LoadedBase, tokens: tuple[int, ...]) -> str:
    return base.chat.tokenizer.decode(list(tokens), skip_special_tokens=True)


def test_the_pieces_add_up_to_the_decoding_of_the_tokens(base):
    answer = one(base, replace(DRAWN, max_output_tokens=60))
    assert answer.text == decoded(base, answer.tokens)
    assert len([piece for piece in answer.pieces if piece]) > 5


def test_an_answer_is_cut_after_the_most_tokens_allowed(base):
    answer = one(base, DRAWN)
    assert answer.finish_reason is FinishReason.MAX_TOKENS
    assert (len(answer.tokens), answer.output_tokens, answer.prompt_tokens) == (12, 12, len(PROMPT))


def test_an_answer_ends_with_the_turn_whose_token_is_neither_shown_nor_counted(base, ending):
    said = ending(4)
    answer = one(base, DRAWN)
    assert answer.finish_reason is FinishReason.STOP
    assert (answer.tokens, answer.text) == (said, decoded(base, said))
    assert answer.output_tokens == 4


def test_an_answer_may_be_empty(base, ending):
    ending(0)
    answer = one(base, DRAWN)
    assert (answer.text, answer.finish_reason, answer.output_tokens) == ("", FinishReason.STOP, 0)


def test_a_stop_sequence_over_several_tokens_ends_the_answer_before_it(base):
    whole = one(base, replace(DRAWN, max_output_tokens=40)).text
    place = next(
        index for index in range(4, 30) if whole[index : index + 4].isprintable() and "\ufffd" not in whole[index:][:4]
    )
    stop = whole[place : place + 4]
    answer = one(base, replace(DRAWN, max_output_tokens=40, stop_sequences=("never said", stop)))
    assert answer.text == whole[: whole.index(stop)]
    assert answer.finish_reason is FinishReason.STOP
    assert answer.output_tokens < 40


@pytest.fixture(name="labelled")
def _labelled(base):
    """Give the base, as if it had no chat template, a label that it writes in its answer; what it says before."""
    before = base.chat.next_turn_labels
    whole = one(base, replace(DRAWN, max_output_tokens=40)).text
    place = next(
        index for index in range(4, 30) if whole[index : index + 4].isprintable() and "\ufffd" not in whole[index:][:4]
    )
    base.chat.next_turn_labels = (whole[place : place + 4],)
    yield whole[: whole.index(whole[place : place + 4])]
    base.chat.next_turn_labels = before


@pytest.mark.parametrize("tuned", [False, True])
def test_an_answer_ends_before_the_label_of_the_next_turn(base, labelled, tuned):
    slot = BASE_ALONE
    if tuned:
        # An adapter that changes nothing: the answer is the base's.
        slot = base.slots.load(base.slots.fresh(AdapterShape(rank=2, alpha=2.0), seed=1))
    asked = request("a", PROMPT, slot, replace(DRAWN, max_output_tokens=40, stop_sequences=("never said",)))
    [answer] = answers_of(base, asked).values()

    assert (answer.text, answer.finish_reason) == (labelled, FinishReason.STOP)
    assert answer.output_tokens < 40
    # No piece that was sent has to be taken back.
    assert labelled.startswith(answer.pieces[0])
    if tuned:
        base.slots.unload(slot)


def test_a_model_that_was_trained_to_write_labels_writes_them(base, labelled):
    asked = replace(request("a", PROMPT, sampling=replace(DRAWN, max_output_tokens=40)), stops_at_labels=False)
    [answer] = answers_of(base, asked).values()

    assert len(answer.text) > len(labelled)
    assert answer.finish_reason is FinishReason.MAX_TOKENS


def test_text_that_only_began_like_a_stop_sequence_is_shown_at_the_end(base):
    whole = one(base, DRAWN).text
    answer = one(base, replace(DRAWN, stop_sequences=(whole[-1] + "never said",)))
    assert (answer.text, answer.finish_reason) == (whole, FinishReason.MAX_TOKENS)


def test_a_stop_sequence_completed_by_the_last_character_counts_as_a_stop(base):
    whole = one(base, DRAWN).text
    answer = one(base, replace(DRAWN, stop_sequences=(whole[-2:],)))
    assert answer.text == whole[: whole.index(whole[-2:])]
    assert answer.finish_reason is FinishReason.STOP


def test_tokens_of_all_candidates_are_counted_together(base):
    run = Run(InferenceEngine(base)).add(request("a", PROMPT, sampling=replace(DRAWN, candidate_count=3)))
    answers = run.to_end()
    assert [candidate for _, candidate in answers] == [0, 1, 2]
    assert run.outputs[-1].chunk.output_tokens == sum(len(answer.tokens) for answer in answers.values()) == 36
    assert {answer.prompt_tokens for answer in answers.values()} == {len(PROMPT)}


def test_every_candidate_finishes_once(base):
    run = Run(InferenceEngine(base)).add(request("a", PROMPT, sampling=replace(DRAWN, candidate_count=8)))
    run.to_end()
    finished = [output.chunk.candidate for output in run.outputs if output.chunk.finish_reason]
    assert sorted(finished) == list(range(8))


def test_a_request_without_a_seed_is_answered_differently_each_time(base):
    how = replace(DRAWN, seed=None, max_output_tokens=20)
    assert one(base, how).tokens != one(base, how).tokens


def test_a_prompt_that_leaves_no_room_for_output_is_refused_with_both_numbers(base):
    engine = InferenceEngine(base)
    with pytest.raises(
        InvalidArgument, match=r"prompt is 512 tokens long; the model's context is 512 tokens"
    ) as refusal:
        engine.add(request("a", [1] * 512))
    assert [violation.field for violation in refusal.value.violations] == ["prompt"]
    assert not engine.has_work


def test_an_empty_prompt_is_refused(base):
    with pytest.raises(InvalidArgument, match="prompt is 0 tokens long"):
        InferenceEngine(base).add(request("a", []))


def test_a_prompt_that_the_cache_can_never_hold_is_refused_with_both_numbers(base):
    engine = InferenceEngine(base, cache_bytes=3 * PAGE_TOKENS * ONE_TOKEN)
    with pytest.raises(InvalidArgument, match=r"prompt is 96 tokens long; this server's memory .* holds 96 tokens"):
        engine.add(request("a", [1] * 96))
    engine.add(request("a", [1] * 95))


@pytest.mark.parametrize("options", [{}, {"cache_bytes": 3 * PAGE_TOKENS * ONE_TOKEN}])
def test_an_answer_that_reaches_the_longest_sequence_is_cut_there(base, options):
    engine = InferenceEngine(base, **options)
    prompt = [7] * (engine.longest_tokens - 5)
    [answer] = Run(engine).add(request("a", prompt, sampling=replace(DRAWN, max_output_tokens=100))).to_end().values()
    assert (len(answer.tokens), answer.finish_reason) == (5, FinishReason.MAX_TOKENS)


def test_a_request_waits_while_the_cache_is_full(base):
    run = Run(InferenceEngine(base, cache_bytes=3 * PAGE_TOKENS * ONE_TOKEN))
    run.add(request("first", [1] * 70, sampling=greedy(20)), request("second", [1] * 70, sampling=greedy(20)))
    while run.answers["first", 0].finish_reason is None:
        run.step()
        assert not run.answers["second", 0].pieces
    assert len(run.to_end()["second", 0].tokens) == 20


def test_all_memory_is_free_once_all_is_said(base):
    run = Run(InferenceEngine(base)).add(
        request("a", PROMPT, sampling=replace(DRAWN, candidate_count=3)), request("b", PROMPT)
    )
    total = run.engine._cache.free_pages
    run.step()
    assert run.engine._cache.free_pages < total
    run.to_end()
    assert run.engine._cache.free_pages == total
    assert run.engine.step() == []


def test_a_cancelled_request_frees_its_rows_and_says_no_more(base):
    engine = InferenceEngine(base, prefill_tokens=8)
    run = Run(engine).add(request("a", PROMPT, sampling=replace(DRAWN, candidate_count=3)), request("b", PROMPT))
    total = engine._cache.capacity_tokens // PAGE_TOKENS
    for _ in range(8):
        run.step()
    assert {output.request_id for output in run.outputs} == {"a", "b"}
    engine.cancel("a")
    engine.cancel("b")
    assert (engine.has_work, engine._cache.free_pages) == (False, total)
    assert engine.step() == []


def test_one_candidate_can_end_before_the_others_and_changes_nothing_for_them(base):
    asked = request("a", PROMPT, sampling=replace(DRAWN, candidate_count=3, max_output_tokens=24))
    undisturbed = Run(InferenceEngine(base)).add(asked)
    undisturbed.to_end()
    run = Run(InferenceEngine(base)).add(asked)
    for _ in range(8):
        run.step()
    run.engine.cancel("a", 1)
    run.engine.cancel("a", 1)
    run.engine.cancel("unknown", 0)
    run.to_end()

    assert all(run.answers["a", each].text == undisturbed.answers["a", each].text for each in (0, 2))
    assert run.answers["a", 1].finish_reason is None
    assert (run.engine.has_work, run.engine._cache.free_pages * PAGE_TOKENS) == (
        False,
        run.engine._cache.capacity_tokens,
    )


def test_a_request_cancelled_while_it_waits_or_reads_never_speaks(base):
    run = Run(InferenceEngine(base, prefill_tokens=8)).add(
        request("a", PROMPT, sampling=replace(DRAWN, candidate_count=3))
    )
    run.step()
    run.add(request("b", PROMPT))
    run.engine.cancel("a")
    run.engine.cancel("b")
    run.engine.cancel("unknown")
    run.to_end()
    assert run.outputs == []


def test_a_long_prompt_does_not_hold_up_those_who_speak_or_come_later(base):
    run = Run(InferenceEngine(base, prefill_tokens=32)).add(request("speaks", PROMPT, sampling=greedy(100)))
    run.step()
    run.add(request("long", [5] * 400), request("short", PROMPT))
    for _ in range(4):
        said = len(run._sequences["speaks", 0].tokens)
        run.step()
        assert len(run._sequences["speaks", 0].tokens) == said + 1
    assert run.answers["short", 0].pieces
    assert not run.answers["long", 0].pieces
    assert len(run.to_end()["long", 0].tokens) == 20


def test_a_row_that_is_not_numbers_fails_alone(base):
    poison = 200
    embeddings = base.model.get_input_embeddings().weight.data
    before = embeddings[poison].clone()
    embeddings[poison] = torch.nan
    wanted = one(base, DRAWN).tokens
    run = Run(InferenceEngine(base)).add(
        request("well", PROMPT, sampling=DRAWN),
        request("ill", (*PROMPT, poison), sampling=DRAWN),
        request("ill too", (poison, 1), sampling=replace(DRAWN, candidate_count=2)),
    )
    answers = run.to_end()
    errors = {(each.request_id, each.chunk.candidate) for each in run.outputs if isinstance(each.error, InternalError)}
    assert errors == {("ill", 0), ("ill too", 0), ("ill too", 1)}
    assert answers["ill", 0].finish_reason is FinishReason.STOP
    assert answers["well", 0].tokens == wanted
    # Their pages go to others, who must not inherit anything.
    run.add(request("next", PROMPT, sampling=DRAWN), request("and next", PROMPT, sampling=DRAWN)).to_end()
    assert run.answers["next", 0].tokens == run.answers["and next", 0].tokens == wanted
    embeddings[poison] = before


@pytest.mark.bf16
def test_half_precision_generates_too(tiny_llama):
    base = load_base(tiny_llama, dtype=torch.bfloat16)
    assert len(one(base, replace(DRAWN, max_output_tokens=80)).tokens) == 80


def test_fewer_rows_than_one_request_may_take_are_refused(base):
    with pytest.raises(ValueError, match="at least 8"):
        InferenceEngine(base, max_rows=7)

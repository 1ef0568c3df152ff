"""Long prompts are read in parts between steps: owners share the time, and nobody waits for the end of a chunk."""

import pytest
import torch

from engine_runs import Run, answers_of, greedy, loud_adapter, request
from scheduling import carry_out, feed, scheduler, sequence
from tiny_models import Architecture, tiny_base_model
from tuningfork.inference.engine import InferenceEngine
from tuningfork.inference.prefill import ScheduledTokens
from tuningfork.inference.prompt_parts import ALONE_SECONDS, OTHERS_SHARE, PART_SECONDS, PartTurns
from tuningfork.inference.sequence import TokenRequest
from tuningfork.modeling.loading import load_base

STEP_SECONDS = 0.005


def apart(**options):
    return scheduler(prefill_tokens=64, pages=500, attention_tokens=50, **options, reads_apart=True)


def of_owner(name, tokens):
    return sequence(name, tokens, owner=name[0])


def read(plan, chunk):
    """What an engine does once all parts of a chunk have been computed."""
    chunk.sequence.reading = 0
    carry_out(plan, [chunk])


class Machine:
    """Time that passes as computed: parts and steps of given lengths, by the turns that are proven here."""

    def __init__(self, *readers: str, speaks: bool = True, part_seconds: float = 0.05) -> None:
        self.turns, self.readers, self.speaks, self.part = PartTurns(), list(readers), speaks, part_seconds
        self.used = dict.fromkeys(readers, 0.0)
        self.in_steps = 0.0

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            if self.speaks:
                self.in_steps += STEP_SECONDS
                self.turns.passed(STEP_SECONDS)
            owner = self.turns.next(self.readers, busy=self.speaks)
            if owner is not None:
                self.used[owner] = self.used.get(owner, 0.0) + self.part
                self.turns.spent(owner, self.part, alone=len(self.readers) == 1 and not self.speaks)

    @property
    def now(self) -> float:
        return self.in_steps + sum(self.used.values())


@pytest.mark.parametrize("readers", ["a", "ab", "abcde"])
def test_while_owners_run_steps_have_three_quarters_of_the_time_however_many_read(readers):
    machine = Machine(*readers)
    machine.run(100)

    # An owner comes with a first part that owes nothing yet; hence the margin.
    assert machine.in_steps / machine.now == pytest.approx(OTHERS_SHARE / (1 + OTHERS_SHARE), abs=0.05)


def test_owners_that_promptshave_equal_times():
    machine = Machine(*"abc")
    machine.run(30)

    assert max(machine.used.values()) - min(machine.used.values()) <= machine.part + 1e-9


def test_without_steps_reading_never_rests():
    machine = Machine("a", "b", speaks=False)
    machine.run(10)

    assert machine.used["a"] == pytest.approx(machine.used["b"], abs=machine.part)


def test_a_new_owner_reads_at_once_and_is_not_made_up_for_the_time_before():
    machine = Machine("a", "b")
    machine.run(50)
    machine.readers.append("c")
    turns = machine.turns

    assert turns.next(machine.readers, busy=True) == "c"
    machine.run(30)
    gained = machine.used["c"]
    # A third of what the parts have of 30 seconds, and no more.
    assert gained <= 30 / (1 + OTHERS_SHARE) / 3 + 2 * machine.part


def test_an_owner_that_leaves_and_comes_back_still_owes_steps_their_time():
    turns = PartTurns()
    assert turns.next(["a", "b"], busy=True) == "a"
    turns.spent("a", 1.0, alone=False)
    turns.next(["b"], busy=True)

    assert turns.next(["a"], busy=True) is None
    turns.passed(OTHERS_SHARE * 2)
    assert turns.next(["a"], busy=True) == "a"


def test_a_chunk_that_is_expensive_is_left_out_of_steps():
    plan = apart()
    long, short = of_owner("a long", 2_000), of_owner("a short", 5)
    long.cached = 1_600
    plan.add(long)
    plan.add(short)
    fed = feed(plan)

    assert fed == {"a short": 5}
    chunk = plan.apart()["a"]
    assert (chunk.sequence, chunk.tokens) == (long, 8)


def test_beside_other_owners_a_step_reads_a_quarter_of_its_usual_tokens():
    plan = apart()
    for name in ("a1", "a2", "a3", "b1"):
        plan.add(of_owner(name, 10))
    plan.add(of_owner("b2", 30))
    prompts = [{name for name, tokens in feed(plan).items() if tokens > 1} for _ in range(4)]

    assert [len(names) for names in prompts] == [1, 1, 1, 1]
    # Owners take turns; what is too large for such a step is read apart.
    assert {name[0] for name in prompts[0] | prompts[1]} == {"a", "b"}
    assert plan.apart()["b"].sequence.request.id == "b2"


def test_the_cuts_are_those_of_a_prompt_that_is_promptsin_steps():
    whole, parts = scheduler(prefill_tokens=64, pages=500, attention_tokens=50), apart()
    wanted, found = [], []
    for plan, cuts in ((whole, wanted), (parts, found)):
        it = of_owner("it", 2_000)
        plan.add(it)
        while it.missing > 1 or it.generated == 0:
            if fed := feed(plan):
                cuts.append(fed["it"])
            elif chunk := plan.apart().get("i"):
                plan.begin(chunk)
                cuts.append(chunk.tokens)
                read(plan, chunk)

    assert found == wanted


def test_each_owner_has_one_chunk_under_way_and_goes_on_with_it():
    plan = apart()
    for name in ("a1", "a2", "b1"):
        plan.add(of_owner(name, 300))
    feed(plan)
    chunks = plan.apart()
    assert set(chunks) == {"a", "b"}
    plan.begin(chunks["a"])

    feed(plan)
    assert plan.apart()["a"] == ScheduledTokens(chunks["a"].sequence, chunks["a"].tokens)


def test_of_an_owners_prompts_the_oldest_is_promptsevery_second_time():
    plan = apart()
    plan.add(of_owner("a old", 2_000))
    for number in range(20):
        plan.add(of_owner(f"a {number}", 100))
    plan.add(of_owner("b", 4))
    names = []
    for _ in range(10):
        feed(plan)
        chunk = plan.apart()["a"]
        plan.begin(chunk)
        names.append(chunk.sequence.request.id)
        read(plan, chunk)

    assert names.count("a old") == 5


def test_what_is_given_up_or_put_back_is_not_under_way_any_more():
    plan = apart()
    plan.add(of_owner("a", 300))
    plan.add(of_owner("b", 4))
    feed(plan)
    chunk = plan.apart()["a"]
    plan.begin(chunk)
    assert chunk.sequence.reading
    plan.remove(chunk.sequence)

    assert not chunk.sequence.reading
    assert plan.apart() == {}


@pytest.fixture(scope="module", name="base")
def _base(tiny_directories):
    return load_base(tiny_base_model(Architecture.LLAMA, tiny_directories["llama"]), dtype=torch.float32)


class Ticks:
    """A clock that advances by so many seconds each time it is looked at."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = 0.0, seconds

    def __call__(self) -> float:
        self.now += self.seconds
        return self.now


def owned(name: str, prompt: bytes, slot: int, *, tokens: int = 6) -> TokenRequest:
    return TokenRequest(id=name, prompt_ids=tuple(prompt), slot=slot, sampling=greedy(tokens), owner=name[0])


@pytest.fixture(name="slots")
def _slots(base):
    slots = [base.slots.load(loud_adapter(base, rank, seed=rank)) for rank in (4, 8)]
    yield slots
    for slot in slots:
        base.slots.unload(slot)


def requests_of(slots):
    return [
        owned("a", b"A long prompt of one owner, which takes many chunks. " * 4, slots[0]),
        owned("b", b"And another owner's prompt, which is as long as that one. " * 3, slots[1]),
        owned("c", b"short", slots[0], tokens=30),
    ]


@pytest.mark.parametrize("seconds", [0.0, 10.0])
def test_answers_beside_others_are_those_given_alone_whether_or_not_chunks_are_promptsin_parts(base, slots, seconds):
    """With a clock that stands still, a chunk is one part; with one that runs, each layer is a part."""
    alone = [answers_of(base, each, prefill_tokens=16)[each.id, 0].tokens for each in requests_of(slots)]
    run = Run(InferenceEngine(base, prefill_tokens=16, clock=Ticks(seconds))).add(*requests_of(slots))
    beside = run.to_end()

    assert [beside[name, 0].tokens for name in "abc"] == alone


def test_others_speak_between_the_parts_of_a_chunk(base):
    engine = InferenceEngine(base, prefill_tokens=16, clock=Ticks(10))
    run = Run(engine).add(owned("a", b"x" * 150, -1), owned("c", b"short", -1, tokens=40))
    between = 0
    while engine.has_work:
        before = len(run.outputs)
        run.step()
        [reader] = engine._scheduler.of_request("a") or [None]
        between += reader is not None and reader.reading > 0 and len(run.outputs) > before
    assert between > 3


@pytest.mark.parametrize("prefill_tokens", [16, 8], ids=["chunks multiplied together", "chunks row by row"])
@pytest.mark.parametrize("change", ["grow", "shrink"])
def test_a_chunk_goes_on_where_it_was_when_its_adapter_moves_in_memory(base, prefill_tokens, change):
    """The tables of adapters grow when many come, and shrink when many leave: the others change their places then."""
    others = [base.slots.load(loud_adapter(base, 4, seed=seed)) for seed in range(8 if change == "shrink" else 3)]
    own = base.slots.load(loud_adapter(base, 4, seed=8))
    asked = owned("a", b"A prompt that is read in parts. " * 4, own)

    def reads(move):
        """The answer's tokens, and in how many steps the prompt was read."""
        engine = InferenceEngine(base, prefill_tokens=prefill_tokens, clock=Ticks(10))
        run = Run(engine).add(asked, owned("b", b"other", -1, tokens=400))
        steps = 0
        while not run.answers["a", 0].tokens:
            run.step()
            steps += 1
            if move and next(iter(engine._scheduler.of_request("a"))).reading:
                tables = base.slots.tables.of_rank(4).version
                move()
                assert base.slots.tables.of_rank(4).version != tables
                move = None
        engine.cancel("b")
        return run.to_end()["a", 0].tokens, steps

    def move():
        if change == "grow":
            others.extend(base.slots.load(loud_adapter(base, 4, seed=seed)) for seed in range(10, 16))
        else:
            while others:
                base.slots.unload(others.pop())

    wanted, found = reads(None), reads(move)
    for slot in (*others, own):
        base.slots.unload(slot)

    assert found == wanted


def test_a_request_that_is_given_up_while_it_is_promptswrites_to_no_page_any_more(base):
    engine = InferenceEngine(base, prefill_tokens=16, clock=Ticks(10))
    run = Run(engine).add(owned("a", b"x" * 150, -1), owned("b", b"other", -1, tokens=10))
    while not next(iter(engine._scheduler.of_request("a"))).reading:
        run.step()
    engine.cancel("a")
    later = owned("c", b"Another prompt on the same pages. " * 4, -1)
    run.add(later).to_end()

    assert run.answers["c", 0].tokens == answers_of(base, later, prefill_tokens=16)["c", 0].tokens


def test_nothing_is_held_of_a_chunk_whose_request_is_given_up(base):
    """Also if no step follows, since there is no other request."""
    engine = InferenceEngine(base, prefill_tokens=16, clock=Ticks(10))
    run = Run(engine).add(owned("a", b"x" * 150, -1))
    while not next(iter(engine._scheduler.of_request("a"))).reading:
        run.step()
    assert len(engine._parts._passes) == 1
    engine.cancel("a")

    assert not engine.has_work
    assert not engine._parts._passes


def test_a_chunk_whose_pass_has_failed_is_read_anew(base):
    def fail():
        raise RuntimeError("no memory")
        yield

    asked = owned("a", b"x" * 150, -1)
    engine = InferenceEngine(base, prefill_tokens=16, clock=Ticks(10))
    run = Run(engine).add(asked)
    while not next(iter(engine._scheduler.of_request("a"))).reading:
        run.step()
    [under_way] = engine._parts._passes.values()
    under_way.parts = fail()
    with pytest.raises(RuntimeError, match="no memory"):
        run.step()
    assert not engine._parts._passes

    assert run.to_end()["a", 0].tokens == answers_of(base, asked, prefill_tokens=16)["a", 0].tokens


def test_a_part_ends_after_its_time(base):
    ticks = Ticks(0.0)
    engine = InferenceEngine(base, prefill_tokens=16, clock=ticks)
    assert PART_SECONDS < ALONE_SECONDS
    run = Run(engine).add(owned("a", b"x" * 150, -1), owned("b", b"y" * 4, -1, tokens=60))
    ticks.seconds = PART_SECONDS
    parts = 0
    while engine._scheduler.of_request("a") and not engine._scheduler.of_request("a")[0].generated:
        reader = engine._scheduler.of_request("a")[0]
        before = reader.cached
        run.step()
        parts += reader.cached == before
    assert parts > 5


def test_candidates_of_a_prompt_that_is_promptsin_parts_begin_together(base):
    asked = request("a", b"Several answers to one long prompt. " * 4, sampling=greedy(5, candidate_count=3))
    answers = answers_of(base, asked, prefill_tokens=16, clock=Ticks(10))

    assert len({answers["a", candidate].tokens for candidate in range(3)}) == 1

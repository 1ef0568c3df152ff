"""What goes between the server and its workers."""

import pickle
import subprocess
import sys

from tuningfork.domain.errors import BaseUnusable, Code, FieldViolation, InvalidArgument
from tuningfork.domain.generation import ChosenToken, Chunk, FinishReason, TokenLogprob
from tuningfork.execution.local.messages import Ended, Generated, Refused, Reports


def test_a_refusal_is_read_without_importing_torch():
    sent = pickle.dumps(Refused.of("7", BaseUnusable("the base is gone")))
    reader = (
        "import pickle, sys\n"
        "refused = pickle.loads(sys.stdin.buffer.read())\n"
        "assert 'torch' not in sys.modules\n"
        "print(refused.error.code.name, refused.error.message)\n"
    )

    read = subprocess.run([sys.executable, "-c", reader], input=sent, capture_output=True, check=True)

    assert read.stdout.decode() == f"{Code.INTERNAL.name} the base is gone\n"


def test_a_refusal_of_the_domain_stays_as_it_is():
    error = InvalidArgument("wrong", violations=(FieldViolation(field="prompt", description="too long"),))

    assert Refused.of("7", error).error is error


def test_what_a_step_gave_arrives_as_it_was_sent():
    logprob = TokenLogprob("one", 7, -0.5)
    whole = Chunk(
        candidate=1,
        text="one ",
        finish_reason=FinishReason.STOP,
        prompt_tokens=5,
        output_tokens=3,
        tokens=(ChosenToken(logprob, (logprob,)),),
    )
    plain = Chunk(candidate=0, text="", finish_reason=None, prompt_tokens=5, output_tokens=3)
    sent = Reports((Generated("7", plain), Generated("8", whole), Ended("8"), Refused("9", InvalidArgument("wrong"))))

    *arrived, refused = pickle.loads(pickle.dumps(sent)).reports

    assert arrived == [*sent.reports[:-1]]
    assert (refused.request_id, refused.error.message) == ("9", "wrong")

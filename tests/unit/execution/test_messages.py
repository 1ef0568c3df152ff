"""What goes between the server and its workers."""

import pickle
import subprocess
import sys

from tuningfork.domain.errors import FieldViolation, InvalidArgument, RpcCode
from tuningfork.execution.messages import Refused
from tuningfork.modeling.loading import BaseUnusable


def test_a_refusal_is_read_without_importing_torch():
    sent = pickle.dumps(Refused.of("7", BaseUnusable("the base is gone")))
    reader = (
        "import pickle, sys\n"
        "refused = pickle.loads(sys.stdin.buffer.read())\n"
        "assert 'torch' not in sys.modules\n"
        "print(refused.error.code.name, refused.error.message)\n"
    )

    read = subprocess.run([sys.executable, "-c", reader], input=sent, capture_output=True, check=True)

    assert read.stdout.decode() == f"{RpcCode.INTERNAL.name} the base is gone\n"


def test_a_refusal_of_the_domain_stays_as_it_is():
    error = InvalidArgument("wrong", violations=(FieldViolation(field="prompt", description="too long"),))

    assert Refused.of("7", error).error is error

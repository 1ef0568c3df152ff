"""The digest of a job: a savepoint is resumed only by the job that wrote it, on the same base and data."""

import hashlib

from torch import Tensor

from tuningfork.domain.dataset_lines import line_of
from tuningfork.domain.objective import CrossEntropy
from tuningfork.training.batches import Segment
from tuningfork.training.examples import ExampleSource, RenderedExamples
from tuningfork.training.jobs import TrainingJob

_LAYOUT = "groups, B transposed"
"""The version of the order of an adapter's numbers in a savepoint. A job with a savepoint of another version starts
again."""

_BY_LINES = "lines:"
"""The prefix of digests that cover the examples' lines; digests of versions up to 0.2 cover all tokens instead."""

_RENDERED_EXAMPLES = 16
"""How many examples are also covered as tokens, so that another chat template or tokenizer gives another digest."""


def digest_of(job: TrainingJob, rendered: RenderedExamples, initial_P: Tensor | None, recorded: str | None) -> str:
    """The digest of everything that defines a job; its cost does not grow with the dataset.

    Args:
        job: the job; its `dataset_digest` stands for the examples.
        rendered: the job's examples, rendered.
        initial_P: the weights that the job starts from; None: they follow from its seed.
        recorded: the digest in the job's savepoint. A digest of an earlier version covers all tokens, so all examples
            are rendered to compare it.

    """
    digest = hashlib.sha256(repr((_LAYOUT, job.hyperparameters, job.adapter, job.seed)).encode())
    if job.hyperparameters.objective != CrossEntropy():
        digest.update(repr(job.hyperparameters.objective).encode())
    if initial_P is not None:
        digest.update(initial_P.numpy().tobytes())
    by_lines = recorded is None or recorded.startswith(_BY_LINES)
    for index in range(min(len(rendered), _RENDERED_EXAMPLES) if by_lines else len(rendered)):
        for segment in rendered[index]:
            digest.update(_bytes_of(segment))
    if not by_lines:
        return digest.hexdigest()
    digest.update((job.dataset_digest or digest_of_lines(job.examples)).encode())
    return _BY_LINES + digest.hexdigest()


def digest_of_lines(examples: ExampleSource) -> str:
    """The SHA-256 of a dataset file that holds these examples, in hexadecimal digits."""
    digest = hashlib.sha256()
    for index in range(len(examples)):
        digest.update(line_of(examples[index]))
    return digest.hexdigest()


def _bytes_of(segment: Segment) -> bytes:
    borders = [border for span in segment.spans for border in span if border < segment.tokens]
    return b"".join(border.to_bytes(8, "big") for border in borders) + segment.ids_T.numpy().tobytes()

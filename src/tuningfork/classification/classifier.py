"""Text classifiers: one forward pass over a batch of pieces scores every label of each.

Shape suffixes: B pieces, T tokens, L labels.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from tuningfork.classification.loading import RaterUnusable, load_model, load_tokenizer
from tuningfork.classification.windows import OVERLAP
from tuningfork.domain.errors import InternalError
from tuningfork.domain.rater import Activation, ClassifierModel, Passage
from tuningfork.domain.safety import HARMLESS, Assessment, HarmCategory

BATCH_TOKENS = 8_192
"""The most tokens of a batch, padding included, to limit the memory of a forward pass."""

_ENDLESS = 1_000_000
"""A maximum length above this means that the tokenizer has none."""


class Classifier:
    """Implements `classification.base.PassageRater`.

    Raises:
        RaterUnusable: the model cannot be loaded, or has other labels than its description names.

    """

    most_together = 32

    def __init__(self, described: ClassifierModel, *, device: str) -> None:
        self._described = described
        kind = AutoModelForSequenceClassification
        self._model = load_model(described, kind, device=device, dtype=torch.float32)
        self._tokenizer = load_tokenizer(described)
        self._device = torch.device(device)
        self._labels = self._find_labels()
        # None: the tokenizer has no padding token, so only pieces of equal length share a batch.
        self._pad_id: int | None = self._tokenizer.pad_token_id
        self._window = self._longest()
        if self._window - self._tokenizer.num_special_tokens_to_add() < OVERLAP:
            raise RaterUnusable(f"pieces of {self._window} tokens hold no text; give the model a larger window_tokens")
        self._try_longest()

    def rate(self, passages: Sequence[Passage]) -> list[Assessment]:
        """See `PassageRater.rate`. A classifier ignores the speaker and the question."""
        pieces = [(number, ids_T) for number, passage in enumerate(passages) for ids_T in self._pieces(passage.text)]
        assessments = [HARMLESS] * len(passages)
        for batch in self._batches(pieces):
            for (number, _), scores_L in zip(batch, self._score([ids_T for _, ids_T in batch]), strict=True):
                assessments[number] = assessments[number].or_worse(self._assess(scores_L))
        return assessments

    def _pieces(self, text: str) -> Iterator[list[int]]:
        """The token ids of each piece, with the special tokens that the model puts around a text."""
        inner = self._window - self._tokenizer.num_special_tokens_to_add()
        encoded = self._tokenizer(
            text,
            truncation=True,
            max_length=self._window,
            stride=inner // OVERLAP,
            return_overflowing_tokens=True,
            # A control token's name within a text is encoded as plain text.
            split_special_tokens=True,
            verbose=False,
        )
        yield from encoded["input_ids"]

    def _batches(self, pieces: list[tuple[int, list[int]]]) -> Iterator[list[tuple[int, list[int]]]]:
        """Batches of pieces of similar length, each of at most `BATCH_TOKENS`, with each piece's number."""
        batch: list[tuple[int, list[int]]] = []
        for piece in sorted(pieces, key=lambda each: len(each[1])):
            if batch and (self._pad_id is None or (len(batch) + 1) * len(piece[1]) > BATCH_TOKENS):
                yield batch
                batch = []
            batch.append(piece)
        if batch:
            yield batch

    @torch.inference_mode()
    def _score(self, pieces: Sequence[Sequence[int]]) -> list[list[float]]:
        longest = max(map(len, pieces))
        fill = self._pad_id or 0
        ids_BT = torch.tensor([[*piece, *[fill] * (longest - len(piece))] for piece in pieces], device=self._device)
        mask_BT = torch.tensor(
            [[1] * len(piece) + [0] * (longest - len(piece)) for piece in pieces], device=self._device
        )
        logits_BL: Tensor = self._model(input_ids=ids_BT, attention_mask=mask_BT).logits.float()
        if not torch.isfinite(logits_BL).all():
            raise InternalError(f"the rater's model {self._described.location} computed values that are not finite")
        softmax = self._described.activation is Activation.SOFTMAX
        scores_BL = logits_BL.softmax(-1) if softmax else logits_BL.sigmoid()
        scores: list[list[float]] = scores_BL.tolist()
        return scores

    def _assess(self, scores_L: Sequence[float]) -> Assessment:
        # The probabilities of mutually exclusive labels (softmax) are added; of independent labels the largest counts.
        total = sum if self._described.activation is Activation.SOFTMAX else max
        cut_points = self._described.cut_points
        return Assessment.of(
            {
                category: cut_points.probability(total(scores_L[index] for index in indices))
                for category, indices in self._labels.items()
            }
        )

    def _find_labels(self) -> dict[HarmCategory, list[int]]:
        own = {str(label): int(index) for index, label in (self._model.config.id2label or {}).items()}
        found: dict[HarmCategory, list[int]] = defaultdict(list)
        for label, categories in self._described.labels:
            if label not in own:
                raise RaterUnusable(
                    f"the rater's model {self._described.location} has no label {label!r}; its labels are "
                    f"{', '.join(sorted(own))}"
                )
            for category in categories:
                found[category].append(own[label])
        return found

    def _longest(self) -> int:
        """The most tokens of a piece, special tokens included."""
        limits = [self._described.window_tokens, getattr(self._model.config, "max_position_embeddings", None)]
        if self._tokenizer.model_max_length < _ENDLESS:
            limits.append(self._tokenizer.model_max_length)
        return min(limit for limit in limits if limit)

    def _try_longest(self) -> None:
        """Rate a piece of the greatest length, since some models have fewer positions than their configuration says."""
        (some_T, *_) = self._pieces("a")
        try:
            self._score([[*some_T, *[some_T[-1]] * (self._window - len(some_T))]])
        except (IndexError, RuntimeError) as error:
            raise RaterUnusable(
                f"the rater's model {self._described.location} cannot take {self._window} tokens at once ({error}); "
                "give it a smaller window_tokens"
            ) from error

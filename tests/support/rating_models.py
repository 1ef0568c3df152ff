"""Small rating models whose answers are known, because their weights are written by hand.

All attend evenly to all tokens before them, so that what a word says reaches the place where the answer is read. The
classifiers (BERT, RoBERTa, DistilBERT) score a label near 1 as soon as one of its words is in the piece, else near 0.
The guard (a Llama) says `safe`, or `unsafe` and the codes of the harmful words that it has read.
"""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

WINDOW = 32
"""Tokens that the classifiers read at once."""

LABELS = ("insult", "threat", "porn", "harmless")
"""The words of the first three are `insulting`, `threatening` and `pornographic`; the last has none."""

CLASSIFIERS = ("bert", "roberta", "distilbert")

_WORDS = ("insulting", "threatening", "pornographic")
_SPECIALS = ("[UNK]", "[PAD]", "[CLS]", "[SEP]")
_HIDDEN = 8


def save_classifier(kind: str, directory: Path, *, padding: bool = True) -> Path:
    """Write a classifier of this architecture with its tokenizer; returns the directory."""
    _word_tokenizer(padding=padding).save_pretrained(directory)
    model = _blank_classifier(kind)
    inner = getattr(model, kind)
    with torch.no_grad():
        for name, weight in inner.named_parameters():
            weight.fill_(1.0 if "norm.weight" in name.lower() else 0.0)
        for module in inner.modules():
            if isinstance(module, nn.Linear) and module.weight.shape == (_HIDDEN, _HIDDEN):
                nn.init.eye_(module.weight)
        for name, module in inner.named_modules():
            # Alike questions and answers to them: attention is even.
            if name.endswith(("query", "key", "q_lin", "k_lin")):
                module.weight.zero_()
        _write_embeddings(inner.embeddings.word_embeddings.weight)
        _write_head(model, kind)
    model.save_pretrained(directory)
    return directory


def _blank_classifier(kind: str) -> PreTrainedModel:
    labels = {
        "id2label": dict(enumerate(LABELS)),
        "label2id": {label: index for index, label in enumerate(LABELS)},
        "vocab_size": len(_SPECIALS) + len(_WORDS),
        "pad_token_id": 1,
    }
    if kind == "distilbert":
        shape = {"dim": _HIDDEN, "n_layers": 1, "n_heads": 1, "hidden_dim": 4, "max_position_embeddings": WINDOW}
        return DistilBertForSequenceClassification(DistilBertConfig(**shape, **labels))
    shape = {"hidden_size": _HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4}
    if kind == "roberta":
        # Its positions begin behind the padding token's number.
        return RobertaForSequenceClassification(RobertaConfig(max_position_embeddings=WINDOW + 2, **shape, **labels))
    return BertForSequenceClassification(BertConfig(max_position_embeddings=WINDOW, **shape, **labels))


def _write_embeddings(weight: torch.Tensor) -> None:
    """Each word points in a direction of its own, all others in one; each has the mean 0 that norms ask for."""
    weight[: len(_SPECIALS), 6], weight[: len(_SPECIALS), 7] = 1.0, -1.0
    for number in range(len(_WORDS)):
        weight[len(_SPECIALS) + number, number], weight[len(_SPECIALS) + number, number + 3] = 1.0, -1.0


def _write_head(model: PreTrainedModel, kind: str) -> None:
    if kind == "bert":
        first, last = model.bert.pooler.dense, model.classifier
    elif kind == "roberta":
        first, last = model.classifier.dense, model.classifier.out_proj
    else:
        first, last = model.pre_classifier, model.classifier
    for layer in (first, last):
        layer.weight.zero_()
        layer.bias.zero_()
    for label in range(len(_WORDS)):
        first.weight[label, label] = 100.0
        last.weight[label, label] = 12.0
        last.bias[label] = -6.0


def _word_tokenizer(*, padding: bool) -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate((*_SPECIALS, *_WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    if padding:
        names["pad_token"] = "[PAD]"
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=WINDOW, **names)


GUARD_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ' ' + message['content'] + ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'verdict' }}{% endif %}"
)
GUARD_CONTEXT = 256

_GUARD_WORDS = (
    "<unk>",
    "<end>",
    "user",
    "assistant",
    "verdict",
    "<blank>",
    "safe",
    "unsafe",
    "S1",
    "S2",
    "bomb",
    "porn",
)


def save_guard(directory: Path, *, blank_first: bool = False, mute: bool = False) -> Path:
    """Write a guard: code S1 for `bomb`, S2 for `porn`; returns the directory.

    `blank_first` lets it write white space before its verdict, as Llama Guard 3 does; `mute` makes it say neither word.
    """
    number = {word: index for index, word in enumerate(_GUARD_WORDS)}
    words = ["\n" if word == "<blank>" else word for word in _GUARD_WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<end>", chat_template=GUARD_TEMPLATE
    ).save_pretrained(directory)
    size = 2 * len(words)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words),
            hidden_size=size,
            intermediate_size=4,
            num_hidden_layers=1,
            num_attention_heads=1,
            head_dim=size,
            max_position_embeddings=GUARD_CONTEXT,
            eos_token_id=1,
            bos_token_id=None,
            pad_token_id=None,
        )
    )
    with torch.no_grad():
        _write_guard(model, number, blank_first=blank_first, mute=mute)
    model.generation_config = GenerationConfig(eos_token_id=1)
    model.save_pretrained(directory)
    return directory


def _write_guard(model: LlamaForCausalLM, number: dict[str, int], *, blank_first: bool, mute: bool) -> None:
    """Half of the hidden numbers say which word was last; the other half, which harmful ones were read."""
    words = len(number)
    for name, weight in model.named_parameters():
        weight.fill_(1.0 if "norm" in name else 0.0)
    nn.init.eye_(model.model.embed_tokens.weight)
    attention = model.model.layers[0].self_attn
    for word in (number["bomb"], number["porn"]):
        attention.v_proj.weight[word, word] = 1.0
        attention.o_proj.weight[words + word, word] = 10.0
    # What follows upon a last word, unless what has been read says more.
    follows = model.lm_head.weight
    follows[[number[word] for word in ("unsafe", "S1", "S2")], :words] = -5000.0
    asked, bomb, porn = number["<blank>" if blank_first else "verdict"], words + number["bomb"], words + number["porn"]
    if blank_first:
        follows[number["<blank>"], number["verdict"]] = 200.0
    if mute:
        follows[number["user"], asked] = 200.0
        return
    follows[number["safe"], asked] = 200.0
    follows[number["unsafe"], asked] = 190.0
    follows[number["unsafe"], bomb] = follows[number["unsafe"], porn] = 100.0
    for last, code, word in (("unsafe", "S1", bomb), ("unsafe", "S2", porn), ("S1", "S2", porn)):
        follows[number[code], number[last]] = 190.0
        follows[number[code], word] = 100.0
    for last in ("unsafe", "S1", "S2"):
        follows[number["<end>"], number[last]] = 191.0

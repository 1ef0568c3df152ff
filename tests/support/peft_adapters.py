"""Adapters in PEFT's format, written byte by byte: what PEFT itself would save, and what it never would."""

import io
import json
import random
import struct
import tarfile

LAYER = "base_model.model.model.layers.0.self_attn.q_proj"


def config(**changes):
    """A configuration as PEFT writes it, of rank 4."""
    plain = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "somebody/base",
        "r": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.1,
        "bias": "none",
        "target_modules": ["q_proj"],
        "use_dora": False,
        "use_rslora": False,
        "rank_pattern": {},
        "alpha_pattern": {},
        "modules_to_save": None,
        "inference_mode": True,
        "init_lora_weights": True,
        "peft_version": "0.21.2",
    }
    return json.dumps(plain | changes).encode()


def matrices(rank=4, inputs=8, outputs=6, layers=(LAYER,)):
    """Names and shapes of both matrices of each layer."""
    return {
        f"{layer}.lora_{letter}.weight": shape
        for layer in layers
        for letter, shape in (("A", (rank, inputs)), ("B", (outputs, rank)))
    }


def weights(shapes=None, *, seed=0, numbers=None, kind="F32", **header):
    """A safetensors file. `numbers` by name replace random ones; `header` replaces entries of the header."""
    chance = random.Random(seed)
    entries, data = {}, b""
    for name, (rows, columns) in (matrices() if shapes is None else shapes).items():
        values = (numbers or {}).get(name) or [chance.uniform(-1, 1) for _ in range(rows * columns)]
        packed = struct.pack(f"<{len(values)}f", *values)
        if kind == "BF16":
            packed = b"".join(packed[at + 2 : at + 4] for at in range(0, len(packed), 4))
        elif kind == "F16":
            packed = struct.pack(f"<{len(values)}e", *values)
        entries[name] = {
            "dtype": kind,
            "shape": [rows, columns],
            "data_offsets": [len(data), len(data) + len(packed)],
        }
        data += packed
    return assembled({"__metadata__": {"format": "pt"}, **entries, **header}, data)


def assembled(header, data):
    """A file of this header and these bytes."""
    told = json.dumps(header).encode()
    return len(told).to_bytes(8, "little") + told + data


def files(**changes):
    """The two files of an adapter."""
    return {"adapter_config.json": config(**changes), "adapter_model.safetensors": weights()}


def written(directory, contents=None):
    """A directory with these files."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in (files() if contents is None else contents).items():
        (directory / name).write_bytes(content)
    return directory


def packed(members):
    """A tar archive: names, or members, with their contents."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for each, content in members:
            member = tarfile.TarInfo(each) if isinstance(each, str) else each
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def archive(**changes):
    """The archive of an adapter."""
    return packed(files(**changes).items())

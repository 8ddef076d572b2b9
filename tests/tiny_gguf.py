"""A tiny language model with random weights, and its GGUF file as llama.cpp's converter would write it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmcl_bench.core.files import file_sha256
from mmcl_bench.encoders import smollm2

LAYERS, HEADS, KEY_HEADS, WIDTH = 2, 2, 1, 32
# A byte-pair vocabulary in the form of GPT-2, where Ġ is a space; "drink" is one token.
TOKENS = ["<end>", *"abcdefghijklmnopqrstuvwxyz", "Ġ", ".", "dr", "in", "drin", "drink"]
MERGES = ["d r", "i n", "dr in", "drin k"]
_NAMES = {
    "embed_tokens": "token_embd",
    "norm": "output_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""Names of the format by those of transformers."""


def tiny_llama() -> Any:
    from transformers import LlamaConfig, LlamaModel

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        intermediate_size=64,
        max_position_embeddings=64,
        rms_norm_eps=1e-5,
    )
    return LlamaModel(config).eval()


def write_gguf(path: Path, model: Any, leave_out: Collection[str] = (), architecture: str = "llama") -> None:
    """Writes a :func:`tiny_llama`, without the tensors and the vocabulary (``tokens``) that are left out."""
    import gguf

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(64)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(TOKENS))
    if "tokens" not in leave_out:
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list(TOKENS)
        writer.add_token_merges(MERGES)
        writer.add_token_types([gguf.TokenType.CONTROL] + [gguf.TokenType.NORMAL] * (len(TOKENS) - 1))
        writer.add_eos_token_id(0)
    for key, tensor in model.state_dict().items():
        name = _gguf_name(key.removesuffix(".weight"))
        if name not in leave_out:
            writer.add_tensor(name, np.ascontiguousarray(_rotary_order(name, tensor.numpy())))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def stand_in_for_smollm2(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny model in the place of the packaged one, which takes long to read."""
    path = folder / "smollm2.gguf"
    write_gguf(path, tiny_llama())
    monkeypatch.setattr(smollm2, "packaged_file", lambda: path)
    monkeypatch.setattr(smollm2, "SHA256", file_sha256(path))


def _gguf_name(key: str) -> str:
    if not key.startswith("layers."):
        return f"{_NAMES[key]}.weight"
    _, layer, part = key.split(".", 2)
    return f"blk.{layer}.{_NAMES[part]}.weight"


def _rotary_order(name: str, weights: np.ndarray) -> np.ndarray:
    """llama.cpp turns neighbouring numbers of queries and keys, transformers those of the two halves of a head."""
    heads = {"attn_q": HEADS, "attn_k": KEY_HEADS}.get(name.split(".")[-2])
    if heads is None:
        return weights
    return weights.reshape(heads, 2, -1, weights.shape[1]).swapaxes(1, 2).reshape(weights.shape)

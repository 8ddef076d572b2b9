"""Tiny multimodal models with random weights, saved as the real ones are, and a tokenizer of a few words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from tokenizers import Tokenizer, models, pre_tokenizers

SPECIAL = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "<image>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<|vision_start|>",
    "<|vision_end|>",
)
_SAID = (
    "yes no person people head hands torso legs describe Please the Whether are interacting holding an object ? . : "
    "Question Answer up down bent"
)
WORDS = [*SPECIAL, *_SAID.split()]
PAD, UNKNOWN, BEGIN, END, IMAGE, QWEN_IMAGE, QWEN_VIDEO, QWEN_START, QWEN_END = range(9)
CHAT = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}"
    "{% endfor %}{% endfor %}Answer :"
)
_SIDE = {"height": 32, "width": 32}
_VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
}
_TEXT = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": PAD,
    "bos_token_id": BEGIN,
    "eos_token_id": END,
}


def tokenizer() -> Any:
    pad, unknown, begin, end, *images = SPECIAL
    words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token=unknown))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"pad": pad, "unk": unknown, "bos": begin, "cls": begin, "eos": end, "sep": end}
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=words,
        additional_special_tokens=images,
        **{f"{name}_token": token for name, token in names.items()},
    )


def write_blip_vqa(folder: Path) -> None:
    text = {**_TEXT, "encoder_hidden_size": 16, "projection_dim": 8, "sep_token_id": END}
    config = tf.BlipConfig(text_config=text, vision_config={**_VISION, "projection_dim": 8})
    _save(folder, tf.BlipForQuestionAnswering(config), tf.BlipProcessor(tf.BlipImageProcessor(size=_SIDE), tokenizer()))


def write_blip_2(folder: Path) -> None:
    processor = tf.Blip2Processor(tf.BlipImageProcessor(size=_SIDE), tokenizer(), num_query_tokens=4)
    _save(folder, tf.Blip2ForConditionalGeneration(_with_queries(tf.Blip2Config)), processor)


def write_instructblip(folder: Path) -> None:
    processor = tf.InstructBlipProcessor(
        tf.BlipImageProcessor(size=_SIDE), tokenizer(), tokenizer(), num_query_tokens=4
    )
    _save(folder, tf.InstructBlipForConditionalGeneration(_with_queries(tf.InstructBlipConfig)), processor)


def write_llava(folder: Path) -> None:
    config = tf.LlavaConfig(
        vision_config=tf.CLIPVisionConfig(**{**_VISION, "num_hidden_layers": 2, "projection_dim": 8}),
        text_config=tf.LlamaConfig(**_TEXT, num_key_value_heads=2),
        image_token_index=IMAGE,
    )
    processor = tf.LlavaProcessor(
        tf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=_SIDE),
        tokenizer(),
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT,
    )
    _save(folder, tf.LlavaForConditionalGeneration(config), processor, silent=False)


def write_qwen_vl(folder: Path) -> None:
    config = tf.Qwen2VLConfig(
        text_config={
            **_TEXT,
            "num_key_value_heads": 2,
            "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]},
        },
        vision_config={"depth": 1, "embed_dim": 16, "hidden_size": 16, "num_heads": 2, "mlp_ratio": 2},
        image_token_id=QWEN_IMAGE,
        video_token_id=QWEN_VIDEO,
        vision_start_token_id=QWEN_START,
        vision_end_token_id=QWEN_END,
    )
    processor = tf.Qwen2VLProcessor(
        tf.Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=8 * 28 * 28),
        tokenizer(),
        tf.Qwen2VLVideoProcessor(),
        chat_template=CHAT.replace("<image>", "<|vision_start|> <|image_pad|> <|vision_end|>"),
    )
    _save(folder, tf.Qwen2VLForConditionalGeneration(config), processor, silent=False)


FAMILIES: Mapping[str, Callable[[Path], None]] = {
    "blip-vqa": write_blip_vqa,
    "blip-2": write_blip_2,
    "instructblip": write_instructblip,
    "llava": write_llava,
    "qwen-vl": write_qwen_vl,
}


def write(family: str, folder: Path) -> Path:
    """A model of a family in ``folder``, the same for every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        FAMILIES[family](folder)
    return folder


def _with_queries(config: Any) -> Any:
    return config(
        vision_config=_VISION,
        qformer_config={**_TEXT, "num_hidden_layers": 1, "encoder_hidden_size": 16, "cross_attention_frequency": 1},
        text_config=tf.OPTConfig(
            **{name: value for name, value in _TEXT.items() if name != "intermediate_size"},
            ffn_dim=32,
            word_embed_proj_dim=16,
        ).to_dict(),
        num_query_tokens=4,
        image_token_index=IMAGE,
    )


def _save(folder: Path, model: Any, processor: Any, silent: bool = True) -> None:
    """One that may not be ``silent`` always has something to say."""
    # Larger than models begin with, so that answers depend on the image.
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.5)
    if not silent:
        with torch.no_grad():
            model.get_output_embeddings().weight[[PAD, END]] = 0
    model.save_pretrained(folder)
    processor.save_pretrained(folder)

"""Multimodal language models of transformers that lie on this machine, asked about images.

Three ways of asking, by what a model's own files are: those with a chat template get one turn with the image and the
instruction (LLaVA, Qwen-VL, GLM-4V, DeepSeek-VL and what else answers to ``AutoModelForImageTextToText``); BLIP-2 gets
``Question: ... Answer:``, as its authors prompt it; BLIP-VQA and InstructBLIP get the instruction as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.encoders.hf import load_local, load_trained, model_folder, model_name, settings_hash, weights_hash

if TYPE_CHECKING:
    import torch
    from PIL import Image

LONGEST = 48
"""Tokens after which an answer is cut."""
_UNSAMPLED = ("temperature", "top_p", "top_k", "min_p")
"""What a model's own files may say of sampling, which is not done here."""


@dataclass(frozen=True)
class Answer:
    """What a model answers to one instruction about one image."""

    text: str
    tokens: np.ndarray
    """float32 (T, D): of each token of the answer, the last hidden state from which it was chosen. T may be 0."""
    pooled: np.ndarray
    """float32 (D,): their mean; for an empty answer, the state from which its end was chosen."""


class Asked(Protocol):
    """Answers instructions about images."""

    name: str

    def identity(self) -> dict[str, str]:
        """What an answer follows from beside image and instruction."""

    def ask(self, images: Sequence[Image.Image], instruction: str) -> list[Answer]:
        """The answer to one instruction about each of some RGB images."""


class MultimodalModel:
    """A model and its processor: a folder, or a name in the local Hugging Face cache. Safetensors and no code.

    Answers are greedy, so the same image gives the same answer: float32 on a CPU, half precision on a GPU.
    """

    def __init__(self, argument: str, device: str = "cpu", longest: int = LONGEST) -> None:
        argument = argument.removeprefix("hf:")
        self._folder = model_folder(argument)
        self.name = model_name(argument, self._folder)
        self.device = device
        self.longest = longest

    @cached_property
    def weight_hash(self) -> str:
        return weights_hash(self._folder)

    def identity(self) -> dict[str, str]:
        """What an answer follows from beside image and instruction."""
        return {
            "encoder": self.name,
            "weights": self.weight_hash,
            "files": settings_hash(self._folder),
            "precision": self.precision,
            "longest": str(self.longest),
        }

    @cached_property
    def precision(self) -> str:
        """``float32`` on a CPU, ``bfloat16`` on a GPU that has it, else ``float16``."""
        if self.device == "cpu":
            return "float32"
        import torch

        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"

    def ask(self, images: Sequence[Image.Image], instruction: str) -> list[Answer]:
        """The answer to one instruction about each of some RGB images, which go through the model together."""
        import torch

        inputs = self._inputs(list(images), instruction).to(self.device, getattr(torch, self.precision))
        with torch.inference_mode():
            output = self._model.generate(
                **inputs,
                do_sample=False,
                num_beams=1,
                max_new_tokens=self.longest,
                return_dict_in_generate=True,
                output_hidden_states=True,
            )
        states = output.get("decoder_hidden_states") or output.get("hidden_states")
        if not states:
            raise UserError(f"{self.name}: gives no hidden states; choose another model")
        # The first step runs over the whole prompt; the answer begins with the state of its last token.
        last = torch.stack([step[-1][:, -1] for step in states], dim=1).float().cpu().numpy()
        chosen = output.sequences[:, -len(states) :].cpu()
        return [self._answer(tokens, states_of) for tokens, states_of in zip(chosen, last, strict=True)]

    def _answer(self, tokens: torch.Tensor, states: np.ndarray) -> Answer:
        words = tokens.tolist()
        length = next((at for at, token in enumerate(words) if token in self._ends), len(words))
        text = self._tokenizer.decode(words[:length], skip_special_tokens=True).strip()
        pooled = states[: max(length, 1)].mean(axis=0)
        return Answer(text, states[:length], pooled)

    def _inputs(self, images: list[Any], instruction: str) -> Any:
        processor = self._processor
        if getattr(processor, "chat_template", None):
            text = {"type": "text", "text": instruction}
            turns = [[{"role": "user", "content": [{"type": "image", "image": image}, text]}] for image in images]
            return processor.apply_chat_template(
                turns,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                processor_kwargs={"padding": True},
            )
        prompt = f"Question: {instruction} Answer:" if self._model.config.model_type == "blip-2" else instruction
        return processor(images=images, text=[prompt] * len(images), padding=True, return_tensors="pt")

    @cached_property
    def _ends(self) -> frozenset[int]:
        """Tokens that end an answer or fill it up."""
        tokenizer = self._tokenizer
        text_config = self._model.config.get_text_config()
        message = [
            tokenizer.eos_token_id,
            tokenizer.pad_token_id,
            tokenizer.sep_token_id,
            getattr(text_config, "eos_token_id", None),
            getattr(self._model.generation_config, "eos_token_id", None),
        ]
        listed = [each if isinstance(each, list | tuple) else [each] for each in message if each is not None]
        return frozenset(int(token) for tokens in listed for token in tokens)

    @property
    def _tokenizer(self) -> Any:
        return self._processor.tokenizer

    @cached_property
    def _processor(self) -> Any:
        from transformers import AutoProcessor

        processor = load_local(AutoProcessor, self._folder, self.name, "processor")
        if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
            raise UserError(f"{self.name}: {self._folder} holds no processor of images and text; copy it again")
        # Answers follow the prompt, so what fills up a batch stands before it.
        processor.tokenizer.padding_side = "left"
        return processor

    @cached_property
    def _model(self) -> Any:
        import torch
        from transformers import AutoConfig, AutoModelForImageTextToText, AutoModelForVisualQuestionAnswering

        config = load_local(AutoConfig, self._folder, self.name, "configuration")
        answers_questions = any(str(name).endswith("ForQuestionAnswering") for name in config.architectures or [])
        kind = AutoModelForVisualQuestionAnswering if answers_questions else AutoModelForImageTextToText
        model = load_trained(kind, self._folder, self.name, dtype=getattr(torch, self.precision))
        if not hasattr(model, "generate"):
            raise UserError(f"{self.name}: chooses among fixed answers; choose a model that writes them")
        for setting in _UNSAMPLED:
            setattr(model.generation_config, setting, None)
        return model.eval().to(self.device)

"""Prompts: what an encoder was trained to find in front of every text, such as "query: ", by name or as a text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from megalabel.errors import SettingError

DEFAULT, NO_PROMPT = "default", "none"  # what may be asked for beside a name and a text
_NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class Prompts:
    """The prompts of an encoder.

    Attributes:
        texts: the prompts by their names.
        default: the name of the one that every text begins with unless another is asked for; None for no prompt.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None

    def text(self, prompt: str, encoder: str) -> str:
        """The text of a prompt, "" for none.

        Args:
            prompt: "default", "none", the name of a prompt, or a text. What has only letters, digits, "_", "." and
                "-" is a name.
            encoder: the name of the encoder, for the message.

        Raises:
            SettingError: a name that no prompt has.
        """
        if not isinstance(prompt, str):
            raise SettingError(
                f"{prompt!r} is not text", wanted="default, none, the name of a prompt or a text", where="prompt"
            )
        if prompt in self.texts:
            return self.texts[prompt]
        if prompt == DEFAULT:
            return "" if self.default is None else self.texts[self.default]
        if prompt in ("", NO_PROMPT):
            return ""
        if _NAME.fullmatch(prompt):
            names = ", ".join(name for name in self.texts if name != DEFAULT)
            has = f"has the prompts {names}" if names else "names no prompts"
            raise SettingError(
                f"{prompt!r} is no prompt of the encoder {encoder!r}, which {has}",
                wanted=f"{DEFAULT}, {NO_PROMPT}, {'one of these names' if names else 'a text'}",
                next_step=f"or give a text with the sign or blank that it ends with, such as {prompt + ': '!r}",
                where="prompt",
            )
        return prompt

    def notes(self, prompt: str, chosen: str) -> list[str]:
        """What there is to say of the choice: which text, or which prompts there are where there is no default."""
        if chosen:
            return [f"prompt: every text begins with {chosen!r}"]
        names = [name for name, text in self.texts.items() if text]
        return [f"prompt: none of the encoder's {', '.join(names)}"] if names and prompt == DEFAULT else []


def read_prompts(config: Any) -> Prompts:
    """The prompts in config_sentence_transformers.json; ValueError for something else."""
    found, default = config.get("prompts") or {}, config.get("default_prompt_name")
    if not isinstance(found, dict) or not all(isinstance(text, str | None) for text in found.values()):
        raise ValueError("config_sentence_transformers.json has prompts that are no texts by names")
    texts = {str(name): text or "" for name, text in found.items()}
    if default is not None and default not in texts:
        raise ValueError(f"config_sentence_transformers.json has no prompt {default!r}, its default_prompt_name")
    return Prompts(texts, default)

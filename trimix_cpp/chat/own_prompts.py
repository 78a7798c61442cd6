"""What each role reads of a conversation, where their tokenizers differ: its own chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from ..decoding import ByteTrio
from ..files import Closing
from ..prompts import PLAIN_TEMPLATE, ChatTemplate
from .prompter import Prompter


class OwnPrompts(Closing):
    """The prompts of a trio that is fused over bytes; plain paragraphs where there is no template.

    Args:
        trio: its loaded roles are asked.
    """

    def __init__(self, trio: ByteTrio) -> None:
        self._trio, self._closing = trio, ExitStack()
        self._prompters: dict[str, Prompter] = {}

    def of(
        self, messages: Sequence[Mapping[str, str]], *, think: bool = False
    ) -> dict[str, tuple[int, ...]]:
        """Role -> its own tokens of the prompt that these messages make.

        Raises:
            TrimixError: a template fails, or refuses the messages.
        """
        found = {}
        for role in self._trio.roles:
            speaker = self._trio.speaker(role)
            if role not in self._prompters:
                source = speaker.chat_template or PLAIN_TEMPLATE
                names = speaker.special_text("bos"), speaker.special_text("eos")
                template = self._closing.enter_context(ChatTemplate(source, *names))
                self._prompters[role] = Prompter(speaker, template)
            prompter = self._prompters[role]
            found[role] = speaker.own(prompter.tokens(prompter.render(messages, think=think)))
        return found

    def close(self) -> None:
        """Stop the templates' processes; harmless when done twice."""
        self._closing.close()

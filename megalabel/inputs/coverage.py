"""Words that a WordPiece vocabulary does not cover, by script, and word pieces that are learned for them.

A vocabulary made for English leaves words of other scripts unknown or spells them out letter by letter. `extend`
adds word pieces for such words and changes nothing else: words that were covered keep their tokens.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from megalabel.data.texts import Texts
from megalabel.inputs.tokenizer import TextTokenizer

SAMPLE, READ = 4_000, 2_000  # texts that coverage is measured on, evenly spaced, and characters read of each
LEARN_FROM = 200_000  # texts that word pieces are learned from, evenly spaced
MIN_UNCOVERED = 0.01  # fraction of the words from which on word pieces are learned
MIN_COUNT = 10  # occurrences of two neighboring pieces that are merged
LONGEST = 64  # characters of a word that are one unit: scripts without blanks write sentences as one word
SPELLED = 3  # characters from which on a word counts as spelled out


@dataclass
class Coverage:
    """How many words of some texts a tokenizer covers.

    words: by script, such as "THAI" or "CJK", the words that hold a character outside of ASCII; under "ASCII" the
        others.
    uncovered: by script, those that are unknown or spelled out in single characters.
    """

    words: Counter[str] = field(default_factory=Counter)
    uncovered: Counter[str] = field(default_factory=Counter)

    @property
    def fraction(self) -> float:
        """The fraction of all words that are not covered."""
        return self.uncovered.total() / max(self.words.total(), 1)

    def __str__(self) -> str:
        scripts = [
            f"{self.uncovered[s] / self.words[s]:.0%} of {s.title()}" for s, _ in self.uncovered.most_common(3)
        ]
        return f"{self.fraction:.0%} of the words ({', '.join(scripts)})"


class WordSplitter:
    """Splits texts as a WordPiece tokenizer does, and finds the words that its vocabulary does not cover."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self.inside = tokenizer.tokenizer
        self._known: dict[str, bool] = {}

    def split(self, text: str) -> list[str]:
        """The normalized words of a text."""
        text = text.encode("utf-8", "replace").decode("utf-8")  # halves of surrogate pairs are refused
        if self.inside.normalizer is not None:
            text = self.inside.normalizer.normalize_str(text)
        return [word for word, _ in self.inside.pre_tokenizer.pre_tokenize_str(text)]

    def covered(self, word: str) -> bool:
        """Whether a word is known, and not spelled out in single characters."""
        if word.isascii():
            return True
        if word not in self._known:
            if len(self._known) > 1_000_000:
                self._known.clear()
            pieces = [token.value.removeprefix("##") for token in self.inside.model.tokenize(word)]
            letters = sum(map(str.isalpha, word))  # each sign or emoji is a unit of its own
            spelled = letters >= SPELLED and max(map(len, pieces), default=0) == 1
            self._known[word] = "[UNK]" not in pieces and not spelled
        return self._known[word]


def coverage(tokenizer: TextTokenizer, texts: Texts | Sequence[str]) -> Coverage:
    """Measures on a sample of texts how many words a WordPiece tokenizer covers."""
    words, found = WordSplitter(tokenizer), Coverage()
    for text in spaced(texts, SAMPLE):
        text = text[:READ]
        if text.isascii():
            found.words["ASCII"] += len(text.split())
            continue
        for word in words.split(text):
            script = script_of(word)
            found.words[script] += 1
            found.uncovered[script] += not words.covered(word)
    found.uncovered = +found.uncovered
    return found


def covering(tokenizer: TextTokenizer, texts: Sequence[Texts | Sequence[str]], size: int) -> TextTokenizer:
    """The tokenizer itself, or extended where it does not cover 1% of the words of the first of `texts`.

    The arguments are those of `extend`; the `note` of an extended tokenizer says what was not covered.
    """
    found = coverage(tokenizer, texts[0])
    if found.fraction < MIN_UNCOVERED:
        return tokenizer
    extended = extend(tokenizer, texts, size)
    extended.note += f", since the bundled ones do not cover {found}"
    return extended


def extend(tokenizer: TextTokenizer, texts: Iterable[Texts | Sequence[str]], size: int) -> TextTokenizer:
    """A tokenizer with further word pieces for the words of `texts` that it does not cover.

    Args:
        tokenizer: a WordPiece tokenizer.
        texts: the training texts, and others such as label texts.
        size: the maximum number of word pieces to add.

    Returns:
        The tokenizer with the ids of its own tokens unchanged, and the new ones behind them.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    words = WordSplitter(tokenizer)
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(vocab_size=size, min_frequency=MIN_COUNT, show_progress=False)
    learner.train_from_iterator((line for some in texts for line in _uncovered(words, some)), trainer)
    learned = sorted(learner.get_vocab().items(), key=lambda item: item[1])
    pieces = [piece for piece, _ in learned if not piece.removeprefix("##").isascii()]
    letters = [piece for piece in pieces if len(piece.removeprefix("##")) == 1]
    both = [f for piece in letters for f in (piece.removeprefix("##"), "##" + piece.removeprefix("##"))]
    pieces = list(dict.fromkeys([*both, *pieces]))[:size]  # the trainer keeps all letters beyond its limit
    extended = with_pieces(tokenizer, pieces)
    state = json.loads(extended.tokenizer.to_str())
    state["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [state["pre_tokenizer"], _CUT]}
    extended = TextTokenizer(Tokenizer.from_str(json.dumps(state)), tokenizer.pad_id)
    extended.note = f"tokenizer: {extended.vocabulary_size - tokenizer.vocabulary_size:,} word pieces learned"
    return extended


def with_pieces(tokenizer: TextTokenizer, pieces: Iterable[str]) -> TextTokenizer:
    """A WordPiece tokenizer with further word pieces behind its own, whose ids are unchanged."""
    from tokenizers import Tokenizer

    state = json.loads(tokenizer.tokenizer.to_str())
    vocabulary = state["model"]["vocab"]
    for piece in pieces:
        vocabulary.setdefault(piece, len(vocabulary))
    return TextTokenizer(Tokenizer.from_str(json.dumps(state)), tokenizer.pad_id)


# Cuts longer words: the time of WordPiece grows with the square of the length, and it gives up at 100 characters.
_CUT = {"type": "Split", "pattern": {"Regex": f".{{1,{LONGEST}}}"}, "behavior": "Isolated", "invert": False}


def _uncovered(words: WordSplitter, texts: Texts | Sequence[str]) -> Iterator[str]:
    for text in spaced(texts, LEARN_FROM):
        if not text.isascii():
            found = [word for word in words.split(text) if not words.covered(word)]
            if found:
                yield " ".join(found)


def spaced(texts: Texts | Sequence[str], n: int) -> Iterator[str]:
    """Up to `n` texts, evenly spaced."""
    step = max(1, -(-len(texts) // n))
    return (texts[i] for i in range(0, len(texts), step))


def script_of(word: str) -> str:
    """The script of the first character outside of ASCII: the first word of its Unicode name."""
    character = next((c for c in word if not c.isascii()), None)
    if character is None:
        return "ASCII"
    name = unicodedata.name(character, "UNNAMED").split()[0]
    return name if unicodedata.category(character)[0] in "LM" else "SYMBOLS"

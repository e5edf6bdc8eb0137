"""Options of the recipes with linear models: word features, label trees, solver and prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from megalabel.recipes.options import (
    Count,
    Nonnegative,
    Options,
    PowerOfTwo,
    SeedOptions,
    Size,
    Unset,
    above,
    at_least,
    between,
    check_coarsest,
    check_rising,
    conflict,
    depths_of,
)

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.inputs.words import TokenPattern
    from megalabel.linear.training_rows import WordFeatureOptions


class FeatureOptions(Options):
    """How texts become TF-IDF features."""

    panel = "Features"

    token_pattern: Annotated[
        Literal["auto", "letters", "words", "signs", "symbols"],
        "letters: words only; symbols: split at blanks; auto: by held-out texts, as below.",
    ] = "auto"
    bigrams: Annotated[Literal["auto", "yes", "no"], "Pairs of neighboring words are features too."] = "auto"
    bigram_weight: Annotated[
        float | None, above(0), Unset("by held-out texts"), "Weight of bigrams relative to words."
    ] = None
    char_ngrams: Annotated[Literal["auto", "yes", "no"], "Parts of words are features too."] = "auto"
    char_ngram_lengths: Annotated[
        tuple[Count, ...], Unset("4, or 3,5"), "Characters of a part of a word; one number, or from,to."
    ] = ()
    char_ngrams_max_words: Annotated[Size, "Only where the median text has at most this many words; 0: any."] = 0
    vocabulary: Annotated[int, at_least(3), "Maximum number of features, most frequent first."] = 1_000_000
    min_texts: Annotated[Count, "Minimum number of texts a feature must occur in."] = 1
    label_texts: Annotated[
        Literal["auto", "yes", "no"], "Train on label texts too; auto: where they predict their label."
    ] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        lengths = self.char_ngram_lengths
        if len(lengths) > 2 or list(lengths) != sorted(lengths):
            found = f"char_ngram_lengths = {','.join(map(str, lengths))}"
            raise conflict("char_ngram_lengths", found, "one length, or the least and the largest, such as 3,5")

    def check_corpus(self, corpus: Corpus) -> None:
        """Raises DataError if no text has a word, SettingError for settings that bags of words do not support."""
        from megalabel.inputs.words import check_has_words

        super().check_corpus(corpus)
        if corpus.train.features is None:
            check_has_words(corpus.train.texts, self.pattern)
            return
        for name, option in FeatureOptions.declared.items():
            value = getattr(self, name)
            if value != option.default:
                found = f"{name} = {value!r}, which bags of words do not support, as they are used unchanged"
                raise conflict(name, found, f"{name} = {option.default!r}, the default")

    @property
    def pattern(self) -> TokenPattern:
        """The token pattern from which a choice starts: the given one, else "letters"."""
        return "letters" if self.token_pattern == "auto" else self.token_pattern

    def words(self) -> WordFeatureOptions:
        """The options of the word features; what is still open has the value from which a choice starts."""
        from megalabel.linear.training_rows import WordFeatureOptions

        lengths = self.char_ngram_lengths or (4,)
        return WordFeatureOptions(
            token_pattern=self.pattern,
            bigrams=self.bigrams != "no",
            bigram_weight=1.0 if self.bigram_weight is None else self.bigram_weight,
            char_ngrams=self.char_ngrams,
            char_ngram_lengths=(lengths[0], lengths[-1]),
            char_ngrams_max_words=self.char_ngrams_max_words,
            vocabulary=self.vocabulary,
            min_texts=self.min_texts,
            label_texts=self.label_texts,
        )


class LinearTreeOptions(SeedOptions):
    """The label trees and their linear models."""

    panel = "Trees and solver"

    trees: Annotated[int, between(1, 99), "Number of trees that are averaged."] = 3
    clusters: Annotated[
        tuple[Annotated[int, PowerOfTwo()], ...], Unset("by number of labels"), "Per level, rising powers of two."
    ] = ()
    cluster_features: Annotated[Count, "Features kept per label for clustering."] = 1000
    c: Annotated[
        float | None,
        above(0),
        Unset("by held-out texts"),
        "Weight of the squared hinge loss against the L2 penalty.",
    ] = None
    tol: Annotated[float, above(0), "Stopping tolerance of the solver, as in LIBLINEAR."] = 0.1
    max_iter: Annotated[Count, "Maximum passes of the solver over the texts of a model."] = 8
    prune_below: Annotated[Nonnegative, "Weights below this absolute value are dropped."] = 0.1
    beam_size: Annotated[Count, "Clusters per level that prediction keeps."] = 10
    post_processor: Annotated[Literal["l3-hinge", "l2-hinge", "sigmoid"], "Turns scores into probabilities."] = (
        "l3-hinge"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rising(self.clusters)

    def check_corpus(self, corpus: Corpus) -> None:
        """Raises SettingError if the coarsest level would have more clusters than there are labels."""
        super().check_corpus(corpus)
        check_coarsest(self.clusters, corpus)

    def solver(self, n_labels: int) -> dict[str, Any]:
        """The arguments of `solve_trees`, except for the number of trees and the seed."""
        from megalabel.linear.forest import chosen_depths

        return {
            "depths": chosen_depths(depths_of(self.clusters), n_labels),
            "cluster_features": self.cluster_features,
            "c": 1.0 if self.c is None else self.c,
            "tol": self.tol,
            "max_iter": self.max_iter,
            "prune_below": self.prune_below,
            "beam_size": self.beam_size,
            "post_processor": self.post_processor,
        }


class StoredWeightsOptions(Options):
    """The type in which trees store the weights of words."""

    panel = "Trees and solver"

    weights: Annotated[
        Literal["float32", "bfloat16", "int8"], "Stored type of the model's weights: 4, 2 or 1 byte each."
    ] = "float32"


class LinearOptions(FeatureOptions, LinearTreeOptions):
    """The options of a recipe with linear models over words."""

    def differences(self, others: Self) -> dict[str, Any]:
        """The values that differ from those of other options."""
        theirs = others.values()
        return {name: value for name, value in self.values().items() if value != theirs[name]}

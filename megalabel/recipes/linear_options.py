"""Options of the recipes with linear models: word features, label trees, solver and prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

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
    from megalabel.linear.training_rows import WordFeatureOptions


class FeatureOptions(Options):
    """How texts become TF-IDF features."""

    panel = "Features"

    token_pattern: Annotated[
        Literal["letters", "words", "signs", "symbols"], "letters: words only; symbols: split at blanks."
    ] = "letters"
    bigrams: Annotated[bool, "Pairs of neighboring words are features too."] = True
    char_ngrams: Annotated[
        Literal["auto", "yes", "no"], "Also character n-grams of 3 to 5 letters; auto: where words do not repeat."
    ] = "auto"
    char_ngrams_max_words: Annotated[Size, "Only where the median text has at most so many words; 0: any."] = 0
    vocabulary: Annotated[int, at_least(3), "Maximum number of features, most frequent first."] = 1_000_000
    min_texts: Annotated[Count, "Minimum number of texts a feature must occur in."] = 1
    label_texts: Annotated[
        Literal["auto", "yes", "no"], "Train on label texts too; auto: where they predict their label."
    ] = "auto"

    def check_corpus(self, corpus: Corpus) -> None:
        """Raises DataError if no text has a word, SettingError for settings that bags of words do not support."""
        from megalabel.inputs.words import check_has_words

        super().check_corpus(corpus)
        if corpus.train.features is None:
            check_has_words(corpus.train.texts, self.token_pattern)
            return
        for name, option in FeatureOptions.declared.items():
            value = getattr(self, name)
            if value != option.default:
                found = f"{name} = {value!r}, which bags of words do not support, as they are used unchanged"
                raise conflict(name, found, f"{name} = {option.default!r}, the default")

    def words(self) -> WordFeatureOptions:
        """The options of the word features."""
        from megalabel.linear.training_rows import WordFeatureOptions

        return WordFeatureOptions(**{name: getattr(self, name) for name in FeatureOptions.declared})


class LinearTreeOptions(SeedOptions):
    """The label trees and their linear models."""

    panel = "Trees and solver"

    trees: Annotated[int, between(1, 99), "Number of trees that are averaged."] = 3
    clusters: Annotated[
        tuple[Annotated[int, PowerOfTwo()], ...], Unset("by number of labels"), "Per level, rising powers of two."
    ] = ()
    cluster_features: Annotated[Count, "Features kept per label for clustering."] = 1000
    c: Annotated[float, above(0), "Weight of the squared hinge loss against the L2 penalty."] = 1.0
    tol: Annotated[float, above(0), "Stopping tolerance of the solver, as in LIBLINEAR."] = 0.1
    max_iter: Annotated[Count, "Maximum passes of the solver over the texts of a model."] = 20
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
            "c": self.c,
            "tol": self.tol,
            "max_iter": self.max_iter,
            "prune_below": self.prune_below,
            "beam_size": self.beam_size,
            "post_processor": self.post_processor,
        }

"""What `linear` and `hybrid` choose from the data: each setting on data made for it, and nothing that is given."""

import json
from dataclasses import replace

import numpy as np
import pytest
from planted import planted

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.errors import SettingError
from megalabel.inputs.sparse_text import SparseText
from megalabel.recipes.hybrid import Hybrid
from megalabel.recipes.linear import Linear, linear
from megalabel.recipes.linear_choice import decided
from megalabel.storage.migrate import recipe_json, with_added

N = 600
GIVEN = {"token_pattern": "letters", "bigrams": "yes", "bigram_weight": 1.0, "char_ngrams": "no", "c": 1.0}


def corpus(write, n=N, n_labels=12, names="label {}"):
    """Texts of one label each; `write` makes a text from the label and a random generator."""
    draw = np.random.default_rng(0)
    labels = draw.integers(n_labels, size=n)
    texts = [write(int(label), draw) for label in labels]
    return Corpus.of(texts, [[int(label)] for label in labels], [names.format(i) for i in range(n_labels)])


def in_order(label, draw):
    """Both words of a label are those of another label too, in the other order."""
    pair = sorted(((label // 2) % 4, 4 + (label // 2) // 4))
    first, second = pair if label % 2 else pair[::-1]
    return f"n{draw.integers(50)} w{first} w{second} n{draw.integers(50)}"


def in_any_order(label, draw):
    """Two words of eight tell the label, in any order and place, among many others."""
    own = draw.choice(8, size=2, replace=False)
    words = [*(f"w{label}{part}" for part in own), *(f"n{i}" for i in draw.integers(60, size=14))]
    return " ".join(draw.permutation(words))


def in_parts(label, draw):
    """A stem in the middle of a word that never repeats."""
    letters = [chr(97 + i) for i in draw.integers(26, size=10)]
    stem = ["gold", "wolf", "king", "jazz", "zinc", "quiz", "myth", "lynx", "fjord", "plum", "crypt", "vow"][label]
    return "".join(letters[:5]) + stem + "".join(letters[5:]) + " " + "".join(letters[::-1])


def in_signs(label, draw):
    """Only the signs tell the label; the letters do not."""
    return f"x{draw.integers(30)} {'+-*/'[label % 4]} y{draw.integers(30)} {'=<>'[label // 4]} z"


def choose(data, options=None, **values):
    said = []
    options = options or Linear(**values)
    return decided(options, data, np.arange(len(data.train)), said.append), said


@pytest.mark.parametrize(
    ("write", "name", "values"),
    [
        (in_order, "bigrams", {"yes"}),
        (in_parts, "char_ngrams", {"yes"}),
        (in_signs, "token_pattern", {"signs", "symbols"}),
    ],
)
def test_each_feature_is_chosen_on_data_made_for_it(write, name, values):
    chosen, said = choose(corpus(write))
    assert getattr(chosen, name) in values
    assert any("held-out nDCG@5" in line for line in said)


def test_bigrams_weigh_less_or_nothing_where_words_come_in_any_order():
    chosen, _ = choose(corpus(in_any_order))
    assert chosen.bigrams == "no" or chosen.bigram_weight < 1
    assert chosen.token_pattern == "letters"
    assert choose(corpus(in_order))[0].bigram_weight == 1


def test_where_words_do_not_repeat_longer_ngrams_are_tried_too():
    chosen, said = choose(corpus(in_parts))
    assert chosen.char_ngram_lengths in ((4, 4), (3, 5))
    assert any("of 3 to 5" in line for line in said)
    assert not any("of 3 to 5" in line for line in choose(corpus(in_order))[1])


def test_the_choice_is_the_same_again_and_follows_the_seed():
    data = corpus(in_any_order)
    assert choose(data) == choose(data)
    assert choose(data, seed=1)[1] != choose(data)[1]


def test_what_is_given_is_not_tried():
    options = Linear(**GIVEN)
    chosen, said = choose(corpus(in_signs), options)
    assert said == []
    assert {name: getattr(chosen, name) for name in GIVEN} == GIVEN
    for name, title in (("bigram_weight", "bigrams"), ("c", "c"), ("char_ngrams", "character n-grams")):
        _, said = choose(corpus(in_signs), **{k: v for k, v in GIVEN.items() if k != name})
        assert {line.split(":")[0] for line in said if "held-out" in line} == {title}
    assert choose(corpus(in_parts), char_ngrams_max_words=1)[0].char_ngrams == "no"
    assert choose(corpus(in_order), bigrams="yes", bigram_weight=0.25)[0].bigram_weight == 0.25
    assert choose(corpus(in_parts), char_ngrams="yes", char_ngram_lengths=(2, 3))[0].char_ngram_lengths == (2, 3)


def test_few_texts_decide_nothing():
    data = planted(n_labels=8, n_texts=30)
    chosen, said = choose(data)
    assert said == []
    assert (chosen.c, chosen.bigrams, chosen.bigram_weight, chosen.token_pattern) == (1.0, "yes", 1.0, "letters")
    assert chosen.char_ngrams == chosen.label_texts == "auto"  # decided by the rules of the features
    assert linear(data, clusters=(2,)).solve(said.append).topk(["w1a"], 1)


def test_one_label_and_texts_without_labels_decide_nothing():
    one = Corpus.of([f"text {i}" for i in range(300)], [[0]] * 300, ["all"])
    assert choose(one)[1] == []
    bare = Corpus.of([f"text {i}" for i in range(300)], [[0]] * 20 + [[]] * 280, ["a", "b"])
    assert [line.split(":")[0] for line in choose(bare)[1]] == ["label texts"]


def test_bags_of_words_choose_c_alone():
    data = planted()
    features = SparseText.learn(data.train.texts, bigrams=False).transform(data.train.texts)
    bags = replace(data, train=replace(data.train, texts=type(data.train.texts).blank(400), features=features))
    chosen, said = choose(bags)
    assert [line.split(":")[0] for line in said] == ["c"]
    assert chosen.differences(Linear()) == {"c": chosen.c}
    assert choose(bags, c=2.0) == (Linear(c=2.0), [])


def test_a_run_keeps_what_was_chosen_and_a_repeated_one_chooses_the_same(tmp_path):
    data, said = corpus(in_signs), []

    def killed(say):
        recipe.solve(said.append)
        raise KeyboardInterrupt

    recipe = linear(data, clusters=(2,), trees=1)
    with pytest.raises(KeyboardInterrupt):
        megalabel.train(replace(recipe, solve=killed), tmp_path / "run", quiet=True)
    again = []
    recipe = linear(data, clusters=(2,), trees=1)
    quiet = replace(recipe, solve=lambda say: recipe.solve(again.append))
    megalabel.train(quiet, tmp_path / "run", quiet=True)
    assert again == said
    facts = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert facts["arguments"]["token_pattern"] == "auto"
    assert facts["arguments"]["c"] is None
    assert facts["chosen"]["token_pattern"] in ("signs", "symbols")
    assert isinstance(facts["chosen"]["c"], float)


def test_a_hybrid_chooses_alike():
    data = corpus(in_signs)
    ours, theirs = choose(data), choose(data, Hybrid(run="runs/x"))
    assert ours[1] == theirs[1]
    assert ours[0].differences(Linear()) == theirs[0].differences(Hybrid(run="runs/x"))


@pytest.mark.parametrize("lengths", [(5, 3), (3, 4, 5), (0,)])
def test_lengths_that_are_none_are_refused(lengths):
    with pytest.raises(SettingError) as refused:
        Linear(char_ngram_lengths=lengths)
    assert refused.value.where == "char_ngram_lengths"


@pytest.mark.parametrize(("stored", "now"), [(True, "yes"), (False, "no"), ("auto", "auto")])
def test_runs_of_before_keep_what_they_did(stored, now):
    arguments = {"bigrams": stored, "char_ngrams": "yes", "c": 1.0, "token_pattern": "letters"}
    facts = recipe_json({"recipe": "linear", "arguments": arguments})
    then = with_added("linear", facts["arguments"], Linear.declared)
    assert then["bigrams"] == now
    assert (then["bigram_weight"], then["char_ngram_lengths"]) == (1.0, [3, 5])
    options = Linear.from_values(then)
    assert (options.bigrams, options.char_ngram_lengths, options.c) == (now, (3, 5), 1.0)

"""The folders of CascadeXML, Renée, Spartex and the XML Repository are read as the published task, as they lie."""

import pytest
from support import layouts
from support.layouts import CONTENTS, LABELS, NAMES, TEST_LABELS, TEST_TITLES, TITLES, L, put

from megalabel.data.check import check
from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, SettingError

IDS = [str(i) for i in range(L)]


def is_the_task(corpus, names, texts=TITLES, filtered=True):
    """All texts of both sides with their labels; returns the corpus."""
    assert list(corpus.train.texts) == list(texts)
    assert corpus.n_labels == L and sorted(corpus.label_texts) == sorted(names)
    by_id = [[names[i] for i in ids] for ids in LABELS]
    assert layouts.label_sets(corpus.train, corpus.label_texts) == [sorted(row) for row in by_id]
    of_test = [sorted(names[i] for i in ids) for ids in TEST_LABELS]
    assert layouts.label_sets(corpus.test, corpus.label_texts) == of_test
    assert (corpus.test.filter is not None) == filtered
    if filtered:
        assert corpus.test.filter.tolist() == [[0, 3]]
    return corpus


def test_renee(tmp_path):
    corpus = is_the_task(Corpus.open(put(tmp_path / "LF-AmazonTitles-131K", layouts.renee())), NAMES)
    assert list(corpus.test.texts) == TEST_TITLES and corpus.notes == ()


def test_renee_augmented_folder_beside_its_base(tmp_path):
    put(tmp_path / "LF-AmazonTitles-131K", layouts.renee())
    folder = put(tmp_path / "LF-AmazonTitles-131K-Aug", layouts.renee_aug())
    corpus = is_the_task(Corpus.open(folder), NAMES)
    assert corpus.propensity_constants == (0.6, 2.6)
    assert "LF-AmazonTitles-131K is read instead" in corpus.notes[0]


@pytest.mark.parametrize("name, wanted", [("Mine-Aug", "trn_X.txt in"), ("Mine", "the folder without -Aug")])
def test_renee_augmented_folder_alone_is_refused_with_the_next_step(tmp_path, name, wanted):
    folder = put(tmp_path / name, layouts.renee_aug())
    with pytest.raises(DataError, match="tokens") as caught:
        Corpus.open(folder)
    assert wanted in str(caught.value) and "Open the folder with trn_X.txt" in str(caught.value)


@pytest.mark.parametrize("separator", [",", " "])
def test_cascadexml(tmp_path, separator):
    folder = put(tmp_path / "Amazon-670K", layouts.cascadexml(separator))
    texts = [f"{t} [SEP] {c}" for t, c in zip(TITLES, CONTENTS, strict=True)]
    corpus = is_the_task(Corpus.open(folder), IDS, texts, filtered=False)
    assert list(corpus.label_texts) == IDS and corpus.train.features is None
    assert "train.txt (xmlrepo)" in corpus.notes[0]
    assert any("train_raw_texts.txt" in str(finding) for finding in check(folder).findings)
    bag = Corpus.open(folder, format="xmlrepo")
    assert bag.train.features is not None and list(bag.label_texts) == IDS


def test_cascadexml_without_features_and_with_a_separator(tmp_path):
    files = layouts.cascadexml()
    del files["train.txt"]
    corpus = Corpus.open(put(tmp_path, files), text_separator="|")
    assert corpus.train.texts[0] == f"{TITLES[0]} | {CONTENTS[0]}" and corpus.notes == ()


def test_cascadexml_with_texts_missing_their_labels_is_no_bag(tmp_path):
    files = layouts.cascadexml()
    del files["Y.tst.txt"]
    with pytest.raises(DataError, match=r"Y\.tst\.txt does not"):
        Corpus.open(put(tmp_path, files))
    (tmp_path / "Y.trn.txt").unlink()
    with pytest.raises(DataError, match=r"Y\.trn\.txt.*train_labels\.txt"):
        Corpus.open(tmp_path)


@pytest.mark.parametrize("name, expected", [("{}", IDS), ("topic{}", [f"topic{i}" for i in range(L)])])
def test_spartex_label_strings(tmp_path, name, expected):
    corpus = is_the_task(
        Corpus.open(put(tmp_path / "Wiki10-31K", layouts.spartex(name))), expected, filtered=False
    )
    if name == "{}":
        assert list(corpus.label_texts) == IDS  # a number keeps its column, as in the bag of words of the set


def test_spartex_labels_that_are_large_numbers_are_names(tmp_path):
    corpus = Corpus.open(put(tmp_path, layouts.spartex("7{}0001")))
    assert corpus.n_labels == L and "700001" in list(corpus.label_texts)


def test_spartex_test_labels_of_thousands_of_digits_are_no_ids(tmp_path):
    files = {**layouts.spartex(), "test_labels.txt": "0\n" * 7 + "9" * 5000 + "\n"}
    with pytest.raises(DataError, match="only names or only ids"):
        Corpus.open(put(tmp_path, files))


def test_spartex_eurlex_file_names_and_rows_without_labels(tmp_path):
    files = {"train_texts.txt": "a\nb\n", "train_labels.txt": "x y\n\n"}
    corpus = Corpus.open(put(tmp_path, files))
    assert corpus.train.n_true().tolist() == [2, 0] and corpus.test is None


def test_spartex_refuses_rows_that_do_not_fit(tmp_path):
    put(tmp_path, {"train_raw_texts.txt": "a\nb\n", "train_labels.txt": "x\n"})
    with pytest.raises(DataError, match=r"2 texts, but train_labels\.txt has 1"):
        Corpus.open(tmp_path)


def test_spartex_raw_text_inside_the_folder_of_the_set(tmp_path):
    files = {**layouts.lf_json("raw_text/", ""), "train.txt": layouts.bag(), "test.txt": layouts.bag(TEST_LABELS)}
    folder = put(tmp_path / "LF-AmazonTitles-131K", files)
    for path in (folder, folder / "raw_text"):
        corpus = is_the_task(Corpus.open(path), NAMES)
        assert corpus.name == "LF-AmazonTitles-131K" and corpus.propensity_constants == (0.6, 2.6)
        assert any("title alone, as LF-AmazonTitles-131K is published" in note for note in corpus.notes)


def test_repository_json(tmp_path):
    folder = put(tmp_path / "LF-AmazonTitles-131K", layouts.lf_json())
    is_the_task(Corpus.open(folder), NAMES)
    both = [f"{t} {c}" for t, c in zip(TITLES, CONTENTS, strict=True)]
    is_the_task(Corpus.open(folder, "LF-Amazon-131K"), NAMES, both)
    is_the_task(Corpus.open(folder, text_parts="content"), NAMES, CONTENTS)
    joined = [f"{t} [SEP] {c}" for t, c in zip(TITLES, CONTENTS, strict=True)]
    is_the_task(Corpus.open(folder, text_parts="both", text_separator="[SEP]"), NAMES, joined)
    with pytest.raises(SettingError, match="text_parts"):
        Corpus.open(folder, text_parts="name")


@pytest.mark.parametrize("names", ["Yf.txt", "Y.txt", ""])
@pytest.mark.parametrize("middle", ["", ".raw"])
def test_repository_json_without_label_texts(tmp_path, names, middle):
    files = layouts.lf_json(suffix=".gz", names=names)
    files = {name.replace(".json", f"{middle}.json"): content for name, content in files.items()}
    corpus = Corpus.open(put(tmp_path / "AmazonCat-13K.raw", files))
    both = [f"{t} {c}" for t, c in zip(TITLES, CONTENTS, strict=True)]
    is_the_task(corpus, NAMES if names else IDS, both)
    assert corpus.propensity_constants == (0.55, 1.5) and "title and content" in corpus.notes[0]


def test_json_and_bag_of_words_in_one_folder(tmp_path):
    folder = put(tmp_path / "LF-Amazon-131K", {**layouts.lf_json(), "train.txt": layouts.bag()})
    corpus = Corpus.open(folder)
    assert corpus.train.features is None and any("not the bags of words" in note for note in corpus.notes)


def test_texts_in_two_formats_are_refused_and_can_be_told(tmp_path):
    folder = put(tmp_path, {**layouts.cascadexml(), **layouts.spartex("x{}")})
    with pytest.raises(DataError, match=r"cascadexml\), train_raw_texts\.txt \(spartex.*--format"):
        Corpus.open(folder)
    assert Corpus.open(folder, format="spartex").label_texts[0] == "x0"


def test_the_number_of_labels_is_compared_with_the_published_one(tmp_path):
    report = check(put(tmp_path / "LF-AmazonTitles-131K", layouts.renee()))
    assert any("published with 131,073" in finding.message for finding in report.findings) and report.ok
    report = check(tmp_path / "LF-AmazonTitles-131K", name="my-shoes")
    assert not any("published" in finding.message for finding in report.findings)
    assert "'my-shoes' is not in the catalog" in report.propensities

"""Cells with several labels in the forms that other programs write."""

import pytest
from support.read_back import put, read
from support.trap_files import refused

from megalabel.data.label_cells import Scores, list_in
from megalabel.data.separators import Cells, guess_separator, split_cell
from megalabel.errors import DataError, SettingError

HEAD = "text,labels\n"


def cells(tmp_path, rows, **options):
    """The labels that are read of a CSV file, and what is said about it."""
    _, labels, notes = read(put(tmp_path, train__csv=HEAD + rows), **options)
    return labels, " ".join(notes)


@pytest.mark.parametrize(
    "rows, labels",
    [
        ("a cat,\"{'animals', 'pets'}\"\nb dog,\"{'animals'}\"\n", [["animals", "pets"], ["animals"]]),
        ("a cat,\"['animals', 'pets']\"\nb dog,\"['animals']\"\n", [["animals", "pets"], ["animals"]]),
        ("a,\"('x', 'y')\"\nb,\"('y',)\"\n", [["x", "y"], ["y"]]),
        ("a,\"frozenset({'x'})\"\nb,set()\n", [["x"], []]),
        ("a,['big cat' 'dog']\nb,[]\n", [["big cat", "dog"], []]),
        ("a,\"array(['x', 'y'], dtype=object)\"\n", [["x", "y"]]),
        ("a,\"[np.str_('x'), np.str_('y')]\"\n", [["x", "y"]]),
        ('a,"{cat,""big dog""}"\nb,{cat}\n', [["cat", "big dog"], ["cat"]]),
        ('a,"[""it\'s"", \'the ""x""\']"\n', [["it's", 'the "x"']]),
        ("a,['caf\\xe9' 'na\\u00efve']\n", [["café", "naïve"]]),
        ('a,"[cat, big dog]"\n', [["cat", "big dog"]]),
        ("a,[3 17]\nb,[17]\n", [["3", "17"], ["17"]]),
    ],
)
def test_lists_as_python_numpy_and_databases_write_them(tmp_path, rows, labels):
    found, notes = cells(tmp_path, rows)
    assert found == labels and "separated" not in notes


@pytest.mark.parametrize(
    "rows, labels, said",
    [
        ("a cat,animals;pets\nb dog,animals\n", [["animals", "pets"], ["animals"]], "`;`, which 1 of 2"),
        ('a,"x, y"\nb,"y, x"\nc,x\n', [["x", "y"], ["x", "y"], ["x"]], "`,`, which 2 of 3"),
        ("a,x;y;\nb,y\n", [["x", "y"], ["y"]], "`;`"),
        ('a,"x\ny"\nb,x\n', [["x", "y"], ["x"]], "the line break"),
        ("a,x\ty\nb,x\n", [["x", "y"], ["x"]], "the tab"),
        ("a,#cat #dog\nb,#dog\n", [["#cat", "#dog"], ["#dog"]], "the space"),
        ("a,3 17\nb,17\n", [["3", "17"], ["17"]], "the space"),
        ('a,"0,1"\nb,1\n', [["0", "1"], ["1"]], "`,`"),
    ],
)
def test_a_separator_that_the_cells_show_is_taken_and_said(tmp_path, rows, labels, said):
    found, notes = cells(tmp_path, rows)
    assert found == labels
    assert said in notes and "--label-separator" in notes


@pytest.mark.parametrize(
    "rows, labels, said",
    [
        (
            'a cat,"animals, pets"\nb dog,animals\nc cow,"animals, farm"\n',
            [["animals, pets"], ["animals"], ["animals, farm"]],
            "no cell of labels holds `|`, and 2 of 3 hold `,`",
        ),
        ("a,animals pets\nb,animals\n", [["animals pets"], ["animals"]], "1 of 2 hold the space"),
        ('a,"Receptors, Nuclear"\nb,Humans\n', [["Receptors, Nuclear"], ["Humans"]], "1 of 2 hold `,`"),
    ],
)
def test_what_may_be_part_of_a_name_stays_and_is_said(tmp_path, rows, labels, said):
    found, notes = cells(tmp_path, rows)
    assert found == labels and said in notes and "--label-separator" in notes


@pytest.mark.parametrize(
    "rows, labels",
    [
        ('a,"Humans|Receptors, Cell Surface"\nb,Humans\n', [["Humans", "Receptors, Cell Surface"], ["Humans"]]),
        ("a,cat|tiger\nb,big cat\n", [["cat", "tiger"], ["big cat"]]),
        ("a,Home &amp; Garden\nb,Toys\n", [["Home &amp; Garden"], ["Toys"]]),
        ("a,New York\nb,Paris\n", [["New York"], ["Paris"]]),
        ("a,(S)-warfarin\nb,x\n", [["(S)-warfarin"], ["x"]]),
    ],
)
def test_plain_cells_are_read_without_a_word(tmp_path, rows, labels):
    assert cells(tmp_path, rows) == (labels, "")


def test_many_tags_with_commas_or_spaces_are_evident():
    tags = ["html", "css", "js", "sql", "php"]
    pairs = [(a, b) for a in tags for b in tags if a != b]
    for separator in (", ", " "):
        found = guess_separator(Cells.of([*(separator.join(pair) for pair in pairs), *tags]))
        assert found.separator == separator.strip() or separator == " " == found.separator
        assert not found.doubtful


def test_inverted_names_are_not_split_however_many():
    heads = ["Receptors", "Acids", "Proteins"]
    names = [f"{head}, {kind}" for head in heads for kind in ("Nuclear", "Cell Surface", "Viral")]
    found = guess_separator(Cells.of(names + heads))
    assert found.separator == "|" and found.doubtful


def test_a_second_separator_inside_the_parts_is_said():
    found = guess_separator(Cells.of(["a|b;c", "c|b", "c;a", "b"]))
    assert found.separator == "|" and found.doubtful and "`;`" in found.message


@pytest.mark.parametrize(
    "cell, names",
    [("cat;big cat", ["cat", "big cat"]), ("cat, dog", ["cat", "dog"]), ("cat dog", ["cat", "dog"])],
)
def test_the_list_of_labels_shows_the_separator(tmp_path, cell, names):
    put(tmp_path, labels__txt="cat\ndog\nbig cat\n")
    found, notes = cells(tmp_path, f'a,"{cell}"\nb,cat\n')
    assert sorted(found[0]) == sorted(names) and found[1] == ["cat"] and "separated" in notes


def test_names_of_the_list_stay_whole(tmp_path):
    put(tmp_path, labels__txt="dog, big\ncat\n")
    assert cells(tmp_path, 'a,"dog, big"\nb,cat\n') == ([["dog, big"], ["cat"]], "")


@pytest.mark.parametrize(
    "separator, cell, names",
    [
        (",", '"x, y"', ["x", "y"]), ("|", '"x; y"', ["x; y"]), ("space", "x y", ["x", "y"]),
        ("\\t", "x\ty", ["x", "y"]), ("::", "x::y", ["x", "y"]), (";", "[a];b", ["[a]", "b"]),
    ],
)  # fmt: skip
def test_a_given_separator_is_not_questioned(tmp_path, separator, cell, names):
    assert cells(tmp_path, f"a,{cell}\nb,z\n", label_separator=separator) == ([names, ["z"]], "")


def test_the_test_file_has_the_separator_of_the_training_file(tmp_path):
    put(tmp_path, train__csv=HEAD + "a,x;y\nb,y\n", test__csv=HEAD + "t,y;x\n")
    from megalabel.data.corpus import Corpus

    corpus = Corpus.open(tmp_path)
    assert corpus.test.labels.toarray().tolist() == [[1, 1]] and corpus.test.unseen is None


def test_json_and_parquet_cells_are_split_only_where_it_is_said(tmp_path):
    put(tmp_path, train__jsonl='{"text":"a","labels":"x, y"}\n')
    refused(tmp_path, "train.jsonl, line 1", "'labels' is a JSON string")
    assert read(tmp_path, label_separator=",")[1] == [["x", "y"]]


@pytest.mark.parametrize(
    "cell, found",
    [
        ("{'x': 0.9}", "maps labels to values"),
        ('{""x"": 0.9}', "maps labels to values"),
        ("[1 2 ... 9]", "is not a JSON list"),
        ("['a', 'b'", "is not a JSON list"),
        ("[" + "9" * 5000 + "]", "is not a JSON list"),
        ("[" * 3000, "is not a JSON list"),
        ("[nan]", "None is not a label"),
        ("[0.5]", "0.5 is not a label"),
    ],
)
def test_lists_that_are_none(tmp_path, cell, found):
    put(tmp_path, train__csv=f'{HEAD}a,"{cell}"\n')
    report = refused(tmp_path, "train.csv, line 2", found)
    assert report.findings


def test_nothing_is_run():
    for cell in ("[__import__('os').getcwd()]", "[open('x')]", "[f'{1}']", "[1 if 1 else 2]", "[b'x' + b'y']"):
        assert not isinstance(list_in(cell), list) or all(isinstance(v, str) for v in list_in(cell))


def test_list_in_alone():
    assert list_in("word") is None and list_in("") is None and list_in("[") is None and list_in("[)") is None
    assert isinstance(list_in("{'a': 1}"), Scores) and list_in("[1., 0.]") == [1.0, 0.0]
    assert list_in("[True, False]") == [True, False] and list_in("[-3 +4]") == [-3, 4]


def test_split_cell():
    assert split_cell("a;b;", ";") == ["a", "b"] and split_cell("a;;b", ";") == ["a", "", "b"]
    assert split_cell(" a  b ", " ") == ["a", "b"] and split_cell(";", ";") == [""]


@pytest.mark.parametrize(
    "options", [{"label_separator": ""}, {"text_field": ""}, {"encoding": "utf-88"}, {"encoding": "zlib"}]
)
def test_options_that_are_none(tmp_path, options):
    put(tmp_path, train__csv=HEAD + "a,x\n")
    with pytest.raises(SettingError, match=next(iter(options))):
        read(tmp_path, **options)


def test_fields_by_name_and_in_another_case(tmp_path):
    put(tmp_path, train__csv="id,Body, TAGS\n1,a,x|y\n")
    with pytest.raises(DataError, match="--text-field"):
        read(tmp_path)
    assert read(tmp_path, text_field="Body", labels_field="tags")[:2] == (["a"], [["x", "y"]])
    (tmp_path / "train.csv").unlink()
    put(tmp_path, train__jsonl='{"body":"a","tags":["x"]}\n')
    with pytest.raises(DataError, match="--labels-field"):
        read(tmp_path)
    assert read(tmp_path, text_field="body", labels_field="tags")[:2] == (["a"], [["x"]])

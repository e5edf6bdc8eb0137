"""Small inputs from public reports of users of such tools, each with the labels that it means.

The neighbors of each are tested with their kind: cells of labels, numbers, tables, layouts of other tools.
"""

import json
import re
from itertools import pairwise

import pytest
from support.layouts import put

from megalabel import Corpus
from megalabel.errors import DataError

CSV = "text,labels\n"
LF = (
    '{"uid":"1","title":"red shoe","content":"a b","target_ind":[0,1],"target_rel":[1.0,1.0]}\n'
    '{"uid":"2","title":"blue hat","content":"","target_ind":[1],"target_rel":[1.0]}\n'
)
BAG = {"X_Xf.txt": "2 3\n0:1 2:.5\n1:1\n", "X_Y.txt": "2 2\n0:1\n0:1 1:1\n"}
IDS = {"cat": 700123, "dog": 15021, "fish": 999001, "bird": 42, "horse": 310999, "cow": 88888, "ant": 500500,
       "bee": 123456}  # fmt: skip
BASE = "".join(json.dumps({"text": f"a {k} {i}", "labels": [v]}) + "\n" for i in range(15) for k, v in IDS.items())

INPUTS = {
    "a comma that may be part of a name": (
        {"train.csv": CSV + 'a cat,"animals, pets"\nb dog,animals\nc cow,"animals, farm"\n'},
        [["animals, pets"], ["animals"], ["animals, farm"]],
        "2 of 3 hold `,`.*--label-separator",
    ),
    "a semicolon": (
        {"train.csv": CSV + "a cat,animals;pets\nb dog,animals\n"},
        [["animals", "pets"], ["animals"]],
        "separated by `;`",
    ),
    "a set of Python": (
        {"train.csv": CSV + "a cat,\"{'animals', 'pets'}\"\nb dog,\"{'animals'}\"\n"},
        [["animals", "pets"], ["animals"]],
        "",
    ),
    "a list of Python": (
        {"train.csv": CSV + "a cat,\"['animals', 'pets']\"\nb dog,\"['animals']\"\n"},
        [["animals", "pets"], ["animals"]],
        "",
    ),
    "a comma inside a name": (
        {"train.csv": CSV + 'a,"Humans|Receptors, Cell Surface"\nb,Humans\n'},
        [["Humans", "Receptors, Cell Surface"], ["Humans"]],
        "",
    ),
    "rows of zeros and ones": (
        {
            "train.csv": CSV + '"purr whisker","[0, 0, 1]"\n"bark leash","[0, 1, 0]"\n"purr bark","[0, 1, 1]"\n',
            "labels.txt": "other\ndog\ncat\n",
        },
        [["cat"], ["dog"], ["dog", "cat"]],
        "3 zeros and ones",
    ),
    "the ids zero and one": (
        {"train.jsonl": '{"text":"a","labels":[0,1]}\n{"text":"b","labels":[1]}\n'},
        [["0", "1"], ["1"]],
        "",
    ),
    "names that differ in blanks": (
        {"train.jsonl": '{"text":"a","labels":["x "]}\n{"text":"b","labels":["x"]}\n'},
        [["x "], ["x"]],
        "differ only in blanks",
    ),
    "fastText": (
        {
            "train.txt": "__label__sauce __label__cheese How much does potato starch affect?\n"
            "__label__food-safety Dangerous pathogens\n"
        },
        [["sauce", "cheese"], ["food-safety"]],
        "",
    ),
    "ids, a tab, the text": ({"train.txt": "0,1\tred shoe\n1\tblue hat\n"}, [["0", "1"], ["1"]], ""),
    "raw JSON of the repository with Yf.txt": (
        {"trn.json": LF, "tst.json": LF, "Yf.txt": "shoes\nclothing\n"},
        [["shoes", "clothing"], ["clothing"]],
        "",
    ),
    "raw JSON of the repository without names": (
        {"trn.raw.json.gz": LF, "tst.raw.json.gz": LF},
        [["0", "1"], ["1"]],
        "",
    ),
    "a sparse set of two files": (
        {f"{side}_{name}": content for side in ("trn", "tst") for name, content in BAG.items()},
        [["0"], ["0", "1"]],
        "",
    ),
    "one JSON document": (
        {"train.json": '[{"text":"a","labels":["x"]},{"text":"b","labels":["y"]}]'},
        [["x"], ["y"]],
        "one JSON array",
    ),
    "ids with gaps": (
        {"train.jsonl": BASE},
        [["700123"], ["15021"], ["999001"]],
        "8 of the label ids from 42 to 999,001 occur",
    ),
    "URIs that the vocabulary lacks": (
        {
            "train.tsv": "A text\t<http://e/1> <http://e/9>\nB\t<http://e/2>\n",
            "vocab.tsv": "<http://e/1>\tone\n<http://e/2>\ttwo\n",
        },
        [["one"], ["two"]],
        "http://e/9.*left out",
    ),
    "subjects of Annif": (
        {
            "train.jsonl": '{"text":"a","subjects":[{"uri":"http://e/1","label":"one"}]}\n',
            "vocab.csv": "uri,label_en,notation\nhttp://e/1,one,1\n",
        },
        [["one"]],
        "",
    ),
}


@pytest.mark.parametrize("name", INPUTS)
def test_it_is_read_as_it_is_meant(tmp_path, name):
    files, labels, said = INPUTS[name]
    corpus = Corpus.open(put(tmp_path, files))
    names, rows = list(corpus.label_texts), corpus.train.labels
    found = [[names[i] for i in rows.indices[start:stop]] for start, stop in pairwise(rows.indptr)]
    assert found[: len(labels)] == labels
    if "tst" in "".join(files):
        assert (corpus.test.labels != rows).nnz == 0
    if said:
        assert any(re.search(said, str(finding)) for finding in corpus.findings)


def test_two_data_sets_in_a_folder_name_an_option_that_exists(tmp_path):
    put(tmp_path, {"train.jsonl": '{"text":"a","labels":["x"]}\n', "train.csv": CSV + "a,y\n"})
    with pytest.raises(DataError, match=r"train.jsonl \(jsonl\), train.csv \(csv\).*--format"):
        Corpus.open(tmp_path)
    assert list(Corpus.open(tmp_path, format="csv").label_texts) == ["y"]


def test_a_multi_hot_matrix_in_memory():
    corpus = Corpus.of(["a", "b", "c"], [[1, 0, 1], [0, 1, 0], [0, 0, 0]], label_texts=["x", "y", "z"])
    assert corpus.train.labels.toarray().tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]

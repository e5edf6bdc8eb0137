"""Linear models where torch and transformers cannot be imported, as in Annif's environment."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "transformers", "tokenizers", "huggingface_hub", "pyarrow", "typer"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
from megalabel.data.corpus import Corpus
from megalabel.models.linear import LinearClassifier
from megalabel.recipes.linear import linear

texts = [f"{word} {word} {i % 3}" for i in range(30) for word in ("purr", "bark", "hive")]
corpus = Corpus.of(texts, [[name] for _ in range(30) for name in ("cat", "dog", "bee")])
model = linear(corpus, trees=2, c=1.0, bigrams="no", char_ngrams="no", calibration="no").solve(lambda line: None)
model.save(sys.argv[1])
model = LinearClassifier.load(sys.argv[1])
print(model.predict(["a dog that will bark"], k=1)[0][0][0])
model.partial_fit(["quack"] * 20 + ["purr bark"] * 20, [["bee"]] * 40)
print(model.predict(["purr bark"], k=1)[0][0][0])
"""


def test_a_linear_model_is_trained_saved_asked_and_taught_without_torch(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "model")], capture_output=True, text=True, check=False
    )
    assert done.stdout == "dog\nbee\n", done.stderr

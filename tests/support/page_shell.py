"""Runs the blocks of a page in a folder: commands of megalabel in this process, other commands in a shell."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.page_server import Server
from support.programs import ROOT

OPERATORS = {"|", "<", ">", ">>", "&&", ";", "&"}


class Shell:
    """What one reader of a page does: its folder is the working folder, and its Python names stay.

    replaced: texts of commands and blocks, and what stands in their place in a test.
    """

    def __init__(self, folder: Path, names: dict[str, object], replaced: Mapping[str, str]) -> None:
        self.folder, self.names, self.replaced = folder, names, replaced
        self.server: Server | None = None
        sys.path.insert(0, str(folder))

    def python(self, text: str, where: str) -> str:
        """Executes a block of Python; returns what it printed."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(self._adapted(text), where, "exec"), self.names)
        return printed.getvalue()

    def command(self, line: str) -> str:
        """Runs a line of a block of commands; returns what it printed on both streams."""
        line = self._adapted(line)
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|<>&;")
        lexer.whitespace_split, lexer.commenters = True, "#"
        words = list(lexer)
        if words[:2] == ["megalabel", "serve"]:
            self._end_server()
            self.server = Server(words[2:], self.folder)
            return self.server.printed
        if "megalabel" not in words or "&&" in words or words.index("megalabel") not in (0, _after_pipe(words)):
            return self._in_bash(line)
        return self._megalabel(words)

    def close(self) -> None:
        """Ends the server of the page, and forgets the modules that the page has written."""
        self._end_server()
        sys.path.remove(str(self.folder))
        written = [
            name
            for name, module in sys.modules.items()
            if str(self.folder) in str(getattr(module, "__file__", ""))
        ]
        for name in written:
            del sys.modules[name]

    def _end_server(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None

    def _adapted(self, text: str) -> str:
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        return text

    def _in_bash(self, line: str) -> str:
        if self.server is not None:
            line = line.replace("8000", str(self.server.port))
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        line = line.replace("python -m ", f"{shlex.quote(sys.executable)} -m ")
        done = subprocess.run(
            ["bash", "-euc", line], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
        return done.stdout

    def _megalabel(self, words: list[str]) -> str:
        """A command of megalabel with its pipe and its files, whose arguments reach the program as they stand."""
        feed, start = b"", words.index("megalabel") + 1
        if start > 1:
            feed = self._in_bash(shlex.join(words[: start - 2])).encode()
        arguments, redirected = [], {}
        rest = iter(words[start:])
        for word in rest:
            if word in OPERATORS:
                redirected[word] = next(rest)
            else:
                arguments.append(word)
        if "<" in redirected:
            feed = (self.folder / redirected.pop("<")).read_bytes()
        status, out, err = called(arguments, feed)
        assert status == 0, f"megalabel {shlex.join(arguments)} ended with status {status}: {err}"
        for operator, file in redirected.items():
            with open(self.folder / file, {">": "w", ">>": "a"}[operator], encoding="utf-8") as written:
                written.write(out)
        return err if redirected else out + err


def _after_pipe(words: list[str]) -> int:
    """Where the command behind the first pipe begins; -1 without a pipe."""
    return words.index("|") + 1 if "|" in words else -1


def called(arguments: list[str], feed: bytes) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of the command line, in this process."""
    from megalabel.cli.main import main

    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    stdin = io.TextIOWrapper(io.BytesIO(feed), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["megalabel", *arguments])
        patch.setattr(sys, "stdin", stdin)
        try:
            main()
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
    return status, *(stream.buffer.getvalue().decode() for stream in (out, err))

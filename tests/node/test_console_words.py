"""The officer's page says every sentence in both languages; what it has from others is unchanged."""

import hashlib
import re
from pathlib import Path

from policy.said_sentences import in_module, in_template, places

import veilmatch_node.console
from veilmatch_node.console.chinese import SENTENCES
from veilmatch_policy.words.chinese import SENTENCES as POLICY_SENTENCES

CONSOLE = Path(veilmatch_node.console.__file__).parent


def test_every_sentence_has_its_chinese_and_no_other_is_there():
    said = set().union(*map(in_module, CONSOLE.glob("*.py")), *map(in_template, CONSOLE.glob("templates/*")))
    assert said - POLICY_SENTENCES.keys() == SENTENCES.keys()


def test_both_have_the_same_places():
    for english, chinese in SENTENCES.items():
        assert places(english) == places(chinese), english


def test_templates_have_no_text_of_their_own():
    for path in CONSOLE.glob("templates/*"):
        text = re.sub(r"\{%.*?%\}|\{\{.*?\}\}|<[^>]*>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert re.fullmatch(r"[\s·,;()]*", text), path.name


def test_nothing_runs_or_is_styled_inline():
    for path in CONSOLE.glob("templates/*"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"<style|\bstyle=|\bon\w+=|hx-on|javascript:|\|\s*safe|<script(?! src=)", text
        ), path.name


def test_what_is_vendored_is_what_its_note_says():
    note = (CONSOLE / "static" / "VENDORED.md").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| `([\w.]+)` \|.*`([0-9a-f]{64})` \|$", note, re.MULTILINE))
    assert stated.keys() == {path.name for path in CONSOLE.glob("static/*.js")}
    for name, digest in stated.items():
        assert hashlib.sha256((CONSOLE / "static" / name).read_bytes()).hexdigest() == digest

"""One logic, several languages: sentences are looked up by their English.

As gettext does it, without its files: the code says an English sentence with named places, a language is
a table from it to its own, and tests hold each table against the sentences in the code.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from veilmatch_policy.words.chinese import SENTENCES

Language = Literal["en", "zh-Hans"]  # BCP 47, as a page's ``lang`` says it


class Words:
    """A language; called with an English sentence and what stands in its places, it says it.

    ``tables`` are the language's sentences by the English ones; a sentence that is in none stays English.
    """

    def __init__(self, language: Language, *tables: Mapping[str, str]) -> None:
        self.language = language
        self._sentences = {english: own for table in tables for english, own in table.items()}

    def and_also(self, table: Mapping[str, str]) -> "Words":
        """The same language with another table's sentences beside its own."""
        return Words(self.language, self._sentences, table)

    def __call__(self, sentence: str, /, **places: object) -> str:
        """Say a sentence; what is put into a place is never read as a sentence itself."""
        return self._sentences.get(sentence, sentence).format(**places)

    def many(self, count: int, one: str, more: str, /, **places: object) -> str:
        """Say a sentence about ``{count}`` things.  Tables of languages without plural have ``more`` only."""
        return self(one if count == 1 and self.language == "en" else more, count=count, **places)

    def listed(self, items: Iterable[str]) -> str:
        """Say a list."""
        return self("{first}, {rest}", first="", rest="").join(items)

    def all_of(self, items: Iterable[str]) -> str:
        """Say a list of what all holds."""
        return self("{first} and {rest}", first="", rest="").join(items)

    def parts(self, items: Iterable[str]) -> str:
        """Say parts of a sentence, one after the other."""
        return self("{first}; {rest}", first="", rest="").join(items)


ENGLISH = Words("en")
LANGUAGES: Mapping[Language, Words] = {"en": ENGLISH, "zh-Hans": Words("zh-Hans", SENTENCES)}

"""Policies in words, for whoever signs or writes them, in English and Chinese.

What is quoted from a policy or catalog is never translated: it is what is approved.
"""

from veilmatch_policy.words.budget import uses_up_in_words
from veilmatch_policy.words.difference import Change, differences, text_difference
from veilmatch_policy.words.language import ENGLISH, LANGUAGES, Language, Words
from veilmatch_policy.words.learned import learned_in_words
from veilmatch_policy.words.plan import computed_in_words, cost_in_words, plan_in_words
from veilmatch_policy.words.request import Fact, asked_in_words, decisions_in_words, leaves_in_words
from veilmatch_policy.words.seen import PolicyView, SeenPolicy
from veilmatch_policy.words.tables import ColumnRead, columns_read, stale_in_words

__all__ = [
    "ENGLISH",
    "LANGUAGES",
    "Change",
    "ColumnRead",
    "Fact",
    "Language",
    "PolicyView",
    "SeenPolicy",
    "Words",
    "asked_in_words",
    "columns_read",
    "computed_in_words",
    "cost_in_words",
    "decisions_in_words",
    "differences",
    "learned_in_words",
    "leaves_in_words",
    "plan_in_words",
    "stale_in_words",
    "text_difference",
    "uses_up_in_words",
]

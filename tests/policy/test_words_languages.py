"""Both languages say the same sentences; a node's officer reads a policy with the node's own catalog alone."""

# ruff: noqa: E501  a message is read, and searched for, on one line

from pathlib import Path

import pytest
from policy_world import REFERENCE_DATE, catalogs, policy
from said_sentences import in_module, places
from test_words import COUNT, HOUSEHOLDS, OWN_FORMULAS, SOCIAL, changed

import veilmatch_policy.words
from veilmatch_policy.check import check_policy, plan_of
from veilmatch_policy.words import (
    LANGUAGES,
    PolicyView,
    cost_in_words,
    learned_in_words,
    plan_in_words,
    stale_in_words,
)
from veilmatch_policy.words.chinese import SENTENCES

MODULES = [
    path for path in Path(veilmatch_policy.words.__file__).parent.glob("*.py") if path.name != "chinese.py"
]
CHINESE = LANGUAGES["zh-Hans"]
RANGED = {"social": changed(SOCIAL, "{type: decimal(2)}", "{type: decimal(2), range: [0, 9000]}")}


def test_every_sentence_has_its_chinese_and_no_other_is_there():
    assert set().union(*map(in_module, MODULES)) == SENTENCES.keys()


def test_both_have_the_same_places():
    for english, chinese in SENTENCES.items():
        assert places(english) == places(chinese), english


def test_a_sentence_that_is_put_together_while_the_program_runs_is_found(tmp_path):
    module = tmp_path / "x.py"
    module.write_text("say('no ' + name)\n")
    with pytest.raises(ValueError, match=r"x\.py:1"):
        in_module(module)


PLAN = """\
police：读取字段 age（数据表 residents）、字段 alive（数据表 residents）；计算每人一个“是/否”（pensioner：age >= 65 AND alive）；发出每个槽位 1 个经掩码处理的 40 位数
tax：读取字段 wage_year（数据表 income）；计算每人一个“是/否”（low-wage：wage_year < :line，其中 line = 7200.50（批准区间为 6000 至 9000））；发出每个槽位 1 个经掩码处理的 40 位数
social（接收方）：读取字段 pension_month（数据表 pensions）；查询对象为其人员中满足“pension_month > 0”者（不超过 50000 人）；自行计算 small-pension：pension_month < 1000；不发出任何答复；保留槽位解密结果为 0 且满足 small-pension 的人员"""


def test_the_plan_in_chinese():
    assert "\n".join(plan_in_words(check_policy(policy(), catalogs(), REFERENCE_DATE), CHINESE)) == PLAN


@pytest.mark.parametrize("text", [HOUSEHOLDS, COUNT, COUNT + "epsilon: 0.5\n", OWN_FORMULAS])
def test_no_english_is_left_in_chinese(text):
    checked = check_policy(policy(text), catalogs(**RANGED), REFERENCE_DATE)
    own = ("the ", " of ", "sends", "reads", "number", "together", "people")
    for line in (
        *plan_in_words(checked, CHINESE),
        *cost_in_words(checked, CHINESE),
        *learned_in_words(checked, REFERENCE_DATE, CHINESE),
    ):
        assert not [word for word in own if word in line], line


def test_what_is_quoted_is_no_sentence():
    # Neither looked up nor filled in: an author cannot make the page say anything.
    assert CHINESE("{name}: {text}", name="nothing", text="{name}") == "nothing：{name}"


def view(text, *names, joined=()):
    """A policy, in a job with others, as somebody sees it who has only these departments' catalogs."""
    every = catalogs(**RANGED)
    policies = [policy(each) for each in (*joined, text)]
    plan, tasks = plan_of(policies, every, REFERENCE_DATE)
    return PolicyView(
        policies[-1], plan, {name: every[name] for name in names}, {name: tasks[name] for name in names}
    )


def test_a_node_quotes_what_it_does_not_see():
    seen = view(policy().source.decode(), "tax")
    assert plan_in_words(seen) == (
        "police: reads the columns in its conditions; computes one yes/no a person (pensioner: age >= 65 AND alive); sends one masked 40-bit number a slot",
        "tax: reads wage_year (table income); computes one yes/no a person (low-wage: wage_year < :line with line = 7200.50, approved from 6000 to 9000); sends one masked 40-bit number a slot",
        "social (recipient): reads the columns in its conditions; asks about its people with pension_month > 0 (at most 50000); computes for itself small-pension: pension_month < 1000; sends no answer; keeps those whose slot opens to 0 and who fulfil small-pension",
    )
    assert (
        "social (recipient): possibly that police knows whoever fulfils all of it, and exactly who is in police where what is asked is true of everyone there: the catalog of police decides it"
        in learned_in_words(seen, REFERENCE_DATE)
    )
    # Its own catalog says that a stranger has no wage, which is below the line: nothing follows.
    assert not any("that tax knows" in line for line in learned_in_words(seen, REFERENCE_DATE))


def test_a_register_that_the_reader_does_not_see_is_not_described():
    line = "police (household register): tells the coordinator a fresh random label of each slot's household"
    assert line in plan_in_words(view(HOUSEHOLDS, "tax"))
    assert f"{line} (column household_id, at most 20 members)" in plan_in_words(view(HOUSEHOLDS, "police"))


ALONE = changed(OWN_FORMULAS, "policy: own-formulas", "policy: alone")


@pytest.mark.parametrize("text", [ALONE, changed(HOUSEHOLDS, "policy: households", "policy: alone")])
def test_in_a_job_of_several_policies_each_is_described_by_itself(text):
    everybody = ("police", "social", "tax")
    other = changed(
        changed(HOUSEHOLDS, "policy: households", "policy: other"), "max(age) >= 65", "min(age) >= 60"
    )
    joined, alone = view(text, *everybody, joined=[other]), view(text, *everybody)
    assert plan_in_words(joined) == plan_in_words(alone)
    assert learned_in_words(joined, REFERENCE_DATE) == learned_in_words(alone, REFERENCE_DATE)
    assert cost_in_words(joined) == cost_in_words(alone)
    assert stale_in_words(joined, REFERENCE_DATE) == stale_in_words(alone, REFERENCE_DATE)

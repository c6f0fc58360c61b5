"""The page's own sentences in Chinese (zh-Hans); what policies mean is said in veilmatch_policy.words."""

from collections.abc import Mapping

SENTENCES: Mapping[str, str] = {
    # Every page.
    "Skip to the content": "跳至正文",
    "Data officer's desk": "数据专员审批台",
    "Language": "语言",
    "Pages": "页面",
    "Waiting requests": "待审批请求",
    "Decisions": "审批决定",
    "Budgets": "使用额度",
    "officer": "数据专员",
    "reader": "查阅人员",
    "Log out": "退出登录",
    "Log in": "登录",
    "Name": "用户名",
    "Password": "密码",
    "Name or password is not right.": "用户名或密码不正确。",
    "version {number}": "第 {number} 版",
    # Refusals of a line.
    "too many attempts: wait a quarter of an hour": "尝试次数过多：请等待十五分钟后再试",
    "the form is too old: open the page again and repeat what you did": "表单已失效：请重新打开页面后再次操作",
    "there is no such page": "页面不存在",
    "only an officer's account may decide, at a node with the officer's key": (
        "只有数据专员账户，且在存有数据专员密钥的节点上，才能作出决定"
    ),
    "this request is decided already: look at the decisions": "该请求已有决定：请查看“审批决定”",
    "this page failed: the node's log says more": "页面出错：详情请见节点日志",
    # The list of requests.
    "Policy": "政策",
    "Asked on": "提出时间",
    "Nothing waits for a decision.": "当前没有待审批的请求。",
    "Without your approval this department computes nothing for these policies.": (
        "未经您批准，本部门不会为下列政策进行任何计算。"
    ),
    # A request.
    "asked on {moment}": "提出时间：{moment}",
    "Careful: you approved a policy that differs in one condition only": "请注意：您已批准过一份仅有一个条件不同的政策",
    "Whoever sees the results of both can subtract them, and so learn how that one condition comes out for each "
    "person.": "同时看到两份结果的一方可将其相减，从而获知每个人在该条件上的结果。",
    "What is asked": "请求内容",
    "What this department would do": "本部门将执行的操作",
    "It reads": "读取",
    "Column": "字段",
    "What it is": "含义",
    "Legal basis": "法律依据",
    "Table, and how fresh it is": "数据表及时效",
    "It computes": "计算",
    "What leaves it": "传出内容",
    "Who learns what": "各方可获知的信息",
    "Decisions of the other departments": "其他部门的决定",
    "What changed since you last approved it": "与上次批准版本的差异",
    "You have not approved a policy of this name before.": "您此前未批准过该名称的政策。",
    "You approved a policy of this name on {moment}; its text is not kept here.": (
        "您曾于 {moment} 批准过该名称的政策，但本节点未保存其文本。"
    ),
    "You approved a policy of this name on {moment}.": "您曾于 {moment} 批准过该名称的政策。",
    "Nothing, since you approved it on {moment}.": "自您于 {moment} 批准以来没有变化。",
    "Line by line": "逐行对比",
    "Entry": "条目",
    "Before": "原内容",
    "Now": "现内容",
    "added": "新增",
    "removed": "删除",
    "changed": "修改",
    "Worked examples": "示例",
    "Invented people, given by the policy's author, and what comes out for them.": (
        "由政策起草方给出的虚构人员及其对应结果。"
    ),
    "What the departments know": "各部门掌握的信息",
    "Comes out as": "结果",
    "another member of the household": "户内其他成员",
    "The author gives none.": "起草方未提供示例。",
    "known, without any value": "掌握该人员，但无任何数值",
    "eligible": "符合资格",
    "not eligible": "不符合资格",
    "What the job takes from your budgets": "本次任务占用的额度",
    "Nothing: this department computes for itself only, or reads nothing.": (
        "不占用：本部门仅为自身计算，或不读取任何数据。"
    ),
    "The policy, word for word": "政策原文",
    "What every department does, and what a run costs": "各部门的操作及运行开销",
    "The policy's file": "政策文件",
    "Request": "请求编号",
    # Budgets.
    "Budget": "额度",
    "Who learns the result": "获知结果方",
    "Within": "期限",
    "Used and left": "已用与剩余",
    "the oldest use leaves the window on {day}": "最早一次使用将于 {day} 移出期限",
    "{spent} of {limit} used; this job needs {units}, which is more than is left": (
        "已用 {spent}，上限 {limit}；本次任务需要 {units}，超过剩余额度"
    ),
    "{spent} of {limit} used; this job takes {units}, then {left} are left": (
        "已用 {spent}，上限 {limit}；本次任务占用 {units}，之后剩余 {left}"
    ),
    "{spent} of {limit} used, {left} left": "已用 {spent}，上限 {limit}，剩余 {left}",
    "noise budget (epsilon), all data": "噪声额度（epsilon），全部数据",
    "this epoch": "本匹配周期",
    "any 365 days": "任意连续 365 天",
    "Each job takes a run from every column that it reads, whatever its text. Used up, a column is asked nothing until "
    "the window has moved on.": (
        "每次任务对其读取的每个字段占用一次额度，与政策文字无关。额度用尽后，在期限推移之前不再接受对该字段的查询。"
    ),
    "Nothing was used within a year.": "一年内没有使用记录。",
    # Decisions.
    "Your decision": "您的决定",
    "This request is decided:": "该请求已有决定：",
    "The officer's key is not kept at this node: decide on the machine that has it.": (
        "本节点未存放数据专员密钥：请在存有密钥的设备上作出决定。"
    ),
    "Your account may read, and not decide.": "您的账户只能查阅，不能作出决定。",
    "Your signature covers all that stands above: the text, who takes part and who learns what, how people are "
    "matched, and what your own catalog says of the columns. A parameter may move within its interval. Whatever else "
    "changes is a new request.": (
        "您的签名涵盖以上全部内容：政策文本、参与方与各方可获知的信息、身份匹配方式，以及本部门数据目录中有关字段的说明。"
        "参数可在批准区间内变动；其他任何变动均须重新提出请求。"
    ),
    "Approve": "批准",
    "Number of jobs allowed": "允许运行次数",
    "Up to and including this day (UTC)": "有效期至（含当日，协调世界时）",
    "Passphrase of the officer's key": "数据专员密钥口令",
    "Sign the approval": "签署批准",
    "Refuse": "驳回",
    "Reason, which the coordinating office reads": "理由（协调方可见）",
    "Sign the refusal": "签署驳回",
    "Give the number of runs, from 1 to {most}.": "请填写运行次数（1 至 {most}）。",
    "Give the last day as 2026-12-31, say.": "请按 2026-12-31 的格式填写截止日期。",
    "The last day has passed already.": "截止日期已过。",
    "Give a reason of at most {most} characters.": "请填写理由（不超过 {most} 字）。",
    "The passphrase does not open the officer's key.": "口令无法打开数据专员密钥。",
    "Nothing is decided yet.": "尚无任何决定。",
    "Decided": "决定时间",
    "State": "状态",
    "Runs left": "剩余次数",
    "Until": "有效期至",
    "{left} of {runs}": "{left} / {runs}",
    "by this machine in the officer's name": "由本机以数据专员名义作出",
    "Jobs": "运行次数",
    "{used} of {runs} used": "已用 {used} / {runs}",
    "Reason": "理由",
    "Signed statement": "签名声明",
    "Revoke": "撤销批准",
    "No further job uses the approval, and a job that is running stops.": (
        "撤销后不再有任务使用该批准，正在运行的任务随即停止。"
    ),
    "Sign the revocation": "签署撤销",
    "in force": "有效",
    "expired": "已过期",
    "all runs used": "次数已用完",
    "revoked": "已撤销",
    "refused": "已驳回",
    "revocation": "撤销决定",
}

"""The sentences in Chinese (zh-Hans), in the order of the modules that say them.

Terms: 接收方 recipient, 协调方 coordinator, 参与部门 participant, 数据专员 data officer, 数据目录 catalog,
字段 column, 槽位 slot, 化名 pseudonym, 掩码 mask, 秘密份额 share, 安全计算电路 circuit, 身份匹配 linkage.
"""

from collections.abc import Mapping

SENTENCES: Mapping[str, str] = {
    # language.py
    "{first}, {rest}": "{first}、{rest}",
    "{first} and {rest}": "{first} 且 {rest}",
    "{first}; {rest}": "{first}；{rest}",
    # seen.py
    "{name}: {text}": "{name}：{text}",
    ", every member": "（户内每位成员）",
    ", any member": "（户内任一成员）",
    " with {parameters}": "，其中 {parameters}",
    "{name} = {value}": "{name} = {value}",
    "{name} = {value}, approved from {low} to {high}": "{name} = {value}（批准区间为 {low} 至 {high}）",
    "all of its people": "其全部人员",
    "its people with {condition}": "其人员中满足“{condition}”者",
    "{people} (at most {count})": "{people}（不超过 {count} 人）",
    # plan.py
    "{name}: reads {columns}; computes {computed}; sends {sent}": "{name}：读取{columns}；计算{computed}；发出{sent}",
    "the columns in its conditions": "其条件所涉及的字段",
    "no column": "无任何字段",
    "{column} (table {table})": "字段 {column}（数据表 {table}）",
    "one value a household ({question})": "每户一个值（{question}）",
    "one yes/no a person ({question})": "每人一个“是/否”（{question}）",
    "one amount a person ({question})": "每人一个数额（{question}）",
    "nothing": "无",
    "{count} masked 40-bit numbers a slot": "每个槽位 {count} 个经掩码处理的 40 位数",
    "{count} masked 40-bit numbers a slot, amounts among them": "每个槽位 {count} 个经掩码处理的 40 位数（含数额）",
    "{recipient} (recipient): reads {columns}; asks about {people}; {own}sends no answer; {keeps}": (
        "{recipient}（接收方）：读取{columns}；查询对象为{people}；{own}不发出任何答复；{keeps}"
    ),
    "computes for itself {conditions}; ": "自行计算 {conditions}；",
    "keeps those whose slot opens to 0": "保留槽位解密结果为 0 的人员",
    "keeps those whose slot opens to 0 and who fulfil {own}": "保留槽位解密结果为 0 且满足 {own} 的人员",
    "opens shares, and helps to count": "解密得到秘密份额，并参与计数",
    "opens shares, and keeps those whose result is opened to it": "解密得到秘密份额，并保留向其揭示结果的人员",
    "{recipient} and the coordinator: compute on shares {formula}": "{recipient}与协调方：在秘密份额上计算 {formula}",
    "{registrar} (household register): tells the coordinator a fresh random label of each slot's "
    "household{labelled}": "{registrar}（户籍登记部门）：向协调方提供每个槽位所属户的一次性随机标号{labelled}",
    " (column {column}, at most {count} members)": "（字段 {column}，每户至多 {count} 人）",
    "{dealer} (dealer): {kind}; sends random numbers to {recipient} and the coordinator": (
        "{dealer}（随机数分发方）：{kind}；向{recipient}和协调方发送随机数"
    ),
    "a process of its own, without data": "独立进程，不持有数据",
    "reads nothing": "不读取任何数据",
    "{sums} of {contributions}": "{sums}，共 {contributions}",
    "{count} sums": "{count} 个求和项",
    "{count} contributions": "{count} 份密文贡献",
    "linear: {sums}, opened slot by slot": "线性方式：{sums}，逐槽位解密",
    "circuit: {sums}, opened into shares; {comparisons}, {zeros} for zero, {vectors} brought into household order": (
        "电路方式：{sums}，解密为秘密份额；{comparisons}，{zeros}，{vectors}按户重排"
    ),
    "{count} comparisons": "{count} 次比较",
    "{count} tests": "{count} 次零值检验",
    "{count} vectors": "{count} 个向量",
    "about {micros} microseconds and {moved} bytes a slot, all parties together, at 3072 bits": (
        "各方合计，每个槽位约 {micros} 微秒、{moved} 字节（密钥 3072 位）"
    ),
    "each of {bounds}": "{bounds} 中的每一个",
    "{expression} ({department})": "{expression}（{department}）",
    "{figure} for each member": "{figure}（按每位成员计）",
    "the household's sum": "全户合计",
    "the sum": "合计",
    "{sum} below {figure}": "{sum}低于 {figure}",
    "{sum} at most {figure}": "{sum}不超过 {figure}",
    "{sum} above {figure}": "{sum}高于 {figure}",
    "{sum} at least {figure}": "{sum}不低于 {figure}",
    # learned.py
    "{condition} ({department})": "{condition}（{department}）",
    ", also for those who do not fulfil its own conditions": "，不符合其自身条件的人员也包括在内",
    "{recipient} (recipient): of {people}, who fulfils all of {asked}{own}": (
        "{recipient}（接收方）：在{people}中，谁同时符合{asked}{own}"
    ),
    "{recipient} (recipient): the answer of {department}, the only department asked": (
        "{recipient}（接收方）：唯一被询问部门{department}的答复"
    ),
    "{recipient} (recipient): of {people}, whose household is eligible, by the whole formula; of all others nothing "
    "more": "{recipient}（接收方）：在{people}中，按完整公式，谁所在的户符合资格；其他人员不再获知任何信息",
    "{recipient} (recipient): which of its people in eligible households share one": (
        "{recipient}（接收方）：符合资格的户中，其哪些人员同属一户"
    ),
    "{recipient} (recipient): of {people}, who is eligible, by the whole formula; of all others nothing more": (
        "{recipient}（接收方）：在{people}中，按完整公式，谁符合资格；其他人员不再获知任何信息"
    ),
    "{recipient} (recipient): what {department}, the only department asked, answers, where its own data leave it "
    "open": "{recipient}（接收方）：在其自身数据不足以确定时，唯一被询问部门{department}的答复",
    "{recipient} (recipient): no answer; the coordinator receives the count": (
        "{recipient}（接收方）：不获知任何答复；计数结果由协调方接收"
    ),
    "{recipient} (recipient): how many households there are of each size": (
        "{recipient}（接收方）：各种人数规模的户各有多少"
    ),
    "{recipient} (recipient): more people's answers, if it inserts identities, up to its quota": (
        "{recipient}（接收方）：如自行添加身份，可在其限额内获知更多人员的答复"
    ),
    "{recipient} (recipient): possibly that {department} knows whoever fulfils all of it, and exactly who is in "
    "{department} where what is asked is true of everyone there: the catalog of {department} decides it": (
        "{recipient}（接收方）：可能获知全部条件均符合者为{department}所掌握；如所问条件对{department}的全部人员均成立，"
        "还可能确切获知谁在{department}（取决于{department}的数据目录）"
    ),
    "{recipient} (recipient): that {department} knows whoever fulfils all of it; exactly who is in {department}, "
    "where what is asked is true of everyone there": (
        "{recipient}（接收方）：全部条件均符合者为{department}所掌握；如所问条件对{department}的全部人员均成立，"
        "则确切获知谁在{department}"
    ),
    "coordinator: the policy, the sizes of the tables, which pseudonyms occur in which departments, and which of them "
    "{recipient} asks about{households}{counts}; no identity, value or answer, {matched}": (
        "协调方：政策内容、各数据表的规模、哪些化名出现在哪些部门，以及{recipient}查询其中哪些化名{households}{counts}；"
        "不获知任何身份、数值或答复，{matched}"
    ),
    "; who lives with whom, by pseudonym": "；谁与谁同户（仅为化名）",
    "not who or how many match": "也不获知谁符合、多少人符合",
    "not who matches": "也不获知谁符合",
    "{department}: the policy and who takes part, the number of slots and of {recipient}'s people{amounts}; no answer, "
    "no result, not who else knows its people": (
        "{department}：政策内容和参与方、槽位数量和{recipient}的人数{amounts}；不获知任何答复或结果，"
        "也不获知还有哪些部门掌握其人员"
    ),
    ", what the others' catalogs declare of amounts": "，以及其他部门数据目录中关于数额的声明",
    "{dealer} (dealer): the policy, the number of slots, households and people asked about": (
        "{dealer}（随机数分发方）：政策内容、槽位数、户数和被查询人数"
    ),
    "{dealer} (dealer): the policy, the number of slots and people asked about": (
        "{dealer}（随机数分发方）：政策内容、槽位数和被查询人数"
    ),
    "coordinator and {recipient} together: who fulfils all of what is asked, among everybody linked; which departments "
    "know the people of {recipient}": (
        "协调方与{recipient}串通：在全部已匹配人员中谁符合全部条件；{recipient}的人员为哪些部门所掌握"
    ),
    "coordinator and {recipient} together: every sum of the policy, of everybody linked; which departments know the "
    "people of {recipient}{households}": (
        "协调方与{recipient}串通：全部已匹配人员在本政策中的每项合计；{recipient}的人员为哪些部门所掌握{households}"
    ),
    ", and their households": "，以及其所属的户",
    "coordinator and {dealer} together: every step of the circuit, hence who matches, by pseudonym": (
        "协调方与{dealer}串通：安全计算电路的每一步，由此获知谁符合（仅为化名）"
    ),
    "{recipient} and {dealer} together: every step of the circuit{households}, by slot": (
        "{recipient}与{dealer}串通：按槽位获知安全计算电路的每一步{households}"
    ),
    " and all households": "以及全部住户关系",
    "{recipient} and all of {departments} but one together: {rest}": (
        "{recipient}与{departments}中除一个以外的全部部门串通：{rest}"
    ),
    "the answer of that one": "余下那个部门的答复",
    "what the result says of that one": "结果中所反映的余下那个部门的情况",
    "any department and the coordinator together: which departments know its people": (
        "任一部门与协调方串通：该部门的人员为哪些部门所掌握"
    ),
    " for each of {count} bounds": "（对 {count} 个界限值分别计数）",
    ", exactly: whoever submits two policies that differ in one person learns that person's answer": (
        "，且为精确值：任何人提交两份仅相差一人的政策，即可获知该人的答复"
    ),
    ", with noise of both parties for epsilon {epsilon} each": "，双方各加入噪声，每个界限值的 epsilon 为 {epsilon}",
    ", with noise of both parties for epsilon {epsilon}": "，双方各加入噪声，epsilon 为 {epsilon}",
    "; how many households are eligible{bounds}, where at least {least} are{noise}": (
        "；符合资格的户数{bounds}（不少于 {least} 户时才告知）{noise}"
    ),
    "; how many people are eligible{bounds}, where at least {least} are{noise}": (
        "；符合资格的人数{bounds}（不少于 {least} 人时才告知）{noise}"
    ),
    # tables.py
    "{department}: table {table} describes {day}, {age} days ago; a run refuses it after {limit}": (
        "{department}：数据表 {table} 反映 {day} 的情况，距今 {age} 天；超过 {limit} 天即拒绝运行"
    ),
    "the catalog does not say which day the table describes": "数据目录未注明该数据表反映哪一天的情况",
    "the database says which day the table describes": "数据表所反映的日期由数据库给出",
    "describes {day}, {age} days ago": "反映 {day} 的情况，距今 {age} 天",
    "{described}; a run refuses it after {limit} days": "{described}；超过 {limit} 天即拒绝运行",
    # request.py
    "to the coordinator: {sent}, encrypted under a key that {recipient} makes for this job; each number is blurred by "
    "masks that cancel only in the sum of all departments, so that none can be read by itself": (
        "发给协调方：{sent}，以{recipient}为本次任务生成的公钥作同态加密；每个数均加掩码，掩码只在全部部门求和后才抵消，"
        "因此任何单个数都无法读出"
    ),
    "to the coordinator: which slots are asked about ({people}); no answer and no value": (
        "发给协调方：查询哪些槽位（{people}）；不含任何答复或数值"
    ),
    "to the coordinator: a fresh random label of each slot's household": "发给协调方：每个槽位所属户的一次性随机标号",
    "no decision is known here": "本部门尚未收到其决定",
    "approved on {day}, until {end}, for {count} jobs": "已于 {day} 批准，有效期至 {end}，可运行 {count} 次",
    "revoked on {day}: {reason}": "已于 {day} 撤销：{reason}",
    "refused on {day}: {reason}": "已于 {day} 驳回：{reason}",
    "Purpose": "用途",
    "Recipient": "接收方",
    "People asked about": "查询对象",
    "What is revealed": "揭示内容",
    "Departments that take part": "参与部门",
    "Who may deal random numbers": "可任随机数分发方的部门",
    "How people are matched": "身份匹配方式",
    "Whose people have slots": "槽位范围",
    "Reference date": "基准日期",
    "Parameters": "参数",
    "Smallest count that is told": "告知计数的最小值",
    "Noise": "噪声",
    "none: the count is exact": "无：计数为精确值",
    "of both parties, for epsilon {epsilon}": "双方各自加入，epsilon 为 {epsilon}",
    "none is stated": "未注明",
    "code {code} ({title})": "代码 {code}（{title}）",
    "code {code}, which the directory does not list": "代码 {code}（联邦名录中未列出）",
    "to the coordinator, how many are eligible; to the recipient nothing": (
        "向协调方揭示符合资格的数量；不向接收方揭示任何内容"
    ),
    "to the recipient, which of its people live in an eligible household": (
        "向接收方揭示其哪些人员所在的户符合资格"
    ),
    "to the recipient, who of its people is eligible": "向接收方揭示其人员中谁符合资格",
    "OPRF: nobody can test an identity without the trustees": (
        "不经意伪随机函数（OPRF）：未经受托部门，任何一方都无法验证某个身份是否存在"
    ),
    "shared key: any one department together with the coordinator can test any identity": (
        "共享密钥：任一部门与协调方串通，即可验证任意身份是否存在"
    ),
    "the people of the register; the coordinator does not learn who is in which department": (
        "登记部门的全部人员；协调方不获知谁在哪个部门"
    ),
    "the people of all departments; the coordinator learns, by pseudonym, who is in which department": (
        "各部门的全部人员；协调方可获知哪个化名在哪个部门"
    ),
    "{parameter} ({law})": "{parameter}（依据：{law}）",
    # budget.py
    "{count} runs": "{count} 次",
    "{runs} of who has a row in {table}": "“在数据表 {table} 中是否有记录”这一信息的运行额度 {runs}",
    "{runs} of column {what} and whatever has the same source": "字段 {what} 及同源字段的运行额度 {runs}",
    "epsilon {amount} of all its data": "全部数据的隐私预算 ε {amount}",
    "{name}: {taken}, for {receiver}": "{name}：{taken}，用于{receiver}",
}

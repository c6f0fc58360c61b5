"""The coordinator's end of work streams: typed conversations with nodes, one class a task.

Every failure comes out as a NodeFailedError that names the node, with the node's own public line.
"""

from veilmatch_coordinator.client.conversation import AttachedNodes, Conversation, Nodes
from veilmatch_coordinator.client.job import (
    ContributeTask,
    Contribution,
    DealTask,
    Given,
    OpenTask,
    PrepareTask,
    Traffic,
)
from veilmatch_coordinator.client.line import Stream
from veilmatch_coordinator.client.linkage import Batch, LinkTask, TrusteeTask

__all__ = [
    "AttachedNodes",
    "Batch",
    "ContributeTask",
    "Contribution",
    "Conversation",
    "DealTask",
    "Given",
    "LinkTask",
    "Nodes",
    "OpenTask",
    "PrepareTask",
    "Stream",
    "Traffic",
    "TrusteeTask",
]

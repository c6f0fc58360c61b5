"""Tables of a department's own databases, read as a stream of text cells.

The database runs one query for us, in one read-only transaction: the identifier and the owner's own
expressions (policies.md: the only thing that it ever runs).  Conditions never reach it.  No message
holds a cell, the URL or the database's own words, which quote cells.
"""

from veilmatch_node.databases.access import Databases, can_write
from veilmatch_node.databases.settings import Database

__all__ = ["Database", "Databases", "can_write"]

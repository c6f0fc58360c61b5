"""What `veilmatch doctor` looks at, a module a group; each line is a check's name and what it found."""

from veilmatch.doctor.examination import Line, examine

__all__ = ["Line", "examine"]

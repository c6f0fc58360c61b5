"""`veilmatch bench`: experiments from a file, each measured next to its floor and its peers in the same run."""

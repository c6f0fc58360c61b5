"""The commands, a module a group; they parse, call and print."""

"""The command line: a table of commands, two parsers made from it, one file of functions per noun."""

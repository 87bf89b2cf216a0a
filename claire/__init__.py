"""Claire keeps track of what a fleet of Claude Code sessions is working on.

    claire/main.py            composition root: the CLI's entry, the daemon, the wiring
     /      |       \\
    ui    sync    fleet       siblings; they never import each other
     \\      |       /
    claire/node               the log, its projections, the nouns; imports nothing of ours

Data flows one way: command -> event -> log -> projection -> page, and
log -> peer -> log -> projection -> page.
"""

__version__ = "0.1.0"

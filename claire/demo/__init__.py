"""`claire demo`: three nodes, stand-ins for Claude sessions, one story; nothing is left behind."""
